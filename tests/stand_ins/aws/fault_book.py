"""All faults of one simulation, looked up by those who meet them."""

from __future__ import annotations

from collections.abc import Iterable

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

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

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
        for fault in self._faults:
            if isinstance(fault, NoCapacity) and fault.refuses(launch, type_name, zone):
                return fault.shortage
        return None

    def plan_instance(self, number: int) -> InstancePlan:
        """Give the plan of the n-th instance, counted from 1."""
        plan = self._plan
        for fault in self._faults:
            if isinstance(fault, InstanceFault) and fault.nth == number:
                plan = fault.apply(plan)
        return plan
