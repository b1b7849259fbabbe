"""Deployments and `down`s one after the other and beside each other, on one account, and what must hold after each.

The code under test is `ghostpen.aws` with boto3's clients; whoever acts does so as the command does. What may be said
of an act alone is checked where nobody else acted beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.deploying import BUCKET, PREFIX, SECRET, Account
from tests.stand_ins.aws.api import Answer, Request
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import Away, CallFault, Fault, InstancePlan, MomentFault
from tests.stand_ins.aws.in_process import InProcessDoor, MachineLost, find_door
from tests.stand_ins.aws.instances import State
from tests.stand_ins.aws.turns import TurnTime

from ghostpen.aws.deployment import execute_deploy, prepare_deploy
from ghostpen.aws.down import DownOutcome, take_down
from ghostpen.aws.fleet import Fleet
from ghostpen.aws.handover import Mode
from ghostpen.aws.outcome import DeployOutcome
from ghostpen.aws.stopping import Stopping
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import ActiveRunError, GhostpenError

DOORS = ("job", "other job")
# Short runs, and few looks at them: what is looked for does not depend on either.
PLAN = InstancePlan(run_s=600.0, pull_s=120.0)
OVERRIDES = ("limits.max_runtime_s=1800",)
GUARDS_LATE_S = (
    1800.0  # from the last scheduled action's time to the end of what it ends: the longest end takes 900 s
)
# A machine that sleeps just before desired 1 may send it after its scheduled action has fired; then it looks.
UNGUARDED_S = 200.0
ANSWERED_S = 10.0  # GitHub kills so long after it has asked for the end
CHANGES = {
    "autoscaling:DeleteScheduledAction", "autoscaling:PutScheduledUpdateGroupAction",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:TerminateInstanceInAutoScalingGroup", "s3:PutObject", "ssm:CancelCommand", "ssm:DeleteParameters",
    "ssm:PutParameter", "ssm:SendCommand",
}  # fmt: skip


@dataclass(frozen=True)
class Deploy:
    """`ghostpen deploy`, on a machine of its own."""

    mode: Mode = "train"
    run_id: str = "emma"
    knows_config: bool = True  # --config is given; else the run's settings are those of the last time
    follow_for_s: float | None = None
    endings: tuple[CallFault | MomentFault, ...] = ()  # of this act, counted from its begin


@dataclass(frozen=True)
class Down:
    """`ghostpen down`, on a machine of its own."""

    run_id: str | None = None
    knows_secrets: bool = True
    endings: tuple[CallFault | MomentFault, ...] = ()


@dataclass(frozen=True)
class End:
    """How an act ended. Only what is listed here may come out of one."""

    act: Deploy | Down
    word: str
    error: GhostpenError | None = None
    outcome: DeployOutcome | None = None
    down: DownOutcome | None = None


class WatchedSimulator(Simulator):
    """Look at the group after every call; violations are kept, because code under test may catch what is raised."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.violations: list[str] = []
        self.latest_end = 0.0  # the latest time at which a scheduled action was ever to fire
        self._unguarded_since: float | None = None
        super().__init__(*args, **kwargs)

    def answer(self, request: Request) -> Answer:
        try:
            return super().answer(request)
        finally:
            self._look(request)

    def _look(self, request: Request) -> None:
        actions = self.group.schedule.actions
        self.latest_end = max([self.latest_end, *(action.at for action in actions.values())])
        now = self.timeline.now()
        if not self.group.desired or actions:
            self._unguarded_since = None
        elif now - (self._unguarded_since or now) > UNGUARDED_S:
            self.violations.append(f"{request.caller}: {request.name}: desired > 0, and no dead-man switch is armed")
        else:
            self._unguarded_since = self._unguarded_since or now
        if len(self.list_living()) > 1:
            self.violations.append(f"{request.caller}: {request.name}: more than one instance")


