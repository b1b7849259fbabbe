"""The command line: fast help, one line per error, the right exit code."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ghostpen import __version__
from ghostpen.cli import OneLineErrors, app
from ghostpen.errors import DataError, Interrupted

# None of these may be loaded by --help: together they cost more than ten seconds.
HEAVY = {
    "torch",
    "unsloth",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "wandb",
    "matplotlib",
    "numpy",
    "pydantic",
    "boto3",
    "botocore",
}

SMALLEST = '[model]\nname = "embedded:tiny"\n[train]\nmax_steps = 1\n'


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from ghostpen.cli import app; app(['--help'], standalone_mode=False); "
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert {"typer", "ghostpen"} <= loaded
    assert loaded & HEAVY == set()


def test_help_lists_the_verbs_in_the_order_of_use() -> None:
    lines = CliRunner().invoke(app, ["--help"]).stdout.splitlines()
    verbs = [
        "prepare", "train", "test", "run", "write", "export", "inspect", "pull", "ask", "deploy", "smoke", "status",
        "logs", "down", "data",
    ]  # fmt: skip
    shown = [words[1] for line in lines if len(words := line.split()) > 1 and words[1] in verbs and words[0] == "│"]
    assert shown == verbs


@pytest.mark.parametrize(
    "verb",
    [
        "prepare", "train", "test", "run", "write", "export", "inspect", "pull", "data", "data push", "ask",
        "deploy", "smoke", "status", "logs", "down",
    ],
)  # fmt: skip
def test_help_of_each_verb_works(verb: str) -> None:
    result = CliRunner().invoke(app, [*verb.split(), "--help"])
    assert result.exit_code == 0
    assert f"ghostpen {verb}" in result.stdout.replace("root", "ghostpen")


def test_version_is_the_package_s() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"ghostpen {__version__}\n")


def test_module_run_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "ghostpen", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ghostpen {__version__}\n"


@pytest.mark.parametrize("verb", ["train", "test"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = ", "is not valid TOML"),
        (SMALLEST, "name is missing"),
        (f'name = "a"\n{SMALLEST}', "data.dir is missing"),
        (f'name = "a"\n[data]\ndir = "d"\n[lora]\nrank = 0\n{SMALLEST}', "lora.rank should be greater than"),
        (f'name = "a"\n[data]\ndir = "d"\n[lora]\nrang = 1\n{SMALLEST}', "did you mean lora.rank?"),
        (f'name = "a"\n[data]\ndir = 1\n{SMALLEST}', "data.dir must be a path"),
    ],
)
def test_bad_config_gives_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(text)
    result = CliRunner().invoke(app, [verb, "--config", "run.toml"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: run.toml: ")
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_missing_config_gives_one_line_and_exit_code_2() -> None:
    result = CliRunner().invoke(app, ["train", "--config", "nowhere.toml"])
    assert result.exit_code == 2
    assert result.stderr == "error: nowhere.toml: no such config file; configs/ holds examples\n"


def test_write_with_two_runs_is_refused() -> None:
    result = CliRunner().invoke(app, ["write", "It was", "--config", "a.toml", "--run", "runs/a"])
    assert result.exit_code == 2
    assert result.stderr == "error: name the run once: with --config FILE or with --run DIR\n"


@pytest.mark.parametrize("arguments", [["write", "It was"], ["test"]])
def test_verb_without_a_run_and_with_none_trained_says_so(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no run was named, and runs/ holds none; train one with")
    assert result.stderr.count("\n") == 1


def test_test_with_set_and_no_config_is_refused() -> None:
    result = CliRunner().invoke(app, ["test", "--set", "eval.stride=1"])
    assert result.exit_code == 2
    assert result.stderr == "error: --set changes the settings of a file: name it with --config FILE\n"


def make_app_that_raises(error: BaseException) -> typer.Typer:
    failing = typer.Typer(cls=OneLineErrors, pretty_exceptions_enable=False)

    @failing.callback()
    def describe() -> None: ...

    @failing.command()
    def fail() -> None:
        raise error

    return failing


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (DataError("a.txt:3: [b]is[/b] not UTF-8"), 2, "error: a.txt:3: [b]is[/b] not UTF-8\n"),
        (DataError("a " * 200), 2, f"error: {'a ' * 199}a\n"),
        (Interrupted("checkpoint 5 is written"), 130, "error: checkpoint 5 is written\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: /x: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: disk: No space left on device\n"),
    ],
)
def test_error_in_a_verb_gives_one_line_and_its_exit_code(error: BaseException, exit_code: int, line: str) -> None:
    result = CliRunner().invoke(make_app_that_raises(error), ["fail"])
    assert (result.exit_code, result.stderr) == (exit_code, line)


def test_bug_in_a_verb_keeps_its_traceback() -> None:
    bug = FileNotFoundError(errno.ENOENT, "No such file", "/x")
    result = CliRunner().invoke(make_app_that_raises(bug), ["fail"])
    assert result.exception is bug


def write_documents(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        words = " ".join(f"word{number}x{index}" for index in range(400))
        (folder / f"letter-{number}.txt").write_text(f"{words}.\n", encoding="utf-8")


def test_prepare_twice_does_nothing_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "letters", 10)
    command = ["prepare", "letters", "--author", "Ann [b]B.[/b] Other", "--out", "out"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.stderr
    assert "Ann [b]B.[/b] Other in out" in first.stdout
    assert "3,200" in first.stdout  # words in train: 8 of the 10 letters
    second = CliRunner().invoke(app, command)
    assert (second.exit_code, second.stdout.partition(":")[0]) == (0, "nothing to do")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "nowhere.txt"), (b"", "nowhere.txt"), (b"one\ncaf\xe9\n", "nowhere.txt:2")],
)
def test_prepare_unusable_text_gives_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("nowhere.txt").write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["prepare", "nowhere.txt", "--author", "A", "--out", "out"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {expected}: ")
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_train_with_an_unknown_tracker_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\n[data]\ndir = "data"\n' + SMALLEST, encoding="utf-8")
    result = CliRunner().invoke(app, ["train", "--config", str(path), "--tracker", "mlflow"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --set tracking.tracker: tracking.tracker should be 'wandb', ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--mode", "train"], "run.toml: storage.uri is missing: the place in S3 that holds data/ and gets runs/"),
        (["--mode", "test", "--set", "storage.uri=s3://some/where"], "--run-id is missing: name the run that is to"),
        (["--mode", "train", "--set", "storage.uri=s3://some/where", "--run-id", "A"], '--run-id is "A": use 1 to'),
    ],
)
def test_run_that_is_not_said_whole_is_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(f'name = "a"\n{SMALLEST}', encoding="utf-8")
    result = CliRunner().invoke(app, ["run", "--config", "run.toml", *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {expected}")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_run_loads_no_model_to_watch_one() -> None:
    script = (
        "import sys, ghostpen.container.run; "
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "ghostpen" in loaded
    assert loaded & (HEAVY - {"pydantic"}) == set()
