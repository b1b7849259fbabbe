"""`ghostpen write` through pipes, and at a real terminal."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator

import pytest
from safetensors.torch import load_file, save_file
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import Run
from tests.terminal import Terminal

pytestmark = pytest.mark.pipeline

SHORT = ("--run", "runs/austen", "--max-words", "6")
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")  # what colours a text and moves the cursor
# As a command of its own would see standard input: a file that the command server doesn't open.
FROM_FILE = "import os, sys; sys.stdin = open('prompt.txt'); os.dup2(sys.stdin.fileno(), 0); "
WRITE = "from ghostpen.cli import app; app(['write', '-', '--run', 'runs/austen', '--max-words', '6'])"


def test_prompt_from_a_file_and_from_standard_input_is_continued_alike(author_run: Run, commands: Commands) -> None:
    straight = commands.succeed("write", "She looked", *SHORT).stdout
    assert straight.startswith("She looked") and straight.endswith("\n") and len(straight.split()) > 2
    (commands.folder / "prompt.txt").write_text("She looked\n", encoding="utf-8")
    assert commands.succeed("write", "--file", "prompt.txt", *SHORT).stdout == straight
    assert commands.succeed(code=FROM_FILE + WRITE).stdout == straight


def test_several_texts_are_those_of_the_seeds(author_run: Run, commands: Commands) -> None:
    done = commands.succeed("write", "She looked", *SHORT, "--n", "2", "--seed", "7")
    single = [commands.succeed("write", "She looked", *SHORT, "--seed", seed).stdout for seed in ("7", "8")]
    assert single[0] != single[1]
    lines = done.stdout.split("seed ")
    assert [part.partition("\n")[2] for part in lines[1:]] == single
    assert [part.split()[0] for part in lines[1:]] == ["7", "8"]


def test_request_that_was_not_trained_is_written_with_a_warning(author_run: Run, commands: Commands) -> None:
    (commands.folder / "plain.txt").write_text("It rained.\n", encoding="utf-8")
    requests = [["It rained.", "--continue"], ["--brief", "It rained."], ["--rewrite", "It rained."]]
    texts = []
    for request, share in zip(requests, ("continue", "brief", "rewrite"), strict=True):
        done = commands.run("write", *request, *SHORT)
        assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
        assert f"warning: the run was trained with data.{share}_share = 0" in done.stderr
        texts.append(done.stdout)
    assert len(set(texts)) == 3
    assert all("It rained." not in text and "<|" not in text and text.strip() for text in texts)
    assert commands.run("write", "--rewrite", "plain.txt", *SHORT).stdout == texts[2]


def test_warning_of_a_request_that_was_not_trained_comes_before_the_model(
    author_run: Run, commands: Commands
) -> None:
    folder = shutil.copytree(author_run.folder, commands.folder / "broken-adapter/austen")
    (folder / "adapter/adapter_model.safetensors").write_bytes(b"")
    done = commands.run("write", "--brief", "It rained.", "--run", str(folder))
    assert (done.exit_code, done.stdout.strip(), done.stderr.count("\n")) == (2, "", 2)
    assert re.match(r"warning: the run was trained with data.brief_share = 0.*\nerror: the adapter in ", done.stderr)


def test_compare_writes_first_what_the_base_model_writes(author_run: Run, commands: Commands) -> None:
    idle = shutil.copytree(author_run.folder, commands.folder / "idle/austen")  # its adapter adds nothing
    weights = load_file(idle / "adapter/adapter_model.safetensors")
    assert any("experts" in name for name in weights)
    save_file({name: weight * 0 for name, weight in weights.items()}, idle / "adapter/adapter_model.safetensors")
    base = commands.succeed("write", "She looked", "--run", str(idle), "--max-words", "20").stdout
    adapter = commands.succeed("write", "She looked", "--run", "runs/austen", "--max-words", "20").stdout
    assert base != adapter
    both = commands.succeed("write", "She looked", "--run", "runs/austen", "--max-words", "20", "--compare").stdout
    found = re.fullmatch(r"base model ─+\n(.*)adapter austen ─+\n(.*)", both, re.DOTALL)
    assert found is not None and found.groups() == (base, adapter)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nothing to write: give the beginning of a text"),
        (["It", "--file", "a.txt"], "a prompt and --file are two things to write"),
        (["--file", "a.txt"], "a.txt can't be read (No such file or directory)"),
        (["It", "--brief", "Rain."], "a prompt and --brief are two things to write"),
        (["--brief", " "], "the prompt is empty"),
    ],
    ids=" ".join,
)
def test_wrong_request_is_one_line(author_run: Run, commands: Commands, arguments: list[str], expected: str) -> None:
    done = commands.run("write", *arguments, *SHORT)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {expected}")


@pytest.fixture
def start(author_run: Run, commands: Commands) -> Iterator[Callable[..., Terminal]]:
    """Return what starts `ghostpen write` without a prompt at a terminal."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: str) -> Terminal:
            command = [sys.executable, "-m", "ghostpen", "write", "--run", "runs/austen", *arguments]
            environ = os.environ | {"TERM": "xterm", "CUDA_VISIBLE_DEVICES": ""}
            return stack.enter_context(Terminal(command, folder=commands.folder, environ=environ))

        yield run


def test_write_at_a_terminal_asks_until_ctrl_d(start: Callable[..., Terminal], commands: Commands) -> None:
    single = [commands.succeed("write", "She looked", *SHORT, "--seed", seed).stdout for seed in ("7", "8")]
    terminal = start("--max-words", "6", "--seed", "7")
    terminal.expect(r"temperature 0.9, top_p 0.95, min_p 0.05, 6 words at most, seed 7 and on.*Ctrl-D")
    written = []
    for prompt in ("She looked", "", "She looked"):
        terminal.expect("> ")
        terminal.type(prompt)
        if prompt:
            terminal.expect(r"She looked[^\n]*\n")  # what was typed
            written.append(STYLES.sub("", terminal.expect(r"She looked.*?\n(?=[^\n]*> )")[0]))
    for text, expected in zip(written, single, strict=True):
        assert text.startswith(expected.strip())
        assert "copied" not in text.removeprefix(expected.strip()).replace("looking for copied text", "")
    terminal.expect("> ")
    terminal.press("D")
    assert terminal.wait() == 0, terminal.text


def test_ctrl_c_at_a_terminal_ends_a_text_and_then_all(start: Callable[..., Terminal]) -> None:
    terminal = start("--max-words", "5000")
    terminal.answer("> ", "She looked")
    terminal.expect(r"She looked[^\n]*\n")
    terminal.expect("She looked")
    terminal.press("C")
    terminal.expect("broken off")
    terminal.expect("> ")
    terminal.press("C")
    assert terminal.wait() == 130, terminal.text
    assert STYLES.sub("", terminal.text).endswith("\nerror: interrupted\n")
