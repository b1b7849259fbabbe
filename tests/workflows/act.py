"""Runs a workflow by act, on this machine and without a network, and reads what each of its steps did.

The workflow runs in a repository of its own with copies of the files that it needs. `stand_ins/actions` replaces the
actions of others, `stand_ins/runner` docker, and a server that the test names AWS. Scripts, git and aws are real.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


class Repository:
    """A repository named acme/ghostpen with one commit, whose workflows act runs."""

    def __init__(self, folder: Path, *, aws: str) -> None:
        """Copy the files that workflows use into `folder`. `aws` is the address of a server that stands for AWS."""
        self.checkout, self.home, self.docker = (folder / name for name in ("checkout", "home", "docker"))
        self._stand_ins = {"AWS_ENDPOINT_URL": aws, "DOCKER_STAND_IN": str(self.docker)}
        for made in (self.checkout, self.home, self.docker):
            made.mkdir(parents=True)
        for name in COPIED:
            target = self.checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, target)
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", "https://github.com/acme/ghostpen.git")
        self.commit = self.make_commit()

    def make_commit(self) -> str:
        """Commit what the checkout holds, and return the commit's name."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", "test")
        return self._git("rev-parse", "HEAD").strip()

    def run(
        self, workflow: str, event: str, payload: Mapping[str, Any], *, variables: Mapping[str, str]
    ) -> WorkflowRun:
        """Run a workflow for an event, with repository variables, until its end or for two minutes."""
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
        for option, values in (("--env", self._stand_ins), ("--var", variables)):
            command += [part for name, value in values.items() for part in (option, f"{name}={value}")]
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return read_run(done.returncode, done.stdout.splitlines(), done.stderr)

    def run_script(self, name: str, *arguments: str) -> str:
        """Run one of the scripts as a person does, on the same docker, and return what it printed."""
        environment = self._environment() | self._stand_ins
        command = [str(self.checkout / "scripts" / name), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def read_docker_calls(self) -> list[list[str]]:
        """Read what docker was asked for: each call's arguments, in order."""
        path = self.docker / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _git(self, *arguments: str) -> str:
        command = ["git", "-c", "core.excludesFile=", *arguments]
        environment = self._environment() | AUTHOR
        done = subprocess.run(command, cwd=self.checkout, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Nothing of the developer's: act keeps its files below HOME, and hands the PATH to the steps."""
        path = f"{RUNNER}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / ".cache")}


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
