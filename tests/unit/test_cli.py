"""The command line: fast help, one line per error, the right exit code."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.terminal import Terminal
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
        "prepare", "train", "test", "run", "inspect", "write", "export", "brief", "pull", "ask", "deploy", "smoke",
        "status", "logs", "down", "data",
    ]  # fmt: skip
    shown = [words[1] for line in lines if len(words := line.split()) > 1 and words[1] in verbs and words[0] == "│"]
    assert shown == verbs


@pytest.mark.parametrize(
    "verb",
    [
        "prepare", "brief", "train", "test", "run", "write", "export", "inspect", "pull", "data", "data push", "ask",
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


@pytest.mark.parametrize(
    "arguments",
    [
        "deploy --mode train --follow-for", "ask --deadline-s", "export peft --deadline-s", "write x --temperature",
        "write x --top-p", "write x --min-p", "brief texts --share", "inspect embedded:tiny --gpu-memory",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_number_that_is_not_finite_is_refused_before_anything_is_done(arguments: str, value: str) -> None:
    result = CliRunner().invoke(app, [*arguments.split(), value])
    assert result.exit_code == 2
    assert f"Invalid value for '{arguments.split()[-1]}'" in result.stderr


def test_longest_time_of_a_deployment_has_a_date() -> None:
    result = CliRunner().invoke(app, ["deploy", "--mode", "train", "--max-runtime", "999999999999"])
    assert (result.exit_code, "Invalid value for '--max-runtime'" in result.stderr) == (2, True)


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


@pytest.mark.parametrize(
    ("arguments", "number"), [(["write", b"Caf\xe9 noir"], 2), (["data", "push", b"Caf\xe9 noir", "s3://a/b"], 3)]
)
def test_argument_that_is_not_utf_8_is_one_line(arguments: list[str | bytes], number: int) -> None:
    done = subprocess.run([sys.executable, "-m", "ghostpen", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: argument {number} is not UTF-8, at 'Caf\\udce9 noir'; pass on text, and names of files, in UTF-8\n"
    )


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])  # in the first one Python lets the bytes through
def test_line_that_is_not_utf_8_is_an_error_of_ours(locale: str) -> None:
    code = """
from ghostpen.cli.trained import ask_line
from ghostpen.errors import DataError
try:
    ask_line()
except DataError as error:
    print(error)