class UnheardStopping(Stopping):
    """Take signals from the door alone: a process's own handlers can be set in its main thread only."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        yield


class Scene:
    """One account, and all that is done to it."""

    def __init__(self, *, poll_s: int = 30, contrast: bool = True) -> None:
        self.clock = TurnTime()
        self.account = Account(
            clock=self.clock, make_simulator=WatchedSimulator, plan=PLAN, contrast=contrast,
            overrides=(*OVERRIDES, f"timeouts.poll_s={poll_s}"),
        )  # fmt: skip
        self.simulator: WatchedSimulator = self.account.simulator  # type: ignore[assignment]  # made so above
        self.doors = [find_door(name) for name in DOORS]
        for door in self.doors:
            door.open(self.simulator)

    # -- acts --

    def spoil(self, *faults: Fault) -> None:
        """Let faults strike, counted from now on."""
        for fault in faults:
            self.simulator.faults.add(fault)

    def act(self, act: Deploy | Down) -> End:
        """Do one thing, and check what must hold after it."""
        requests = len(self.simulator.requests)
        stopping = _Noticing(self.clock)
        end = self._take(act, self.doors[0], stopping)
        self._check_end(end, requests=requests)
        is_away = any(isinstance(ending.failure, Away) for ending in act.endings)
        if end.word == "cancelled" and stopping.noticed_at is not None and not is_away:
            assert self.clock.now() - stopping.noticed_at <= ANSWERED_S, "a signal was not answered in time"
        return end

    def act_together(self, first: Deploy | Down, second: Deploy | Down, *, after_s: float) -> list[End]:
        """Do two things beside each other, the second one somewhat later."""
        ends: list[End] = []

        def play(act: Deploy | Down, door: InProcessDoor, delay_s: float) -> None:
            self.clock.sleep(delay_s)
            ends.append(self._take(act, door, UnheardStopping()))

        self.clock.run_together(
            partial(play, first, self.doors[0], 0.0), partial(play, second, self.doors[1], after_s)
        )
        for end in ends:
            self._check_named(end)
        return ends

    def _take(self, act: Deploy | Down, door: InProcessDoor, stopping: Stopping) -> End:
        moments = [ending for ending in act.endings if isinstance(ending, MomentFault)]
        faults = self.simulator.faults
        kept = [faults.add(ending) for ending in act.endings if isinstance(ending, CallFault)]
        take: Callable[[], End] = partial(
            self._deploy if isinstance(act, Deploy) else self._down, act, door, stopping
        )  # type: ignore[arg-type]  # by the type just asked for
        try:
            with door.job(*moments):
                return take()
        except GhostpenError as error:
            word = error.reason if isinstance(error, ActiveRunError) else "refused"
            return End(act, word if isinstance(act, Deploy) else getattr(error, "reason", "refused"), error)
        except MachineLost:
            return End(act, "lost")
        except KeyboardInterrupt:  # before anything was changed, or of `down`: the command prints one line
            return End(act, "interrupted")
        finally:
            for fault in kept:
                faults.remove(fault)

    def _deploy(self, act: Deploy, door: InProcessDoor, stopping: Stopping) -> End:
        tools = self.account.make_tools(door)
        changes: dict[str, Any] = {"run_config": None} if act.mode == "smoke" or not act.knows_config else {}
        if act.mode == "smoke":
            changes["secrets"] = {}
        request = self.account.make_request(
            mode=act.mode, run_id=act.run_id, follow_for_s=act.follow_for_s, **changes
        )
        plan = prepare_deploy(self.account.config, request, tools=tools)
        with door.handler(stopping.deliver):
            outcome = execute_deploy(plan, self.account.config, request, tools=tools, stopping=stopping)
        return End(act, outcome.word, outcome.error, outcome=outcome)

    def _down(self, act: Down, door: InProcessDoor, _: Stopping) -> End:
        clients, config = self.account.make_tools(door).clients, self.account.config
        outcome = take_down(
            Fleet(clients.autoscaling, config.group.name),
            Waiting(config.timeouts.poll_s, self.clock.now_utc, self.clock.sleep),
            waits=config.timeouts, report=self.account.said.append, run_id=act.run_id, ssm=clients.ssm,
            secrets=config.secrets if act.knows_secrets else None,
        )  # fmt: skip
        return End(act, "down", down=outcome)

    # -- what must hold --

    def _check_named(self, end: End) -> None:
        if isinstance(end.act, Down) or end.word in ("lost", "interrupted"):
            return
        code = 0 if end.error is None else end.error.exit_code
        assert (end.word, code) in read_named_ends(), (end.word, code)
        if end.word == "completed" and end.act.mode != "smoke":
            self.check_results(end)

    def _check_end(self, end: End, *, requests: int) -> None:
        """Check what may be said of an act beside which nobody else acted."""
        self._check_named(end)
        match end:
            case End(act=Down(), down=DownOutcome(emptied_at=emptied_at) as down) if emptied_at is not None:
                self._check_empty(end)
                self._check_tidy(down.run_ids, notes=down.notes, knows_secrets=end.act.knows_secrets)  # type: ignore[union-attr]
            case End(act=Deploy(), outcome=None, word="refused" | "active-run" | "interrupted"):
                made = {request.name for request in self.simulator.requests[requests:] if request.caller == DOORS[0]}
                assert not made & CHANGES, made & CHANGES
            case End(word="cancelled"):
                assert self.simulator.group.desired == 0
            case End(outcome=DeployOutcome() as outcome, word=word) if word not in (
                "detached", "shutdown-not-confirmed", "active-run",
            ):  # fmt: skip
                self._check_empty(end)
                self._check_tidy((outcome.run_id,), notes=outcome.notes, knows_secrets=True)

    def _check_empty(self, end: End) -> None:
        assert self.simulator.group.desired == 0, end
        there = [
            instance for instance in self.simulator.ec2.list_instances() if instance.state is not State.TERMINATED
        ]
        assert there == [], (end, [(instance.id, instance.state) for instance in there])

    def _check_tidy(self, run_ids: tuple[str, ...], *, notes: tuple[str, ...], knows_secrets: bool) -> None:
        """What a note tells of ends by itself; all else of these runs is gone."""
        for run_id in run_ids:
            if knows_secrets and not any("secrets" in note for note in notes):
                assert self.list_secrets(f"/ghostpen/{run_id}/") == []
            if not any("scheduled action" in note for note in notes):
                assert f"ghostpen-{run_id}" not in self.simulator.group.schedule.actions

    def list_secrets(self, path: str) -> list[str]:
        return [name for name in self.simulator.parameters.stored if name.startswith(path)]

    def check_results(self, end: End) -> None:
        """Hold the results in S3 against their manifests, without the code that has verified them."""
        assert end.outcome is not None and end.outcome.results is not None
        run = f"runs/{end.outcome.run_id}"
        bundles = end.outcome.results.bundles
        if end.outcome.mode == "train":
            assert f"{run}/results/author" in bundles
        else:
            assert len(bundles) == 1 and bundles[0].startswith(f"{run}/tests/")
        objects = self.simulator.buckets
        for bundle in bundles:
            manifest = json.loads(objects.read(BUCKET, f"{PREFIX}/{bundle}/manifest.json") or b"null")
            assert manifest["files"], bundle
            for entry in manifest["files"]:
                content = objects.read(BUCKET, f"{PREFIX}/{bundle}/{manifest['folder']}/{entry['path']}")
                assert content is not None, (bundle, entry)
                assert hashlib.sha256(content).hexdigest() == entry["sha256"], (bundle, entry)

    def check_watched(self) -> None:
        """Check what holds at every moment."""
        assert self.simulator.violations == [], self.simulator.violations

    def check_last(self) -> None:
        """Let the guards do their work, and check that nothing is left; then nothing stands in anybody's way."""
        self.clock.run_until(max(self.clock.now(), self.simulator.latest_end) + GUARDS_LATE_S)
        self.check_watched()
        assert self.simulator.list_leftovers() == [], self.simulator.list_leftovers()
        assert self.simulator.find_in_requests(SECRET) == []


class _Noticing(Stopping):
    """Note when the first signal came."""

    def __init__(self, clock: TurnTime) -> None:
        super().__init__()
        self.noticed_at: float | None = None
        self._clock = clock

    def deliver(self, number: int) -> None:
        self.noticed_at = self._clock.now() if self.noticed_at is None else self.noticed_at
        super().deliver(number)


def read_named_ends() -> set[tuple[str, int]]:
    """Read every outcome with its exit code from the table of docs/deploy.md: what people are told to expect."""
    return _NAMED_ENDS


def _read_table() -> set[tuple[str, int]]:
    text = (Path(__file__).parents[1] / "docs" / "deploy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d, ]+) \| ([a-z, -]+) \|", text, re.MULTILINE)
    return {
        (word.strip(), int(code)) for codes, words in rows for word in words.split(",") for code in codes.split(",")
    }


_NAMED_ENDS = _read_table()
