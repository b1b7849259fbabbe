"""What this machine has: packages, GPU, memory, disk, Weights & Biases. Imports none of the heavy packages.

Owns what each verb needs of a machine. Asks nobody beyond it: AWS is asked by the command.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpen.training.wandb_process import choose_mode

if TYPE_CHECKING:
    from rich.table import Table

TRAINING = ("torch", "transformers", "trl", "peft", "unsloth", "datasets")
DEPLOYING = ("boto3",)
GPU_LIMIT_S = 20.0
CUDA_LIMIT_S = 120.0  # torch takes seconds to load, and much longer from a cold disk
ASK_TORCH = "import torch; print(torch.cuda.is_available())"
# gpt-oss-20b in bfloat16 (the largest profile), its download and a run's checkpoints; docs/gpu.md has the parts.
BASE_MODEL_GB = 60
BASE_MODEL = "gpt-oss-20b"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Args:
        there: whether it is; None where that could not be told. found: what there is, in a few words.
        needed_for: the verbs that need it. to_do: how it is put there, or what to know where it is not.
    """

    name: str
    there: bool | None
    found: str
    needed_for: str
    to_do: str = ""


def examine(*, environ: Mapping[str, str], folder: Path) -> list[Finding]:
    """Look at the machine; takes seconds.

    Args:
        folder: where runs would be written.
    """
    return [
        _examine_python(),
        _examine_packages("training packages", TRAINING, "train, test, write, brief, export"),
        _examine_packages("AWS packages", DEPLOYING, "run, data push, pull, deploy"),
        examine_gpu(environ),
        _examine_memory(),
        _examine_disk(folder),
        examine_wandb(environ),
    ]


def _examine_python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = sys.version_info[:2] == (3, 11) and (platform.system(), platform.machine()) == ("Linux", "x86_64")
    return Finding("Python", fits, found, "everything", "" if fits else "needs Python 3.11 on Linux x86_64")


def _examine_packages(name: str, packages: tuple[str, ...], verbs: str) -> Finding:
    versions = {package: find_version(package) for package in packages}
    found = ", ".join(f"{package} {version}" for package, version in versions.items() if version) or "none"
    missing = [package for package, version in versions.items() if not version]
    return Finding(name, not missing, found, verbs, f"missing: {', '.join(missing)}; make setup" if missing else "")


def find_version(package: str) -> str | None:
    """Find a package's version without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def examine_gpu(environ: Mapping[str, str]) -> Finding:
    """Ask the driver for its GPUs, and torch, in a process of its own, whether it sees them."""
    verbs = f"train, test and write with {BASE_MODEL}; the embedded model needs none"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    gpus = _run(query, environ, limit_s=GPU_LIMIT_S)
    if gpus is None:
        return Finding("GPU", False, "none", verbs, "no nvidia-smi that answers: no GPU, or no driver")
    found = "; ".join(line.strip() for line in gpus.splitlines())
    seen = _run([sys.executable, "-c", ASK_TORCH], environ, limit_s=CUDA_LIMIT_S)
    to_do = {
        "True": "",
        "False": "torch sees none of them: CUDA_VISIBLE_DEVICES, or an old driver",
        None: f"torch can't be loaded, or takes longer than {CUDA_LIMIT_S:.0f} seconds",
    }[seen]
    return Finding("GPU", seen == "True", found, verbs, to_do)


def _run(command: list[str], environ: Mapping[str, str], *, limit_s: float) -> str | None:
    """Run a command; its output, or None where it is not there, fails or takes too long."""
    try:
        done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=limit_s, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _examine_memory() -> Finding:
    total, free = (
        os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") / 1e9 for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES")
    )
    cores = len(os.sched_getaffinity(0))
    return Finding("memory", None, f"{total:.0f} GB, {free:.0f} free; {cores} cores", "see ghostpen inspect MODEL")


def _examine_disk(folder: Path) -> Finding:
    free_gb = shutil.disk_usage(folder).free / 1e9
    enough = free_gb >= BASE_MODEL_GB
    to_do = "" if enough else f"{BASE_MODEL} in 16 bit and its checkpoints want {BASE_MODEL_GB} GB; 4 bit less"
    return Finding("disk", enough, f"{free_gb:.0f} GB free", f"train with {BASE_MODEL}", to_do)


def examine_wandb(environ: Mapping[str, str]) -> Finding:
    """Say whether runs would go to Weights & Biases; the key itself is not read out."""
    mode = choose_mode(environ)
    key = "WANDB_API_KEY is set" if environ.get("WANDB_API_KEY") else "no WANDB_API_KEY"
    to_do = "" if mode == "online" else "runs are kept here; set WANDB_API_KEY, and WANDB_MODE=online or not at all"
    return Finding("Weights & Biases", mode == "online", f"{mode}: {key}", "train --tracker wandb, online", to_do)


def render_findings(findings: list[Finding]) -> Table:
    """Render for a terminal; colour is not the only sign."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    signs = {True: Text("yes", "green"), False: Text("no", "yellow"), None: Text("-", "dim")}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "there", "found", "needed for"):
        table.add_column(name)
    for finding in findings:
        found = Text(finding.found)
        if finding.to_do:
            found.append(f"\n{finding.to_do}", "dim")
        table.add_row(finding.name, signs[finding.there], found, finding.needed_for)
    return table
