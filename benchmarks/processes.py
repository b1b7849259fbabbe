"""What every benchmark needs to measure a side by itself: a peer beside the environment, and a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import ROOT

SIDE_LIMIT_S = 900
INSTALL_LIMIT_S = 120
RESULT = "result.json"


def install_peer(folder: Path, wanted: Mapping[str, str]) -> Path:
    """Install a peer beside the environment, once: all that it needs beyond `wanted` is the environment's own.

    Args:
        folder: it goes below that. wanted: SHA-256 of each wheel, by "name==version"; the first is the peer.

    Raises:
        SystemExit: it can't be had.
    """
    peer = next(iter(wanted))
    target = folder / peer.replace("==", "-")
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        part, listed = folder / f"{peer}.part", folder / f"{peer}.txt"
        shutil.rmtree(part, ignore_errors=True)  # of an installation that failed
        listed.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in wanted.items()))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command = [*pip, "--target", str(part), "-r", str(listed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise SystemExit(f"error: installing {peer} took more than {INSTALL_LIMIT_S} seconds") from error
        if done.returncode:
            raise SystemExit(f"error: {peer} can't be installed into {part}: {done.stderr.strip()}")
        part.rename(target)
    return target


def run_side(side: str, command: Sequence[str], *, out: Path, peer: Path | None) -> dict[str, Any]:
    """Run a side in a new process without a GPU, in `out`, and read the RESULT that it left there.

    Args:
        command: what Python is to run. peer: the folder of packages that the side has in front of all others.

    Raises:
        SystemExit: it failed or took too long; its output is beside the result.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    if peer is not None:
        path.insert(0, str(peer))
    set_here = {"PYTHONPATH": os.pathsep.join(path), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    log = out / "output.txt"
    with log.open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(
                [sys.executable, *command],
                env=os.environ | set_here, cwd=out, stdout=output, stderr=output, timeout=SIDE_LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SystemExit(f"error: {side} took more than {SIDE_LIMIT_S} seconds; see {log}") from error
    if done.returncode:
        raise SystemExit(f"error: {side} ended with exit code {done.returncode}; {log} says why")
    result: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
    return result


def read_status_bytes(key: str) -> int:
    """Read the kernel's own count of this process: VmHWM is the most memory that it has held."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{key}:"))


def summarise_ratios(ratios: Sequence[float]) -> dict[str, float]:
    """Give the median and the range of ratios, one a repetition."""
    found = {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return {name: round(ratio, 2) for name, ratio in found.items()}


def append_line(line: Mapping[str, Any], path: Path) -> None:
    """Append what one run of a benchmark found to its results file."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
