"""Every command that docs/prepare.md shows is run as it stands, on small texts and for 2 steps."""

import csv
import json
import shutil
from email.message import EmailMessage
from mailbox import mbox
from pathlib import Path

import pytest
from tests.documents import ROOT, shorten_config, take_blocks, write_texts
from tests.pipeline.commands import Commands

pytestmark = pytest.mark.pipeline

BLOCKS = take_blocks(__file__, "docs/prepare.md")


def write_sources(folder: Path) -> None:
    """Write the folder, the mails, the chats and the table that the commands read."""
    write_texts("austen.zip", folder / "my-folder", works=6, characters=3_000)
    texts = [path.read_text(encoding="utf-8") for path in sorted((folder / "my-folder").iterdir())]
    box = mbox(folder / "Sent.mbox")
    for number, text in enumerate(texts):
        mail = EmailMessage()
        mail["From"], mail["To"] = "My Name <me@example.org>", "you@example.org"
        mail["Subject"], mail["Message-ID"] = f"Letter {number}", f"<{number}@example.org>"
        mail.set_content(text)
        box.add(mail)
    box.close()
    (folder / "chats").mkdir()
    chat = "".join(f"{day:02}/02/2024, 10:0{n} - My Name: A {day} line {n}.\n" for day in range(1, 9) for n in (1, 2))
    (folder / "chats/WhatsApp Chat with You.txt").write_text(chat, encoding="utf-8")
    with (folder / "posts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title", "body"), *(("A post", text) for text in texts)])


def test_commands_of_docs_run_as_they_stand(commands: Commands, tmp_path: Path) -> None:
    write_sources(tmp_path)
    (tmp_path / "configs").mkdir()
    text = (ROOT / "configs/tiny.toml").read_text(encoding="utf-8")
    (tmp_path / "configs/tiny.toml").write_text(shorten_config(text), encoding="utf-8")
    verbs = []
    for program, verb, *arguments in (words for block in BLOCKS for words in block.runnable):
        assert program == "ghostpen"
        if verb == "prepare":  # each example writes a folder of its own
            shutil.rmtree(tmp_path / "data", ignore_errors=True)
        done = commands.succeed(verb, *arguments, folder=tmp_path)
        if verb == "prepare":
            assert "to train on: " in done.stdout
        verbs.append(verb)
    assert verbs == ["prepare"] * 3 + ["brief"] * 2 + ["train"]
    manifest = json.loads((tmp_path / "runs/mixed/manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["pairs_sha256"]) == {"briefs.jsonl", "rewrites.jsonl"}


def test_row_that_docs_show_is_read() -> None:
    (row,) = (block.text for block in BLOCKS if block.language == "json")
    assert set(json.loads(row)) == {"prompt", "completion"}