"""
    environ = os.environ | {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": str(int(locale == "C"))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=b"Caf\xe9\n", capture_output=True, check=True, env=environ)
    assert done.stdout == b"> the line is not UTF-8; set the terminal to UTF-8\n"


@pytest.mark.parametrize("stays", [True, False])
def test_bars_at_a_terminal_are_left_standing_or_wiped_out(tmp_path: Path, stays: bool) -> None:
    code = (
        "from ghostpen.cli.front import show_progress\n"
        f"with show_progress(in_bytes=False, stays={stays}) as show: show('counting')(2, 2)"
    )
    environ = os.environ | {"TERM": "xterm"}
    with Terminal([sys.executable, "-c", code], folder=tmp_path, environ=environ) as terminal:
        assert terminal.wait() == 0, terminal.text
    assert "counting" in terminal.text and "100%" in terminal.text
    assert terminal.text.endswith("\x1b[1A\x1b[2K") is not stays  # up a line, which is wiped out


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
    [(None, "nowhere.txt"), (b"", "nowhere.txt"), (b"\x00\x01\x02", "nowhere.txt")],
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


def test_prepare_lists_files_that_cannot_be_read_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "letters", 10)
    Path("letters/scan.pdf").write_bytes(b"%PDF-1.7")
    command = ["prepare", "letters", "--author", "A", "--out", "out"]
    strict = CliRunner().invoke(app, [*command, "--strict"])
    assert (strict.exit_code, strict.stdout) == (2, "")
    assert strict.stderr.startswith("error: letters/scan.pdf: a broken PDF; ")
    assert strict.stderr.count("\n") == 1
    assert not Path("out").exists()
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert result.stderr == "not read: letters/scan.pdf: a broken PDF; get it again from where it came from\n"
    assert "unread_files: 1 dropped" in result.stdout


def test_prepare_masks_and_says_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "letters", 10)
    with Path("letters/letter-0.txt").open("a", encoding="utf-8") as letter:
        letter.write("\nWrite to Bob, bob@example.org or +49 170 1234567.\n")
    Path("names").write_text("Bob\n", encoding="utf-8")
    command = ["prepare", "letters", "--author", "A", "--out", "out", "--redact-names", "names"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    for note in ("emails: 1 masked", "names: 1 masked", "phones: 1 masked"):
        assert note in result.stdout
    assert "[name], [email] or [phone]" in "".join(path.read_text() for path in Path("out").glob("*.jsonl"))


TABLE = '{"title": "A fine day", "body": "It was day."}\n'


def test_prepare_table_without_a_clear_column_is_one_line_where_nobody_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text(TABLE)
    result = CliRunner().invoke(app, ["prepare", "a.jsonl", "--author", "A", "--out", "out"])
    assert (result.exit_code, result.stdout) == (2, "")
    expected = "error: a.jsonl: which column holds the text? Name it with --text-column; there are: title, body\n"
    assert result.stderr == expected


def test_prepare_table_without_a_clear_column_is_asked_about_at_a_terminal(tmp_path: Path) -> None:
    rows = [json.dumps({"title": f"A day, number {n}", "body": f"word{n} " * 400}) + "\n" for n in range(10)]
    (tmp_path / "a.jsonl").write_text("".join(rows))
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "ghostpen", "prepare", "a.jsonl", "--author", "A", "--out", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.write(ours, b"7\n2\n")  # a column that there is not, and one that there is
        stdout, _ = process.communicate(timeout=60)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert process.returncode == 0, shown
    assert "  1 title\r\n  2 body\r\n" in shown
    assert shown.count("Which column of a.jsonl holds the text?") == 2
    assert b"3,200" in stdout  # the words of 8 rows


@pytest.fixture
def two_books(tmp_path: Path) -> list[str]:
    """Write two books of which one holds a note that goes, and return the command that prepares them."""
    for name in "ab":
        words = [f"{name}{n}" for n in range(8000)]
        paragraphs = "\n\n".join(" ".join(words[i : i + 50]) for i in range(0, 8000, 50))
        (tmp_path / f"{name}.txt").write_text(f"CHAPTER I\n\n{paragraphs}\n", encoding="utf-8")
    return ["prepare", "a.txt", "b.txt", "--author", "A", "--out", "out", "--review"]


def test_prepare_review_without_a_terminal_prints_the_diff_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_books: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, two_books)
    assert result.exit_code == 0, result.stderr
    assert "--- a.txt\n+++ A/a (train and val and test)\n@@" in result.stdout
    assert "\n-CHAPTER I\n" in result.stdout
    assert result.stdout.endswith("headings: 2 dropped\n")
    assert result.stderr == "nothing was written to out: leave out --review to write\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_prepare_review_whose_reader_leaves_early_ends_without_a_word(tmp_path: Path, two_books: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ghostpen", *two_books],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(("answer", "written"), [("n", False), ("y", True)])
def test_prepare_review_at_a_terminal_asks_before_it_writes(
    tmp_path: Path, two_books: list[str], answer: str, written: bool
) -> None:
    environ = os.environ | {"PAGER": "cat", "TERM": "xterm"}
    with Terminal([sys.executable, "-m", "ghostpen", *two_books], folder=tmp_path, environ=environ) as terminal:
        terminal.expect("--- b.txt")
        terminal.expect("headings: 2 dropped")
        assert not (tmp_path / "out").exists()
        assert all(step in terminal.text for step in ("cleaning", "comparing", "checking train", "100%"))
        terminal.answer(r"Write it to out\? \[y/N\]: ", answer)
        assert terminal.wait() == 0, terminal.text
    assert (tmp_path / "out").exists() is written
    assert ("12,800" in terminal.text) is written  # all words of b, and 4,800 of a


def test_prepare_review_that_ctrl_c_leaves_keeps_what_was_cleaned(tmp_path: Path, two_books: list[str]) -> None:
    environ = os.environ | {"PAGER": "cat", "TERM": "xterm", "COLUMNS": "500"}
    with Terminal([sys.executable, "-m", "ghostpen", *two_books], folder=tmp_path, environ=environ) as terminal:
        terminal.expect(r"Write it to out\? \[y/N\]: ")
        said = terminal.press_until("C", r"interrupted; the same command goes on from (\S+),")
        assert terminal.wait() == 130, terminal.text
    work = tmp_path / ".out.ghostpen-work"
    assert said[1] == work.name
    assert list(work.glob("units/*.npz"))


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
