"""Starting the command line: `ghostpen --help` beside the help of trl, axolotl and llamafactory-cli.

    .venv/bin/python benchmarks/startup.py    # a minute or two; prints a table and appends to results/startup.jsonl

Every measurement is a process from its start to its end, and the sides take turns; `python` is Python alone, which
none can do without. axolotl and LLaMA-Factory are installed beside the environment, without packages of their own:
their help needs none beyond those that are there. Files are in the cache: the first repetition is not counted.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import ROOT
from peers import read_cpu
from processes import append_line, install_peer, summarise_ratios

BUILD = ROOT / "build/startup"
RESULTS = Path(__file__).parent / "results/startup.jsonl"
LIMIT_S = 120
AXOLOTL = {"axolotl==0.19.0": "f28eb3ad3709975eec4adfe13307dd980c7e7917cc43cb03f2c6f26c007135cc"}
LLAMAFACTORY = {"llamafactory==0.9.5": "10776e9b259798bf65f6c5343f6298f0302e92e9cd47472abe29eef69e286c6a"}


def plan_commands(axolotl: Path, llamafactory: Path) -> dict[str, tuple[list[str], Path | None]]:
    """Give each side's command, and the folder of packages that it has in front of all others."""
    programs = Path(sys.executable).parent
    return {
        "ours": ([str(programs / "ghostpen"), "--help"], ROOT / "src"),
        "ours, train": ([str(programs / "ghostpen"), "train", "--help"], ROOT / "src"),
        "trl": ([str(programs / "trl"), "--help"], None),
        "axolotl": ([sys.executable, str(axolotl / "bin/axolotl"), "--help"], axolotl),
        "llamafactory-cli": ([sys.executable, str(llamafactory / "bin/llamafactory-cli"), "help"], llamafactory),
        "python": ([sys.executable, "-c", ""], None),
    }


def run_once(command: Sequence[str], peer: Path | None) -> float:
    """Run a command without a GPU and a network; return its seconds.

    Raises:
        SystemExit: it failed or took too long.
    """
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    environment |= {} if peer is None else {"PYTHONPATH": str(peer)}
    began_s = time.perf_counter()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"error: {' '.join(command)} took more than {LIMIT_S} seconds") from error
    seconds = time.perf_counter() - began_s
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds


def summarise(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Make the medians a line of the results file; a ratio above 1 says that ours is the faster one."""
    return {
        "date": datetime.date.today().isoformat(),
        "speed_ours_over_peer": {
            side: summarise_ratios([peer / own for own, peer in zip(seconds["ours"], found, strict=True)])
            for side, found in seconds.items()
            if side != "ours"
        },
        "median_s": {side: round(statistics.median(found), 3) for side, found in seconds.items()},
        "setting": {"peers": [*AXOLOTL, *LLAMAFACTORY], "repetitions": len(seconds["ours"])},
        "cpu": read_cpu(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def render_line(line: Mapping[str, Any]) -> str:
    """Render a line of the results file as a table for a terminal."""
    rows = [f"{'help of':20}{'seconds':>10}{'ours / peer, speed':>26}"]
    for side, median in line["median_s"].items():
        ratio = line["speed_ours_over_peer"].get(side)
        rows.append(f"{side:20}{median:>10}{'x{median} [{lowest}, {highest}]'.format(**ratio) if ratio else '':>26}")
    return "\n".join(rows)


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    options = parser.parse_args()
    commands = plan_commands(install_peer(BUILD, AXOLOTL), install_peer(BUILD, LLAMAFACTORY))
    seconds: dict[str, list[float]] = {side: [] for side in commands}
    for repetition in range(options.repetitions + 1):
        for side in list(commands) if repetition % 2 == 0 else list(commands)[::-1]:
            print(f"repetition {repetition} of {options.repetitions}: {side}", file=sys.stderr)
            found = run_once(*commands[side])
            seconds[side] += [found] if repetition else []
    line = summarise(seconds)
    print(render_line(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
