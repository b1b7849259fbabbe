"""Seconds that a deployment pays for and that do no work, in the simulated account, each way it can end.

    .venv/bin/python benchmarks/idle.py    # seconds; prints a table and appends a line to results/idle.jsonl

Nothing here is a real account: the real code deploys into the simulator of the tests on a virtual clock, and what
AWS takes for its part (boot 45 s, pull of the image 240 s, a group's reaction 3 s) is the simulator's guess
(tests/stand_ins/aws/world.py, faults.py). What is measured is what ghostpen adds to that.

Billed: from EC2's "running" to its "shutting-down". Work: from the start of the container to the end of its last
upload. Before and after: the rest. Peer: the same run on the same group where nothing but the group's own timer of
infra/ghostpen.yaml (IdleSeconds, an hour) ends the instance, because the deployment is lost and the instance's exit
hook does not work: what a plain Auto Scaling group with a careful boot script costs.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import ROOT
from processes import append_line

sys.path.insert(0, str(ROOT))

from tests.deploying import Account
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import Fault, InstanceFault, JobLost, MomentFault, Phase, Pull, Smoke
from tests.stand_ins.aws.in_process import MachineLost
from tests.stand_ins.aws.modelled_instance import ModelledHost

RESULTS = Path(__file__).parent / "results/idle.jsonl"
LATE_S = 12 * 3600.0  # by then every timer and scheduled action has fired
NO_HOOK = InstanceFault((("ends_itself", False),))
WORKING_S, WAITING_S = 600.0, 90.0  # after the start: the container runs; the instance is there, and nothing on it
# What happens, and when the machine that deploys is lost in the peer's run: while the container works, if one will.
CASES: dict[str, tuple[tuple[Fault, ...], float]] = {
    "completed": ((), WORKING_S),
    "training fails": ((InstanceFault((("exit_code", 1),)),), WORKING_S),
    "no GPU on it": ((InstanceFault((("smoke", Smoke.NO_DRIVER),)),), WAITING_S),
    "image can't be pulled": ((InstanceFault((("pull", Pull.FAILS),)),), WAITING_S),
    "agent never answers": ((InstanceFault((("agent_online_s", None),)),), WAITING_S),
    "deploying machine lost": ((MomentFault(WORKING_S, JobLost(applied=False)),), WORKING_S),
    "exit hook fails": ((NO_HOOK,), WORKING_S),
}


class WatchedHost(ModelledHost):
    """An instance that notes when its phases began."""

    seen: dict[Phase, float]

    def boot(self) -> None:
        """Note what is announced from here on, too."""
        self.seen = {}
        announce = self._instance.announce

        def note(phase: Phase) -> None:
            self.seen.setdefault(phase, self._simulator.timeline.now())
            announce(phase)

        self._instance.announce = note
        super().boot()


class WatchedSimulator(Simulator):
    """The account with such instances in it."""

    def __init__(self, clock: Any, _: type[ModelledHost], **options: Any) -> None:
        """Take the place of the tests' own."""
        super().__init__(clock, WatchedHost, **options)


def measure_case(faults: Sequence[Fault]) -> dict[str, float]:
    """Deploy once, let every timer fire, and add up the instances' seconds.

    Raises:
        SystemExit: something is left that costs money.
    """
    account = Account(*faults, make_simulator=WatchedSimulator)
    with contextlib.suppress(MachineLost):
        account.deploy()
    account.pass_time(LATE_S)
    if left := account.simulator.list_leftovers():
        raise SystemExit(f"error: left in the account: {', '.join(left)}")
    before_s = work_s = after_s = 0.0
    for instance in account.simulator.ec2.list_instances():
        if instance.running_at is None or instance.stopped_at is None:
            continue
        seen = instance.host.seen if isinstance(instance.host, WatchedHost) else {}
        began_s = seen.get(Phase.RUN, instance.stopped_at)
        ended_s = min(seen.get(Phase.END, instance.stopped_at), instance.stopped_at)
        before_s += began_s - instance.running_at
        work_s += max(0.0, ended_s - began_s)
        after_s += instance.stopped_at - max(began_s, ended_s)
    return {"before_s": round(before_s), "work_s": round(work_s), "after_s": round(after_s)}


def measure() -> dict[str, dict[str, Any]]:
    """Measure every case, and the same where only the group's timer ends the instance."""
    return {
        case: {
            "ours": measure_case(faults),
            "timer": measure_case([*faults, MomentFault(lost_after_s, JobLost(applied=False)), NO_HOOK]),
        }
        for case, (faults, lost_after_s) in CASES.items()
    }


def summarise(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Make a line of the results file; the ratio is idle seconds, ours over the timer's: smaller is better."""
    rows = {}
    for case, sides in cases.items():
        idle = {side: found["before_s"] + found["after_s"] for side, found in sides.items()}
        rows[case] = dict(sides) | {"idle_s": idle, "idle_ours_over_timer": round(idle["ours"] / idle["timer"], 2)}
    return {"date": datetime.date.today().isoformat(), "simulated": True, "peer": "IdleSeconds alone", "cases": rows}


def render_line(line: Mapping[str, Any]) -> str:
    """Render a line of the results file as a table for a terminal."""
    rows = [f"{'seconds':26}{'before':>8}{'work':>8}{'after':>8}{'idle':>8}{'timer alone':>13}{'ours / it':>11}"]
    for case, found in line["cases"].items():
        ours = "".join(f"{found['ours'][key]:>8}" for key in ("before_s", "work_s", "after_s"))
        idle = found["idle_s"]
        rows.append(f"{case:26}{ours}{idle['ours']:>8}{idle['timer']:>13}{found['idle_ours_over_timer']:>11}")
    return "\n".join(rows)


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    options = parser.parse_args()
    line = summarise(measure())
    print(render_line(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
