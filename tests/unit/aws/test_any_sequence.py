"""Any sequence of deployments, faults, cancellations, lost machines and retries: it ends at 0, with nothing left.

A thousand sequences, the same ones each time. SEQUENCES=10000 draws so many others.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.sequences import CHANGES, Deploy, Down, Scene, read_named_ends
from tests.stand_ins.aws.catalogue import (
    CAPACITY,
    ENDINGS,
    JOB_OPERATIONS,
    PLAN_CHANGES,
    draw_call_faults,
    draw_instance_faults,
)
from tests.stand_ins.aws.faults import (
    Away,
    CallFault,
    Fault,
    Incident,
    InstanceFault,
    Meddling,
    Mishap,
    MomentFault,
    Phase,
    Results,
    Signalled,
)
from tests.stand_ins.aws.timeline import Event

from ghostpen.aws.handover import Mode

WANTED = int(os.environ.get("SEQUENCES", "0"))
COUNT = WANTED or 1000
STEPS = 6
RUNS = ("emma", "persuasion")
BAD_INSTANCES = [
    *(InstanceFault(changes) for changes in PLAN_CHANGES),
    *(InstanceFault((), (Incident(mishap, phase, 10.0),)) for mishap in Mishap for phase in Phase),
]

stops = st.sampled_from(
    [Signalled(number, applied) for number in (signal.SIGINT, signal.SIGTERM) for applied in (False, True)]
)
aways = st.builds(Away, st.sampled_from((300.0, 4000.0, 30000.0)), st.booleans())
run_ids = st.sampled_from(RUNS)


def draw_endings(what: st.SearchStrategy[Any], *, at_moments: bool) -> st.SearchStrategy[Any]:
    """Draw what may be the end of whoever acts, at a call or at a moment."""
    changes = [operation for operation in JOB_OPERATIONS if operation in CHANGES]
    calls = st.one_of(
        st.builds(CallFault, st.just("*"), what, nth=st.integers(1, 200)),
        st.builds(CallFault, st.sampled_from(JOB_OPERATIONS), what, nth=st.integers(1, 4)),
        st.builds(CallFault, st.sampled_from(changes), what, nth=st.integers(1, 3)),
    )
    moments = st.builds(MomentFault, st.integers(0, 25000).map(lambda tenths: tenths / 10), what)
    return st.one_of(calls, moments) if at_moments else calls


def draw_all_endings(*, at_moments: bool) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw up to three ends, and at most one sleep: at two in a row nobody is there to do anything."""
    ends = st.lists(draw_endings(st.one_of(st.sampled_from(ENDINGS), stops), at_moments=at_moments), max_size=3)
    sleeps = st.lists(draw_endings(aways, at_moments=at_moments), max_size=1)
    return st.tuples(sleeps, ends).map(lambda drawn: (*drawn[0], *drawn[1]))


alone, contending = draw_all_endings(at_moments=True), draw_all_endings(at_moments=False)


