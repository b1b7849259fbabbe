"""Run the simulated account as a program: `python -m tests.stand_ins.aws.serve`, for shells and rehearsals.

Prints the variables that lead to it, answers until SIGTERM or Ctrl-C, then says what was left behind (exit code 1 if
anything was). GHOSTPEN_STAND_IN_COMMAND is what a container runs, as shell words (`python -m ghostpen`), and
GHOSTPEN_STAND_IN_ENVIRONMENT what its image sets, as NAME=VALUE words.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import threading

from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN, make_machines
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.world import GroupSpec, World

COMMAND, ENVIRONMENT = "GHOSTPEN_STAND_IN_COMMAND", "GHOSTPEN_STAND_IN_ENVIRONMENT"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--group", default="gpu-runs")
    parser.add_argument("--bucket", default="runs-bucket")
    options = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    world = World(delays=QUICK_DELAYS, groups=(GroupSpec(name=options.group),), buckets=(options.bucket,))
    image_sets = dict(word.partition("=")[::2] for word in shlex.split(os.environ.get(ENVIRONMENT, "")))
    command = shlex.split(os.environ.get(COMMAND, ""))
    with make_machines(command=command, container_environment=image_sets) as machines:
        server = AwsServer(machines, world=world, faults=Faults(plan=QUICK_PLAN), port=options.port)
        with server.serve():
            for name, value in server.make_environment("job").items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
            over.wait()
            left = server.simulator.list_leftovers()
    print("\n".join(left) or "nothing is left", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
