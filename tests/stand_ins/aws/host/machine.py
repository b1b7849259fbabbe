"""What the stand-ins of one machine share: its folder, its plan, its state. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(os.environ["GHOSTPEN_MACHINE_FOLDER"])
PLAN: dict[str, Any] = json.loads((FOLDER / "machine.json").read_text(encoding="utf-8"))
ENVIRONMENT: dict[str, str] = json.loads((FOLDER / "environment.json").read_text(encoding="utf-8"))


def note_call(tool: str) -> None:
    """Write the command line down: tests look for secrets in it."""
    with (FOLDER / "log" / "calls").open("a", encoding="utf-8") as log:
        log.write(json.dumps([tool, *sys.argv[1:]]) + "\n")


def fail(message: str, exit_code: int = 1) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(exit_code)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write at once what others may read at any time."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(state), encoding="utf-8")
    part.rename(path)


def read_state(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state


def is_alive(pid: int | None) -> bool:
    """Say whether a process runs; one that has ended and waits for its parent does not."""
    if pid is None:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def leave_behind(*arguments: str) -> None:
    """Start this stand-in again as a process that outlives the caller, as a daemon of the machine would."""
    subprocess.Popen(
        [sys.executable, "-E", "-s", sys.argv[0], *arguments],
        env=ENVIRONMENT,
        cwd=FOLDER / "tmp",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def post(path: str, document: dict[str, Any]) -> None:
    """Tell the simulator what the machine does."""
    url = ENVIRONMENT["AWS_EC2_METADATA_SERVICE_ENDPOINT"] + path
    body = json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=10) as answer:
        answer.read()
