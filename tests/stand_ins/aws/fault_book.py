"""All faults of one simulation, looked up by those who meet them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tests.stand_ins.aws.faults import (
    CallFault,
    Failure,
    Fault,
    InstanceFault,
    InstancePlan,
    MeddlingFault,
    MomentFault,
    NoCapacity,
    Shortage,
)


class Faults:
    """All faults of one simulation, and how often each door was passed."""

    def __init__(self, faults: Iterable[Fault] = (), *, plan: InstancePlan | None = None) -> None:
        self._plan = plan or InstancePlan()
        self._faults = list(faults)
        self._calls: dict[tuple[str, bool], int] = {}
        self._attempts = self._launched = 0

    def add(self, fault: Fault) -> Fault:
        """Let a fault strike whose numbers are counted from now on; return it as it is kept."""
        kept = self._count_from_now(fault)
        self._faults.append(kept)
        return kept

    def remove(self, kept: Fault) -> None:
        """Let a fault strike no more."""
        self._faults.remove(kept)

    def clear(self) -> None:
        """Let nothing go wrong any more; instances that are there stay as they are."""
        self._faults.clear()

    def _count_from_now(self, fault: Fault) -> Fault:
        match fault:
            case CallFault():
                return replace(fault, nth=fault.nth + self._calls.get((fault.operation, fault.by_instance), 0))
            case InstanceFault():
                return replace(fault, nth=fault.nth + self._launched)
            case NoCapacity(launches=int(launches)):
                return replace(fault, launches=launches + self._attempts)
        return fault

    def list_meddling(self) -> list[MeddlingFault]:
        return [fault for fault in self._faults if isinstance(fault, MeddlingFault)]

    def list_moments(self) -> list[MomentFault]:
        return [fault for fault in self._faults if isinstance(fault, MomentFault)]

    def count_call(self, name: str, *, by_instance: bool) -> Failure | None:
        """Count a call, and give the failure that strikes it."""
        numbers = {}
        for operation in (name, "*"):
            numbers[operation] = self._calls[operation, by_instance] = (
                self._calls.get((operation, by_instance), 0) + 1
            )
        for fault in self._faults:
            if not isinstance(fault, CallFault) or fault.by_instance != by_instance:
                continue
            if fault.operation in numbers and fault.strikes(numbers[fault.operation]):
                return fault.failure
        return None

    def find_shortage(self, launch: int, type_name: str, zone: str) -> Shortage | None:
        """Say why the group's n-th attempt gets no such instance there, counted from 1."""
        self._attempts = max(self._attempts, launch)
        for fault in self._faults:
            if isinstance(fault, NoCapacity) and fault.refuses(launch, type_name, zone):
                return fault.shortage
        return None

    def plan_instance(self, number: int) -> InstancePlan:
        """Give the plan of the n-th instance, counted from 1."""
        self._launched = max(self._launched, number)
        plan = self._plan
        for fault in self._faults:
            if isinstance(fault, InstanceFault) and fault.nth == number:
                plan = fault.apply(plan)
        return plan
