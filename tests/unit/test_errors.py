"""The error tree: every error is ours, is one line and knows its exit code."""

import inspect
import re
from pathlib import Path

import pytest

from ghostpen import errors
from ghostpen.errors import (
    CopyingError,
    DeployError,
    GhostpenError,
    Interrupted,
    JobFailed,
    Terminated,
    TrainingStopped,
)

EVERY_ERROR = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, Exception) and item.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_error_any_is_a_ghostpen_error(error: type[Exception]) -> None:
    assert issubclass(error, GhostpenError)


def test_message_with_line_breaks_becomes_one_line() -> None:
    error = GhostpenError("data/a.txt:\n  is empty;\tgive it text")
    assert error.message == "data/a.txt: is empty; give it text"
    assert str(error) == error.message


def test_exit_code_of_outcomes_differs_from_bad_input() -> None:
    assert {error: error.exit_code for error in EVERY_ERROR if error.exit_code not in (2, *range(20, 40))} == {
        CopyingError: 3,
        TrainingStopped: 1,
        DeployError: 1,
        JobFailed: 1,
        Interrupted: 130,
        Terminated: 143,
    }


def test_end_of_a_deployment_has_a_word_and_a_code_of_its_own() -> None:
    assert {error.exit_code: error.reason for error in DeployError.__subclasses__()} == {
        20: "no-capacity",
        21: "instance-never-online",
        22: "gpu-smoke-failed",
        23: "image-pull-failed",
        24: "container-failed",
        25: "out-of-memory",
        26: "max-runtime",
        27: "spot-interruption",
        28: "results-missing",
        29: "shutdown-not-confirmed",
        30: "active-run",
        31: "instance-lost",
        32: "start-failed",
    }


def test_drawing_names_every_error_with_its_exit_code() -> None:
    drawn = dict(re.findall(r"^[ │├└─]*(\w+) +(\d+) ", errors.__doc__ or "", flags=re.MULTILINE))
    assert drawn == {error.__name__: str(error.exit_code) for error in EVERY_ERROR}


def test_troubleshooting_has_an_entry_for_every_error() -> None:
    page = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^### (\w+)\n(.+?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL))
    never_seen = {"GhostpenError", "UnprovenError"}  # the tree's root; what becomes a sentence of the report
    assert set(entries) == {error.__name__ for error in EVERY_ERROR} - never_seen
    for error in EVERY_ERROR:
        if issubclass(error, DeployError) and error is not DeployError:
            assert entries[error.__name__].startswith(f"{error.exit_code}, `{error.reason}`: ")


def test_troubleshooting_groups_errors_by_their_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text(encoding="utf-8")
    for heading, group in re.findall(
        r"^## Exit codes? ([^:]+): .+?\n(.+?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL
    ):
        numbers = [int(number) for number in re.findall(r"\d+", heading)]
        allowed = range(numbers[0], numbers[-1] + 1)
        for name in re.findall(r"^### (\w+)$", group, re.MULTILINE):
            assert getattr(errors, name).exit_code in allowed, name


def test_troubleshooting_quotes_messages_that_there_are() -> None:
    root = Path(__file__).parents[2]
    page = " ".join((root / "docs/troubleshooting.md").read_text(encoding="utf-8").split())
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((root / "src/ghostpen").rglob("*.py")))
    source = re.sub(r'"\s*f?"', "", source)  # literals that stand below each other are one
    quoted = re.findall(r'\*"(.+?)"\*', page)
    pieces = [piece.strip() for quote in quoted for piece in re.split(r"\.\.\.|\b[NM]\b", quote)]
    assert len(quoted) > 10
    assert [piece for piece in pieces if piece not in source] == []
