"""A deployment, executed: the steps of a plan, and the end that comes whatever happens in them.

The guarantee is `Deployment.execute`: the steps raise whatever they raise; then the group is let go and seen at 0; a
signal in either is answered within seconds. `Ending.marks` says what may stand in AWS, set before the call that
makes it so.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from ghostpen.aws.clients import Clients
from ghostpen.aws.ending import STOPS, Ending
from ghostpen.aws.facts import Request, read_facts
from ghostpen.aws.outcome import DeployOutcome
from ghostpen.aws.plan import DeployPlan, Step, list_conflicts, plan_deploy
from ghostpen.aws.preflight import compute_problems, find_rival
from ghostpen.aws.s3 import ObjectStore, parse_location
from ghostpen.aws.settings import DeployConfig
from ghostpen.aws.shutdown import make_harmless
from ghostpen.aws.steps import Steps
from ghostpen.aws.stopping import Stopping, StopRequested, make_interrupted
from ghostpen.aws.waiting import Waiting, read_clock
from ghostpen.errors import ConfigError, GhostpenError, ShutdownNotConfirmedError


@dataclass(frozen=True)
class Tools:
    """What a deployment works with. Tests pass others."""

    clients: Clients
    hurried: Clients  # that give up soon
    report: Callable[[str], None]
    show_log: Callable[[str], None]
    clock: Callable[[], datetime] = read_clock
    sleep: Callable[[float], None] = time.sleep

    def open_store(self, config: DeployConfig) -> ObjectStore:
        """Open storage.uri.

        Raises:
            CloudError: it is no place in S3.
        """
        return ObjectStore(self.clients.s3, parse_location(config.storage.uri), sleep=self.sleep)


def prepare_deploy(config: DeployConfig, request: Request, *, tools: Tools) -> DeployPlan:
    """Look at everything that decides, and plan. Changes nothing.

    Raises:
        ActiveRunError: something else holds the group.
        ConfigError: something stands against it: one message for all of that.
        CloudError: a refusal, or no answer.
    """
    store = tools.open_store(config)
    waiting = Waiting(config.timeouts.poll_s, tools.clock, tools.sleep)
    facts = waiting.insist(lambda: read_facts(tools.clients, config, request, store=store))
    if (rival := find_rival(facts, config, request)) is not None:
        raise rival
    plan = plan_deploy(facts, config, request, now=tools.clock())
    if problems := [*compute_problems(facts, config, request), *list_conflicts(plan, facts, request)]:
        raise ConfigError("; ".join(problems))
    for note in facts.notes:
        tools.report(note)
    return plan


def execute_deploy(
    plan: DeployPlan, config: DeployConfig, request: Request, *, tools: Tools, stopping: Stopping | None = None
) -> DeployOutcome:
    """Take the steps of a plan, let go, and say how it went; a bad end is the outcome's `error`.

    Raises:
        Exception: what is a bug of ghostpen's; the group was let go all the same.
    """
    stopping = stopping or Stopping()
    deployment = Deployment(plan, config, request, tools=tools, stopping=stopping)
    try:
        with stopping.listening():
            return deployment.execute()
    except STOPS as stop:  # outside of all that `execute` does: before the first call, or after the last one
        return deployment.describe(_make_cancelled(stop, "nothing is left to be done"))


class Deployment:
    """One deployment while it is made."""

    def __init__(
        self, plan: DeployPlan, config: DeployConfig, request: Request, *, tools: Tools, stopping: Stopping
    ) -> None:
        """Take the plan and what to work with. Calls nothing."""
        self._plan = plan
        self._config = config
        self._request = request
        tools = replace(tools, report=make_harmless(tools.report), show_log=make_harmless(tools.show_log))
        self._tools = tools
        self._stopping = stopping
        self._store = tools.open_store(config)
        self._ending = Ending(
            tools.clients, tools.hurried, self._store, group=config.group.name, run_id=request.run_id,
            secrets_path=config.secrets.path, secret_names=config.secrets.names, waits=config.timeouts,
            clock=tools.clock, sleep=tools.sleep, report=tools.report,
        )  # fmt: skip
        # What an earlier deployment of this run has left counts as this one's.
        self._ending.marks.claimed = plan.armed_at is not None
        self._ending.marks.sole = Step.CLAIM not in plan.steps
        self._ending.marks.holds = plan.takes_over
        self._ending.marks.handover_id = plan.known_id
        self._steps = Steps(
            tools.clients, self._store, Waiting(config.timeouts.poll_s, tools.clock, tools.sleep), config=config,
            request=request, plan=plan, marks=self._ending.marks, report=tools.report, show_log=tools.show_log,
        )  # fmt: skip
        self._phases: list[tuple[str, float]] = []

    def execute(self) -> DeployOutcome:
        """Take the steps; then let go, whatever they raised.

        A signal raises once. In the steps it leads to the hurried end; in the patient end, too, which waits only
        where it can be disturbed. In the hurried end it is remembered and changes nothing.
        """
        error: BaseException | None = None
        try:
            try:
                self._take_steps()
            except STOPS:
                raise
            except BaseException as caught:  # kept, and raised again below if it is not one of ours
                error = caught
            if not self._steps.course.detached:
                with self._stopping.shielded(), self._timed("let go"):
                    self._ending.finish(sleep=self._stopping.open(self._tools.sleep))
        except STOPS as stop:
            with self._stopping.shielded():
                error = self._hurry(stop)
        except ShutdownNotConfirmedError as shout:
            error = _join(shout, error)
        if error is not None and not isinstance(error, GhostpenError):
            raise error
        return self.describe(error)

    def _take_steps(self) -> None:
        for step in self._plan.steps:
            self._tools.report(f"{step.value} ...")
            with self._timed(step.value):
                self._steps.take(step)
            if self._steps.course.detached:
                return

    def _hurry(self, stop: BaseException) -> GhostpenError:
        try:
            done = self._ending.hurry(self._plan.handover)
        except ShutdownNotConfirmedError as shout:
            return shout
        return _make_cancelled(stop, done)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = self._tools.clock()
        try:
            yield
        finally:
            self._phases.append((name, (self._tools.clock() - start).total_seconds()))

    def describe(self, error: GhostpenError | None) -> DeployOutcome:
        """Describe how it went."""
        course, marks = self._steps.course, self._ending.marks
        member, machine = course.member, course.machine
        billed_s = None
        if machine is not None and marks.emptied_at is not None:
            billed_s = (marks.emptied_at - machine.launched_at).total_seconds()
        return DeployOutcome(
            mode=self._request.mode,
            run_id=self._request.run_id,
            group=self._config.group.name,
            region=self._config.aws.region,
            run_uri=f"{self._config.storage.uri.rstrip('/')}/runs/{self._request.run_id}",
            error=error,
            detached=course.detached,
            instance_id=course.instance_id,
            instance_type=(member.type if member else "") or (machine.type if machine else ""),
            zone=(member.zone if member else "") or (machine.zone if machine else ""),
            raised=marks.holds,
            spot=machine is not None and machine.spot,
            phases=tuple(self._phases),
            billed_s=billed_s,
            results=course.results,
            tracker=self._request.tracker,
            armed_at=course.armed_at,
            emptied_at=marks.emptied_at,
            held_by=marks.held_by,
            settle_s=self._config.timeouts.settle_s,
            notes=tuple(marks.notes),
        )


def _make_cancelled(stop: BaseException, done: str) -> GhostpenError:
    number = stop.number if isinstance(stop, StopRequested) else signal.SIGINT
    return make_interrupted(number, f"cancelled: {done}")


def _join(shout: ShutdownNotConfirmedError, before: BaseException | None) -> ShutdownNotConfirmedError:
    """Shout, and say what led to it."""
    if before is None:
        return shout
    return ShutdownNotConfirmedError(f"{shout.message}; before that: {before}")
