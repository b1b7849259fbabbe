"""What prepare says of the texts, and of what it warns."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from ghostpen.config import DataConfig, ModelConfig, RunConfig
from ghostpen.data.advice import (
    Advice,
    compute_advice,
    compute_languages,
    compute_quoted_share,
    load_identifier,
    show_advice,
)
from ghostpen.data.manifest import FORMAT_VERSION, Inputs, Manifest, SplitCounts, TokenizerRecord
from ghostpen.data.sections import Section
from ghostpen.tiers import TIERS, describe_range
from ghostpen.training.recipe import build_recipe

MakeSection = Callable[..., Section]
ENGLISH = "She walked along the river in the evening and thought of all that had been said to her at dinner. "
GERMAN = "Am Abend ging sie den Fluss entlang und dachte an alles, was man ihr beim Essen gesagt hatte. "


def make_manifest(words: int, *, documents: int = 3, within_document: bool = False) -> Manifest:
    counts = SplitCounts(documents=documents, sections=9, words=words, size_bytes=6 * words, tokens=2 * words)
    return Manifest(
        format_version=FORMAT_VERSION,
        ghostpen_version="0",
        inputs=Inputs(
            author="A", sources=[], contrast=[], val_docs=None, test_docs=None, seed=0,
            tokenizer=TokenizerRecord(name="embedded:tiny", sha256="ab"),
        ),
        within_document=within_document,
        contrast_within_document=False,
        splits={"train": counts},
        dropped={},
        data_sha256="ab",
    )  # fmt: skip


def advise(sections: list[Section], words: int = 300_000, **changes: Any) -> Advice:
    return compute_advice(make_manifest(words, **changes), sections, identify=lambda text: "en")


def test_advice_in_plain_lines_says_how_much_and_what_for(make_section: MakeSection) -> None:
    advice = advise([make_section(ENGLISH)])
    assert advice.describe() == [
        "to train on: 3 documents, 300,000 words, 600,000 tokens of embedded:tiny",
        "that is large (over 250,000 words): plenty: several books; more passes would only repeat them",
        "a config that leaves them open gets lora.rank = 32, train.epochs = 2, train.learning_rate = 0.0001",
    ]


@pytest.mark.parametrize("words", [1_000, 100_000, 1_000_000])
def test_advice_gives_what_a_training_really_chooses(make_section: MakeSection, words: int) -> None:
    config = RunConfig(name="a", data=DataConfig.model_validate({"dir": "d"}), model=ModelConfig(name="m"))
    recipe = build_recipe(config, words=words, samples=8_000)
    assert advise([make_section(ENGLISH)], words).list_settings() == [
        f"lora.rank = {recipe.rank}",
        f"train.epochs = {recipe.epochs:g}",
        f"train.learning_rate = {recipe.learning_rate:g}",
    ]


def test_tiers_ranges_meet() -> None:
    assert [describe_range(tier) for tier in TIERS] == [
        "under 25,000 words", "25,000 to 250,000 words", "over 250,000 words",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "changes", "text", "warnings"),
    [
        (25_000, {}, ENGLISH, []),
        (24_999, {}, ENGLISH, ["fewer than 25,000 words (about 30,000 tokens of gpt-oss)"]),
        (25_000, {"documents": 1}, ENGLISH, ["one document only"]),
        (25_000, {"within_document": True, "documents": 2}, ENGLISH, []),  # one of the two is divided
        (25_000, {}, 'One two three four. "Five," six.', []),  # 1 of 6 words
        (25_000, {}, 'One two three. "Four five," six.', ["33% of the words stand in quotation marks"]),
    ],
)
def test_advice_warns_of_what_it_finds_and_of_nothing_else(
    make_section: MakeSection, words: int, changes: dict[str, Any], text: str, warnings: list[str]
) -> None:
    found = advise([make_section(text)], words, **changes).warnings
    assert len(found) == len(warnings)
    assert all(one.startswith(start) for one, start in zip(found, warnings, strict=True))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("“One two” three four", 0.5),
        ("„One two“ three four", 0.5),
        ("«One two» three four", 0.5),
        ('"One two" three "four"', 0.75),
        ("It's 'one two' three", 0.0),
        ('"One two three\n\nfour" five', 0.0),  # a mark that is not closed in its paragraph
        ("", 0.0),
    ],
)
def test_quoted_share_of_each_kind_of_marks(make_section: MakeSection, text: str, share: float) -> None:
    assert compute_quoted_share([make_section(text)]) == share


def test_languages_are_shares_of_samples_from_all_over(make_section: MakeSection) -> None:
    sections = [make_section("a" * 3_000), make_section("b" * 998, document="b")]  # 4,000 characters with the blanks
    assert compute_languages(sections, identify=lambda text: text[0]) == {"a": 0.75, "\n": 0.25}
    many = [make_section("a" * 150_000), make_section("b" * 50_000)]
    seen: list[int] = []
    shares = compute_languages(many, identify=lambda text: (seen.append(len(text)), text[500])[1])
    assert shares == {"a": 0.75, "b": 0.25}
    assert len(seen) == 100
    assert set(seen) == {1_000}


def test_languages_of_a_short_text_is_asked_once(make_section: MakeSection) -> None:
    assert compute_languages([make_section("Hm.")], identify=lambda text: text) == {"Hm.": 1.0}


def test_languages_mixed_are_found_by_the_packaged_model_and_warned_of(make_section: MakeSection) -> None:
    sections = [make_section(ENGLISH * 60), make_section(GERMAN * 30, document="b")]
    advice = compute_advice(make_manifest(300_000), sections, identify=load_identifier())
    assert list(advice.languages) == ["en", "de"]
    (warning,) = advice.warnings
    assert warning.startswith("several languages (en ")
    assert compute_advice(make_manifest(300_000), sections[:1], identify=load_identifier()).warnings == ()


@pytest.mark.parametrize("terminal", [True, False])
def test_advice_has_a_frame_at_a_terminal_only(make_section: MakeSection, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    show_advice(advise([make_section(ENGLISH)], 1_000), console=console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "fewer than 25,000 words" in shown
    assert ("╭─ to train on" in shown) is terminal
    assert shown.count("\n") < 15
