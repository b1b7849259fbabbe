"""The blocks of the documents, and which test runs each: the one list of it.

A test asks for its blocks by `take_blocks`, so what this list says is what the test gets. `unit/test_documents.py`
fails for a block that is in neither list. And the texts and the short settings on which such tests run the commands.
"""

import json
import re
import shlex
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COMMANDS = "bash"  # the language of a block whose lines are typed
SHOWN = "text"  # that of one which shows a thing: output, a drawing

# (document, how the block begins): the test that gets it.
RUN_BY: dict[tuple[str, str], str] = {
    ("README.md", "ghostpen prepare my-texts"): "tests/pipeline/test_readme.py",
    ("README.md", "ghostpen data push"): "tests/pipeline/test_readme.py",
    ("docs/deploy.md", "cp configs/deploy.example.toml"): "tests/unit/aws/test_deploy_verbs.py",
    ("docs/export.md", "ghostpen export --to adapter"): "tests/pipeline/test_export.py",
    ("docs/gpu.md", "ghostpen inspect unsloth/gpt-oss-20b"): "tests/unit/model/test_hub.py",
    ("docs/infra.md", "cp infra/parameters.example.json"): "tests/unit/infra/test_deployment.py",
    ("docs/infra.md", "aws cloudformation describe-stacks"): "tests/unit/infra/test_deployment.py",
    ("docs/infra.md", "aws autoscaling suspend-processes"): "tests/unit/infra/test_deployment.py",
    ("docs/perplexity.md", "ghostpen test --control auto"): "tests/pipeline/test_control.py",
    ("docs/prepare.md", "ghostpen prepare my-folder"): "tests/pipeline/test_prepare_docs.py",
    ("docs/prepare.md", "ghostpen brief data/mine"): "tests/pipeline/test_prepare_docs.py",
    ("docs/prepare.md", '{"prompt": '): "tests/pipeline/test_prepare_docs.py",
    ("docs/release.md", "scripts/build-image"): "tests/workflows/test_scripts.py",
    ("docs/storage.md", "ghostpen data push"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", ". .venv/bin/activate\nghostpen doctor"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", "python -m zipfile"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", "ghostpen prepare"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", 'name = "mine"'): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", "ghostpen train"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", "ghostpen test"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", "ghostpen write"): "tests/pipeline/test_tutorial.py",
    ("docs/tutorial.md", "ghostpen ask"): "tests/pipeline/test_tutorial.py",
}
# (document, how the command begins): why no test runs it. What can be checked of it, unit/test_documents.py does.
NOT_RUN: dict[tuple[str, str], str] = {
    (
        "README.md",
        "make demo",
    ): "installs, and trains for minutes; test_readme.py compares its verbs with the page's",
    ("README.md", "make test"): "is these tests",
    ("CONTRIBUTING.md", "make setup"): "installs 6 GB",
    ("CONTRIBUTING.md", "make check"): "is CI's other half, in minutes",
    ("CONTRIBUTING.md", "make test"): "is these tests",
    ("CONTRIBUTING.md", "make demo"): "as in README.md",
    ("CONTRIBUTING.md", "make rehearse-image"): "needs root, and half an hour",
    ("CONTRIBUTING.md", "make rehearse-deploy"): "needs root, and the image of the line before",
    ("docs/container.md", "docker run --rm --gpus all"): "needs docker, the image and a GPU",
    ("docs/container.md", "mkdir -p .cache && docker run"): "needs docker, the image and a GPU",
    ("docs/deploy.md", "gh workflow run"): "starts a workflow on GitHub",
    (
        "docs/export.md",
        "llama-quantize",
    ): "is llama.cpp's, and needs a real GGUF: the converter is a stand-in here",
    ("docs/release.md", "docker buildx imagetools inspect"): "asks Docker Hub",
    ("docs/tutorial.md", ". .venv/bin/activate"): "is about the shell of whoever types; a test has its environment",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    line: int  # of its first line
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """List its commands as they are typed, without comments; one that goes on on the next line is one."""
        joined = re.sub(r"\s*\\\n\s*", " ", self.text)
        return [line for line in (re.sub(r"(^|\s+)#.*", "", line) for line in joined.splitlines()) if line]

    @property
    def runnable(self) -> list[list[str]]:
        """List the words of the commands that tests run."""
        lines = self.lines if self.language == COMMANDS else []
        return [shlex.split(line) for line in lines if find_reason(self.document, line) is None]


def list_documents() -> list[str]:
    """List the documents whose blocks count."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *(page.relative_to(ROOT).as_posix() for page in pages)]


def read_blocks(document: str) -> list[Block]:
    """Read a document's fenced blocks, those in lists too."""
    return parse_blocks((ROOT / document).read_text(encoding="utf-8"), document)


def parse_blocks(text: str, document: str) -> list[Block]:
    """Find the fenced blocks of a text."""
    blocks = []
    for found in re.finditer(r"^( *)```([^\n`]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        indent, language, content = found.groups()
        line = text.count("\n", 0, found.start()) + 2
        blocks.append(Block(document, line, language, re.sub(f"^{indent}", "", content, flags=re.MULTILINE)))
    return blocks


def find_reason(document: str, line: str) -> str | None:
    """Find why no test runs a command; None: one does."""
    found = [why for (page, start), why in NOT_RUN.items() if page == document and line.startswith(start)]
    return found[0] if found else None


def take_blocks(test_file: str, document: str) -> list[Block]:
    """Take the blocks of a document which a test has to run, in the document's order.

    Args:
        test_file: the test's `__file__`.
    """
    name = Path(test_file).resolve().relative_to(ROOT).as_posix()
    starts = [start for (page, start), test in RUN_BY.items() if (page, test) == (document, name)]
    blocks = [block for block in read_blocks(document) if any(block.text.startswith(start) for start in starts)]
    assert blocks, f"tests/documents.py gives {name} no block of {document}"
    return blocks


def write_texts(archive: str, folder: Path, *, works: int, characters: int) -> None:
    """Cut the beginnings of a few works out of the packed samples."""
    folder.mkdir()
    with zipfile.ZipFile(ROOT / "src/ghostpen/assets/texts" / archive) as packed:
        for name in packed.namelist()[:works]:
            text = packed.read(name).decode()[:characters]
            (folder / f"{Path(name).stem}.txt").write_text(text, encoding="utf-8")


# What makes a training and its test take seconds.
SHORT: dict[str, dict[str, Any]] = {
    "train": {"max_steps": 2, "batch_size": 2, "eval_every": 2, "checkpoint_every": 2},
    "eval": {
        "max_val_bytes": 4000, "continuations": 2, "topics": 1, "written_words": 10, "extraction_windows": 2,
    },
    "tracking": {"samples": 0},  # a sample takes longer than a step
}  # fmt: skip


def shorten_config(text: str) -> str:
    """Set what takes time to little in a run's settings, and leave the rest as it is."""
    settings: dict[str, Any] = tomllib.loads(text)
    for section, values in SHORT.items():
        settings[section] = {**settings.get(section, {}), **values}
    lines = render_settings({key: value for key, value in settings.items() if not isinstance(value, dict)})
    for section, values in settings.items():
        if isinstance(values, dict):
            lines += [f"[{section}]", *render_settings(values)]
    return "\n".join(lines) + "\n"


def render_settings(values: Mapping[str, Any]) -> list[str]:
    """Render settings as TOML, which for words and numbers is what JSON is."""
    return [f"{key} = {json.dumps(value)}" for key, value in values.items()]
