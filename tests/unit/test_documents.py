"""Every block that a document shows is some test's, or stands in a list with the reason why none can run it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from tests.documents import (
    COMMANDS,
    NOT_RUN,
    ROOT,
    RUN_BY,
    SHOWN,
    Block,
    find_reason,
    list_documents,
    parse_blocks,
    read_blocks,
    shorten_config,
)

from ghostpen.cli import app
from ghostpen.config import parse_run_config

BLOCKS = [block for document in list_documents() for block in read_blocks(document)]
LINES = [(block.document, line) for block in BLOCKS if block.language == COMMANDS for line in block.lines]
PROGRAMS = r"(ghostpen|make|docker|aws|gh|scripts/[\w-]+|python) "
PAGE = """\
# A page

```bash
one --two "3"  # why
four \\
    --five
```

1. In a list:

   ```json
   {"six": 7}
   ```
"""
each_document = pytest.mark.parametrize("document", list_documents())
each_line = pytest.mark.parametrize(("document", "line"), LINES, ids=lambda value: value[:60])


def describe(block: Block) -> str:
    return f"{block.document}:{block.line}: {block.text.splitlines()[0]}"


def find_owners(block: Block) -> list[str]:
    """Find the tests that get a block."""
    return [test for (page, start), test in RUN_BY.items() if page == block.document and block.text.startswith(start)]


def is_left_alone(block: Block) -> bool:
    """Tell whether no command of a block can be run."""
    return block.language == COMMANDS and not block.runnable


def find_ghostpen(line: str) -> list[str] | None:
    """Find the words that ghostpen gets: in its own command, or in one of the image, whose program it is."""
    words = shlex.split(line)
    if "docker" in words and "IMAGE" in words:
        return words[words.index("IMAGE") + 1 :]
    return words[1:] if words[0] == "ghostpen" else None


def find_verb(words: list[str]) -> tuple[Any, list[str]]:
    """Find a command's verb, and what is left of its words."""
    verb: Any = typer.main.get_command(app)
    while hasattr(verb, "commands"):
        verb, words = verb.commands[words[0]], words[1:]
    return verb, words


def parse_command(words: list[str]) -> None:
    """Parse a command as ghostpen does: an unknown verb or option is an error, and so is a wrong value."""
    verb, rest = find_verb(words)
    verb.make_context(verb.name, list(rest))


def list_options(verb: Any) -> set[str]:
    return {
        "--help",
        *(option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)),
    }


def test_blocks_are_found_with_their_line_language_and_commands() -> None:
    commands, row = parse_blocks(PAGE, "page.md")

    assert (commands.line, commands.language, commands.lines) == (4, "bash", ['one --two "3"', "four --five"])
    assert commands.runnable == [["one", "--two", "3"], ["four", "--five"]]
    assert (row.line, row.language, row.text) == (12, "json", '{"six": 7}\n')


@each_document
def test_document_says_what_its_blocks_are_and_hides_no_command_elsewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = parse_blocks(text, document)

    assert text.count("```") == 2 * len(blocks), "a fence is not closed, or not on a line of its own"
    assert [describe(block) for block in blocks if block.language not in {COMMANDS, SHOWN, "json", "toml"}] == []
    shown = "\n".join(block.text for block in blocks if block.language == SHOWN)
    indented = re.findall(rf"^(?: {{4,}}|\t){PROGRAMS}", text, re.MULTILINE)
    fenced = sum(len(re.findall(rf"^(?: {{4,}}|\t){PROGRAMS}", block.text, re.MULTILINE)) for block in blocks)
    assert re.findall(f"^{PROGRAMS}", shown, re.MULTILINE) == []
    assert len(indented) == fenced


@pytest.mark.parametrize("block", BLOCKS, ids=describe)
def test_block_is_one_tests_or_has_a_reason(block: Block) -> None:
    if block.language == SHOWN:
        return
    owners = find_owners(block)
    assert len(owners) == (0 if is_left_alone(block) else 1), (
        f"{describe(block)}: of {owners or 'no test'}; tests/documents.py says which test runs a block, or why none"
    )


@pytest.mark.parametrize(("document", "start"), RUN_BY)
def test_test_that_is_named_takes_the_block(document: str, start: str) -> None:
    assert len([block for block in read_blocks(document) if block.text.startswith(start)]) == 1
    source = (ROOT / RUN_BY[document, start]).read_text(encoding="utf-8")
    assert f'take_blocks(__file__, "{document}")' in source


@pytest.mark.parametrize(("document", "start"), NOT_RUN)
def test_command_with_a_reason_is_there(document: str, start: str) -> None:
    assert [line for page, line in LINES if page == document and line.startswith(start)]


@each_line
def test_command_parses(document: str, line: str) -> None:
    """What no test runs is typed rightly at least: programs, options and files that it names are there."""
    words = shlex.split(line)
    if (arguments := find_ghostpen(line)) is not None:
        parse_command(arguments)
    elif words[0] == "make":
        assert re.search(f"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif words[:3] == ["gh", "workflow", "run"]:
        check_workflow(words[3], [words[at + 1] for at, word in enumerate(words) if word == "-f"])
    elif words[:4] == ["docker", "buildx", "imagetools", "inspect"]:
        dockerfile = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
        assert f"ARG BASE_IMAGE=docker.io/{words[4]}\n" in dockerfile
    else:
        assert find_reason(document, line) is None or words[0] in {".", "llama-quantize"}


def check_workflow(name: str, inputs: list[str]) -> None:
    """Check that a workflow has these inputs, and takes these values."""
    workflow = yaml.safe_load((ROOT / ".github/workflows" / name).read_text(encoding="utf-8"))
    known = workflow[True]["workflow_dispatch"]["inputs"]  # YAML reads the key `on` as true
    for given in inputs:
        key, _, value = given.partition("=")
        assert value in known[key].get("options", [value])
        assert key != "config" or (ROOT / value).is_file()


@each_document
def test_verbs_and_options_in_the_text_exist(document: str) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.M | re.S)
    for found in re.findall(r"`ghostpen ([^`]+)`", text):
        words = found.split()
        if words[0].startswith("-"):
            continue
        verb, rest = find_verb(words)
        options = {word.strip("[],.").partition("=")[0] for word in rest if word.strip("[]").startswith("--")}
        assert options <= list_options(verb), found


@pytest.mark.parametrize("words", [["trian", "--config", "x"], ["train", "--confg", "x"], ["write", "--n", "no"]])
def test_command_that_ghostpen_would_refuse_does_not_parse(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"trian|No such option|a valid integer"):
        parse_command(words)


def test_short_config_has_the_settings_of_the_long_one_but_for_what_takes_time(tmp_path: Path) -> None:
    long = (ROOT / "configs/tiny.toml").read_text(encoding="utf-8")
    short, before = (parse_run_config(text.encode(), where="tiny") for text in (shorten_config(long), long))

    assert (short.train.max_steps, before.train.max_steps) == (2, 160)
    assert (short.name, short.data, short.model, short.lora) == (before.name, before.data, before.model, before.lora)
    assert short.train.learning_rate == before.train.learning_rate
