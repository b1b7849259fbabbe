"""Runs a workflow by act, on this machine and without a network, and reads what each of its steps did.

The workflow runs in a repository of its own with copies of the files that it needs. `stand_ins/actions` replaces the
actions of others, `stand_ins/runner` docker and ghostpen, and a server that the test names AWS. Scripts, git and aws
are real.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ACTIONS = ROOT / "tests/stand_ins/actions"
RUNNER = ROOT / "tests/stand_ins/runner"
COPIED = (".github", "docker", "scripts", "src/ghostpen/__init__.py")
AUTHOR = {f"GIT_{who}_{what}": "test@invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class WorkflowRun:
    """What one run of a workflow did: results of steps by name, in order, outputs by STEP.NAME, and what was printed.

    A step that was skipped is not among the steps.
    """

    exit_code: int
    steps: Mapping[str, str]
    outputs: Mapping[str, str]
    log: str

    @property
    def succeeded(self) -> list[str]:
        return [name for name, result in self.steps.items() if result == "success"]

    @property
    def failed(self) -> list[str]:
        return [name for name, result in self.steps.items() if result == "failure"]


class Started:
    """A run of a workflow that goes on, and writes what happens in it to two files."""

    def __init__(self, command: Sequence[str], log: Path, *, folder: Path, environment: Mapping[str, str]) -> None:
        self._log, self._errors = log, log.with_suffix(".err")
        with self._log.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=errors)

    def read_log(self) -> str:
        """Read what was printed so far."""
        return self._log.read_text(encoding="utf-8")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def cancel(self) -> None:
        """Cancel it, as a person does on GitHub."""
        self._process.send_signal(signal.SIGINT)

    def lose(self) -> None:
        """Lose the runner: everything on it ends at once, and nothing is cleaned up. Fine if it has ended."""
        if self.ended:
            return
        self._process.send_signal(signal.SIGSTOP)  # or it would see its steps end, and go on
        for process_id in [*find_descendants(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        self._process.wait()

    def finish(self, *, limit_s: float = 120) -> WorkflowRun:
        """Wait for its end."""
        try:
            exit_code = self._process.wait(timeout=limit_s)
        finally:
            self.lose()
        return read_run(exit_code, self.read_log().splitlines(), self._errors.read_text(encoding="utf-8"))


class Repository:
    """A repository named acme/ghostpen with one commit, whose workflows act runs."""

    def __init__(self, folder: Path, *, aws: str, environment: Mapping[str, str] | None = None) -> None:
        """Copy the files that workflows use into `folder`.

        Args:
            aws: the address of a server that stands for AWS. environment: what else the runner has.
        """
        names = ("checkout", "home", "docker", "ghostpen")
        self.checkout, self.home, self.docker, self.ghostpen = (folder / name for name in names)
        self._stand_ins = {
            "AWS_ENDPOINT_URL": aws,
            "DOCKER_STAND_IN": str(self.docker),
            "GHOSTPEN_STAND_IN": str(self.ghostpen),
            **(environment or {}),
        }
        for made in (self.checkout, self.home, self.docker, self.ghostpen):
            made.mkdir(parents=True)
        self.started: list[Started] = []
        for name in COPIED:
            target = self.checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, target)
        for path in (self.checkout / ".github/workflows").iterdir():
            # act 0.2.89 does not know this key of GitHub's, and runs one job at a time anyway.
            path.write_text(path.read_text(encoding="utf-8").replace("  queue: max\n", ""), encoding="utf-8")
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", "https://github.com/acme/ghostpen.git")
        self.make_commit()

    def make_commit(self) -> str:
        """Commit what the checkout holds, and return the commit's name."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", "test")
        self.commit = self._git("rev-parse", "HEAD").strip()
        return self.commit

    def run(
        self,
        workflow: str,
        event: str,
        payload: Mapping[str, Any],
        *,
        variables: Mapping[str, str],
        secrets: Mapping[str, str] | None = None,
    ) -> WorkflowRun:
        """Run a workflow for an event, with the repository's variables and secrets, until its end."""
        return self.start(workflow, event, payload, variables=variables, secrets=secrets).finish()

    def start(
        self,
        workflow: str,
        event: str,
        payload: Mapping[str, Any],
        *,
        variables: Mapping[str, str],
        secrets: Mapping[str, str] | None = None,
    ) -> Started:
        """Start a workflow for an event, with the repository's variables and secrets."""
        path = self.checkout / ".github/workflows" / workflow
        event_path = self.home / "event.json"
        event_path.write_text(json.dumps(payload), encoding="utf-8")
        command = [
            "act",
            event,
            "--json",
            "--no-cache-server",
            "--workflows",
            str(path),
            "--eventpath",
            str(event_path),
        ]
        command += ["--platform", "ubuntu-24.04=-self-hosted"]
        for owner, name, ref in find_actions(path.read_text(encoding="utf-8")):
            command += ["--local-repository", f"{owner}/{name}@{ref}={ACTIONS / name}"]
        for option, values in (("--env", self._stand_ins), ("--var", variables), ("--secret", secrets or {})):
            command += [part for name, value in values.items() for part in (option, f"{name}={value}")]
        log = self.home / f"act-{len(self.started)}.log"
        self.started.append(Started(command, log, folder=self.checkout, environment=self._environment()))
        return self.started[-1]

    def run_script(self, name: str, *arguments: str) -> str:
        """Run one of the scripts as a person does, on the same docker, and return what it printed."""
        environment = self._environment() | self._stand_ins
        command = [str(self.checkout / "scripts" / name), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def read_docker_calls(self) -> list[list[str]]:
        """Read what docker was asked for: each call's arguments, in order."""
        return read_lines(self.docker / "calls.jsonl")

    def read_ghostpen_calls(self) -> list[dict[str, Any]]:
        """Read how ghostpen's stand-in was called, and which signals it got, in order."""
        return read_lines(self.ghostpen / "calls.jsonl")

    def _git(self, *arguments: str) -> str:
        command = ["git", "-c", "core.excludesFile=", *arguments]
        environment = self._environment() | AUTHOR
        done = subprocess.run(command, cwd=self.checkout, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Nothing of the developer's: act keeps its files below HOME, and hands the PATH to the steps."""
        path = f"{RUNNER}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / ".cache")}


def find_descendants(process_id: int) -> list[int]:
    """Find the processes that a process has started, and theirs."""
    found = []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for path in Path(f"/proc/{process_id}/task").glob("*/children"):
            for child in map(int, path.read_text().split()):
                found += [child, *find_descendants(child)]
    return found


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def require_git() -> None:
    if not shutil.which("git"):
        pytest.skip("workflows run in a git repository, and there is no git here: run these tests outside the image")


def find_actions(workflow: str) -> Sequence[tuple[str, str, str]]:
    """Find the actions of others that a workflow uses: owner, name, ref. act has a checkout of its own."""
    return sorted(set(re.findall(r"uses: (?!actions/checkout)([\w-]+)/([\w-]+)@(\w+)", workflow)))


def read_run(exit_code: int, lines: Sequence[str], errors: str) -> WorkflowRun:
    """Read act's log: one JSON object a line, a step's result in the last line of its main part."""
    steps: dict[str, str] = {}
    outputs: dict[str, str] = {}
    log = []
    for entry in map(json.loads, lines):
        is_whole_step = len(entry.get("stepID", ())) == 1  # an action's own steps have two names
        if entry.get("stage") == "Main" and is_whole_step and "stepResult" in entry:
            steps[entry["step"].partition("@")[0]] = entry["stepResult"]
        if entry.get("command") == "set-output" and is_whole_step:
            outputs[f"{entry['stepID'][0]}.{entry['name']}"] = entry["arg"]
        log.append(entry["msg"].rstrip("\n"))
    return WorkflowRun(exit_code, steps, outputs, "\n".join([*log, errors]))
