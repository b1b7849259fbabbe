"""A person, a folder to work in, and programs named aws and gh that answer what a test has written down."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.terminal import Terminal

ROOT = Path(__file__).parents[4]
STAND_IN = ROOT / "tests/stand_ins/account_programs.py"


class Desk:
    """Where somebody works: a folder, and the programs on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.world = folder / "world"
        self.bin = folder / "bin"
        for made in (self.folder, self.world, self.bin):
            made.mkdir()
        self.environ = {
            "PATH": str(self.bin),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(folder),
            "TERM": "dumb",
            "WORLD": str(self.world),
        }

    @property
    def file(self) -> Path:
        return self.folder / "configs/deploy.toml"

    def install(self, name: str, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Put a program on the PATH."""
        program = self.bin / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {STAND_IN} {name} "$@"\n')
        program.chmod(0o755)
        plan = self.world / "plan.json"
        known = json.loads(plan.read_text()) if plan.exists() else {}
        plan.write_text(json.dumps(known | {f"{name} {line}".strip(): answer for line, answer in answers.items()}))

    def write(self, text: str) -> None:
        """Write configs/deploy.toml."""
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text, encoding="utf-8")

    def write_workflow(self, text: str) -> None:
        folder = self.folder / ".github/workflows"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "deploy.yml").write_text(text, encoding="utf-8")

    @property
    def calls(self) -> list[dict[str, str]]:
        """Read which programs were called, in order."""
        path = self.world / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def lines(self) -> list[str]:
        return [call["line"] for call in self.calls]

    def ask(self, *options: str) -> Terminal:
        """Start `ghostpen ask` at a terminal."""
        command = [sys.executable, "-m", "ghostpen", "ask", *options]
        return Terminal(command, folder=self.folder, environ=self.environ)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def list_files(desk: Desk) -> Callable[[], set[str]]:
    """Return a function that lists the files of the folder."""

    def look() -> set[str]:
        return {str(path.relative_to(desk.folder)) for path in desk.folder.rglob("*") if path.is_file()}

    return look
