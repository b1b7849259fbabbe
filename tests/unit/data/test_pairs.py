"""Briefs and rewrites: what is read, found in the training text, left out or refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostpen.data.pairs import Pair, load_pairs, quotes
from ghostpen.data.passages import Passage
from ghostpen.data.sections import Section, save_sections
from ghostpen.errors import DataError

TEXT = "It was a fine day, and nobody stayed.\n\nShe did not answer."


@pytest.fixture
def folder(tmp_path: Path, make_section: Callable[..., Section]) -> Path:
    save_sections([make_section(TEXT)], tmp_path / "train.jsonl")
    save_sections([make_section("He looked at the door.", document="persuasion")], tmp_path / "test.jsonl")
    return tmp_path


@pytest.fixture
def sections(make_section: Callable[..., Section]) -> list[Section]:
    return [make_section(TEXT)]


def _write(folder: Path, *rows: Any, name: str = "briefs.jsonl") -> bytes:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return (folder / name).read_bytes()


def test_pairs_are_found_in_the_text_and_the_file_is_fingerprinted(folder: Path, sections: list[Section]) -> None:
    content = _write(
        folder,
        {"prompt": "Silence.", "completion": "She did not\nanswer."},
        {"prompt": "Weather.", "completion": TEXT, "document": "emma", "section": 0, "base": "x", "seed": 1},
    )
    loaded = load_pairs(folder, "brief", "train", sections)
    assert loaded.pairs == (Pair("Silence.", Passage(0, 39, 58)), Pair("Weather.", Passage(0, 0, 58)))
    assert (loaded.quoting, loaded.sha256) == (0, hashlib.sha256(content).hexdigest())


def test_pairs_brief_that_quotes_is_left_out_and_counted_a_rewrite_is_not(
    folder: Path, sections: list[Section]
) -> None:
    row = {"prompt": "it was a fine day and NOBODY stayed", "completion": TEXT}
    _write(folder, row, {"prompt": "Weather.", "completion": TEXT})
    _write(folder, row, name="rewrites.jsonl")
    briefs = load_pairs(folder, "brief", "train", sections)
    assert ([pair.request for pair in briefs.pairs], briefs.quoting) == (["Weather."], 1)
    assert len(load_pairs(folder, "rewrite", "train", sections).pairs) == 1


@pytest.mark.parametrize(("words", "found"), [(7, False), (8, True)])
def test_quotes_counts_words_in_a_row_without_case_and_marks(words: int, found: bool) -> None:
    passage = "One two, three — four five six seven eight nine."
    brief = " ".join(["ONE", "two", "three", "four", "five", "six", "seven", "eight"][:words]) + " and more"
    assert quotes(brief, passage, words=8) is found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"briefs\.jsonl:2: not JSON in UTF-8"),
        ("[1]", r"briefs\.jsonl:2: not an object"),
        ({"prompt": "a"}, r"briefs\.jsonl:2: 'completion' is missing or not a text"),
        ({"prompt": " ", "completion": TEXT}, r"briefs\.jsonl:2: 'prompt' is missing or not a text"),
        ({"prompt": "a", "completion": TEXT, "seed": "1"}, r"briefs\.jsonl:2: 'seed' is missing or not a number"),
        ({"brief": "a", "completion": TEXT}, r"briefs\.jsonl:2: unknown column 'brief'"),
        ({"prompt": "a", "completion": "looked at the"}, r"briefs\.jsonl:2: .* held-out text.*take the line out"),
        ({"prompt": "a", "completion": "Never there."}, r"briefs\.jsonl:2: .* not in the training text"),
    ],
)
def test_pairs_line_that_is_none_is_named(folder: Path, sections: list[Section], row: Any, message: str) -> None:
    _write(folder, {"prompt": "a", "completion": TEXT}, row)
    with pytest.raises(DataError, match=message):
        load_pairs(folder, "brief", "train", sections)


@pytest.mark.parametrize(
    ("kind", "split", "name", "verb"),
    [
        ("brief", "train", "briefs.jsonl", "ghostpen brief .* --base MODEL`"),
        ("rewrite", "contrast_train", "contrast_rewrites.jsonl", "ghostpen brief .* --base MODEL --rewrite`"),
    ],
)
def test_pairs_missing_file_names_file_setting_and_verb(
    folder: Path, sections: list[Section], kind: Any, split: str, name: str, verb: str
) -> None:
    with pytest.raises(DataError, match=rf"/{name}: No such file.*data\.{kind}_share.*`{verb} makes it"):
        load_pairs(folder, kind, split, sections)