def draw_deploys(endings: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[Deploy]:
    work = st.builds(
        Deploy,
        mode=st.sampled_from(("train", "train", "train", "test")),
        run_id=run_ids,
        knows_config=st.sampled_from((True, True, True, False)),
        follow_for_s=st.sampled_from((None, None, 0.0, 100.0)),
        endings=endings,
    )
    smoke = st.builds(Deploy, st.just("smoke"), st.just("smoke-1"), endings=endings)
    return st.one_of(work, work, work, smoke)


def draw_downs(endings: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[Down]:
    return st.builds(Down, st.one_of(st.none(), run_ids), st.booleans(), endings=endings)


faults: st.SearchStrategy[list[Fault]] = st.lists(
    st.one_of(draw_call_faults(), draw_instance_faults(), draw_instance_faults(), st.sampled_from(CAPACITY)),
    max_size=2,
)


class AnySequence(RuleBasedStateMachine):
    """What anybody and anything may do, in any order."""

    scene: Scene

    def __init__(self, ends: Counter[str]) -> None:
        super().__init__()
        self._ends = ends
        self._is_protected = False
        self._is_corrupt = False
        self._hands: list[Event] = []  # what somebody is still to do

    @initialize(poll_s=st.sampled_from((20, 60)), contrast=st.booleans())
    def open_account(self, poll_s: int, contrast: bool) -> None:
        self.scene = Scene(poll_s=poll_s, contrast=contrast)

    def _spoil(self, drawn: list[Fault]) -> None:
        self._is_corrupt |= any(("results", Results.CORRUPT) in getattr(fault, "changes", ()) for fault in drawn)
        self.scene.spoil(*drawn)

    @rule(act=draw_deploys(alone), drawn=faults)
    def deploy(self, act: Deploy, drawn: list[Fault]) -> None:
        self._spoil(drawn)
        self._ends[self.scene.act(act).word] += 1

    @rule(act=draw_deploys(st.just(())), drawn=faults)
    def deploy_without_an_end(self, act: Deploy, drawn: list[Fault]) -> None:
        self.deploy(act, drawn)

    @rule(run_id=run_ids, mode=st.sampled_from(("train", "train", "test")), instance=st.sampled_from(BAD_INSTANCES))
    def deploy_to_a_bad_instance(self, run_id: str, mode: Mode, instance: InstanceFault) -> None:
        self.deploy(Deploy(mode, run_id), [instance])

    @rule(
        first=draw_deploys(contending),
        second=st.one_of(draw_deploys(contending), draw_downs(contending)),
        after_s=st.one_of(
            st.just(0.0), st.integers(1, 80).map(lambda tenths: tenths / 10), st.sampled_from((200.0, 900.0))
        ),
        drawn=faults,
    )
    def contend(self, first: Deploy, second: Deploy | Down, after_s: float, drawn: list[Fault]) -> None:
        self._spoil(drawn)
        for end in self.scene.act_together(first, second, after_s=after_s):
            self._ends[end.word] += 1

    @rule(act=draw_downs(alone))
    def take_down(self, act: Down) -> None:
        self.scene.act(act)

    @rule(seconds=st.sampled_from((5.0, 60.0, 500.0, 3000.0, 20000.0)))
    def pass_time(self, seconds: float) -> None:
        self.scene.account.pass_time(seconds)

    @rule(meddling=st.sampled_from(Meddling), after_s=st.integers(0, 2500))
    def meddle(self, meddling: Meddling, after_s: int) -> None:
        """Somebody does something by hand, now or during what comes next."""
        self._is_protected |= meddling is Meddling.PROTECT
        self._hands.append(self.scene.clock.call_later(after_s, lambda: self.scene.simulator.meddle(meddling)))

    @invariant()
    def look(self) -> None:
        self.scene.check_watched()

    def teardown(self) -> None:
        scene = self.scene
        if self._is_protected:  # from scale-in, which is all that the scheduled action does: a person has to end it
            scene.account.pass_time(3000)
            scene.simulator.faults.clear()
            scene.act(Down())
        scene.check_last()
        scene.simulator.faults.clear()
        for hand in self._hands:
            hand.cancel()
        end = scene.act(Deploy())
        assert end.word == "completed" or (self._is_corrupt and end.word == "results-missing"), end
        self._ends["sequences"] += 1


def test_any_sequence_ends_at_zero_with_nothing_left_and_each_end_has_a_name() -> None:
    ends: Counter[str] = Counter()
    run_state_machine_as_test(
        lambda: AnySequence(ends),
        settings=settings(
            max_examples=COUNT, stateful_step_count=STEPS, derandomize=not WANTED, deadline=None, print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

    assert ends["sequences"] >= COUNT
    # So much was really met: every end that docs/deploy.md names, and jobs that were lost.
    assert {word for word, _ in read_named_ends()} | {"lost", "interrupted"} <= set(ends), ends
