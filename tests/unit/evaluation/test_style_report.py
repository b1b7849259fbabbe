"""The report on style: real text in the place of written text gets real text's numbers; its table and its map."""

import copy
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from rich.console import Console
from tests.reports import find_misfits

from ghostpen.data.sections import Section
from ghostpen.evaluation.pieces import Piece, cut_sections, cut_text
from ghostpen.evaluation.specificity import ModelLabel
from ghostpen.evaluation.style_report import build_style_report
from ghostpen.evaluation.style_shape import StyleParts, StyleReport
from ghostpen.evaluation.style_table import render_style_table
from ghostpen.evaluation.written import Written

Texts = dict[str, list[Section]]
WORDS = 200
TEXTS = 60


def build_written(model: ModelLabel, texts: Sequence[Piece], *, real: Sequence[Piece]) -> Iterator[Written]:
    """Let a model have written `texts` where the author wrote `real`."""
    for text, place in zip(texts, real, strict=True):
        where = (place.text, place.document, place.section)
        yield Written(model, "continuation", "", text.text, *where, seed=0, temperature=0.8, ended=False)


def build_topics(model: ModelLabel, texts: Sequence[Piece]) -> Iterator[Written]:
    for text in texts:
        yield Written(model, "topic", "", text.text, None, None, None, seed=0, temperature=0.8, ended=True)


def draw(sections: Sequence[Section], count: int, *, seed: int) -> list[Piece]:
    return random.Random(seed).sample(cut_sections(sections, words=WORDS), count)


@pytest.fixture(scope="module")
def written(real_texts: Texts) -> list[Written]:
    """The adapter writes as the author does, elsewhere in the same works; base and control as others do."""
    held_out = draw([*real_texts["validation"], *real_texts["test"]], 2 * TEXTS, seed=1)
    real, own = held_out[:TEXTS], held_out[TEXTS:]
    return [
        *build_written("base", draw(real_texts["others_test"], TEXTS, seed=2), real=real),
        *build_written("control", draw(real_texts["others_training"], TEXTS, seed=3), real=real),
        *build_written("author", own, real=real),
        *build_topics("author", draw(real_texts["training"], 10, seed=4)),
    ]


@pytest.fixture(scope="module")
def style(written: list[Written], real_texts: Texts) -> StyleReport:
    rng = random.Random(5)
    losses = {name: [rng.gauss(2, width) for _ in range(TEXTS)] for name, width in (("real", 0.3), ("author", 0.1))}
    return build_style_report(written, author="Jane Austen", **real_texts, losses=losses)  # type: ignore[arg-type]


def test_report_is_finite_json_of_the_shape_that_is_declared(style: StyleReport) -> None:
    assert json.loads(json.dumps(style, allow_nan=False)) == style
    assert list(find_misfits(style, StyleReport)) == []
    assert style["texts"] == {
        "base": {"continuations": 60, "topics": 0, "words": 12_000},
        "control": {"continuations": 60, "topics": 0, "words": 12_000},
        "author": {"continuations": 60, "topics": 10, "words": 14_000},
    }


def test_real_text_is_accepted_as_often_as_real_text_and_others_is_not(style: StyleReport) -> None:
    part = style["verifier"]
    assert "refusal" not in part
    assert part["real"]["auc"] > 0.97
    author, base = part["models"]["author"]["continuations"], part["models"]["base"]["continuations"]
    assert author is not None and base is not None
    assert author["low"] <= part["real"]["accepted"] <= author["high"]
    assert author["normalised"] == pytest.approx(1, abs=0.1)
    assert base["accepted"] < 0.15 and base["normalised"] is None
    topics = part["models"]["author"]["topics"]
    assert topics is not None and topics["accepted"] > 0.8 and topics["normalised"] is None  # the base wrote none
    assert part["models"]["base"]["topics"] is None


def test_real_text_is_not_told_from_real_text_and_others_is(style: StyleReport) -> None:
    part = style["c2st"]
    assert "refusal" not in part
    author, base = part["models"]["author"], part["models"]["base"]
    assert "refusal" not in author and "refusal" not in base
    assert 0.3 < author["auc"] < 0.7
    assert author["auc"] < part["other_work"]["auc"] < part["others"]["low"]
    assert base["auc"] > 0.9


def test_models_and_scale_of_the_two_sample_test_have_as_many_texts(real_texts: Texts) -> None:
    # Six sections of 15 pieces each: the scale's floor has 45 texts a side, and the model wrote 60.
    few = {split: sections[::4] for split, sections in real_texts.items()}
    few |= {"validation": [], "test": real_texts["test"][::6][:6]}
    own = random.Random(1).sample(cut_sections(few["test"], words=WORDS), 60)
    part = build_style_report(list(build_written("author", own, real=own)), author="Jane Austen", **few)["c2st"]
    assert "refusal" not in part
    author = part["models"]["author"]
    assert "refusal" not in author
    assert {part[name]["texts"] for name in ("floor", "other_work", "others")} == {45}  # type: ignore[literal-required]
    assert (author["texts"], author["auc"]) == (45, 0.5)


def test_delta_and_rhythm_find_the_author(style: StyleReport) -> None:
    delta, rhythm = style["delta"], style["rhythm"]
    assert "refusal" not in delta and "refusal" not in rhythm
    author, base = delta["models"]["author"], delta["models"]["base"]
    assert "refusal" not in author and "refusal" not in base
    assert (author["pools"], author["recognised"]) == (2, 1)
    assert author["own"] < author["nearest"] and base["own"] > base["nearest"]
    assert (rhythm["block_words"], rhythm["blocks"]) == (5_000, {"base": 2, "control": 2, "author": 2})
    furthest = {
        model: max(abs(one["models"][model]["z"]) for one in rhythm["measures"]) for model in rhythm["blocks"]
    }
    assert furthest["author"] < 3 < min(furthest["base"], furthest["control"])


def test_delta_of_one_model_is_refused_and_that_of_others_is_not(real_texts: Texts) -> None:
    texts = {split: sections[::3] for split, sections in real_texts.items()}
    own = draw(texts["test"], 30, seed=1)  # 6,000 words
    few = list(build_written("base", own[:10], real=own[:10]))
    part = build_style_report([*few, *build_written("author", own, real=own)], author="Jane Austen", **texts)
    assert "refusal" not in part["delta"]
    models = part["delta"]["models"]
    assert models["base"] == {"refusal": "the samples are less than a pool of 5,000 words"}
    assert "refusal" not in models["author"] and models["author"]["pools"] == 1
    alone = build_style_report(few, author="Jane Austen", **texts)
    assert alone["delta"] == {"refusal": "the samples are less than a pool of 5,000 words"}


def test_even_losses_are_found_too_even(style: StyleReport) -> None:
    part = style["regularity"]
    assert "refusal" not in part
    author = part["models"]["author"]
    assert "refusal" not in author
    assert (part["texts"], author["texts"]) == (60, 60)
    assert author["z_deviation"] < -4
    assert abs(author["z_mean"]) < 3
    assert "base" not in part["models"]


def test_map_puts_the_author_to_the_right_and_others_to_the_left(style: StyleReport) -> None:
    part = style["map"]
    assert "refusal" not in part
    assert part["x_axis"] == "sounds like Jane Austen"
    names = {who: {point["name"] for point in part["points"] if point["who"] == who} for who in ("real", "other")}
    assert names["real"] > {"emma", "persuasion", "mansfield-park"}
    assert names["other"] == {"anne-bronte", "crane", "emily-bronte", "hawthorne", "twain"}
    right = {
        who: [point["x"] > 0 for point in part["points"] if point["who"] == who]
        for who in ("real", "author", "other", "base", "control")
    }
    shares = {who: sum(found) / len(found) for who, found in right.items()}
    assert shares["real"] > 0.8  # Northanger Abbey, judged by who does not know it, is nearest to the middle
    assert shares["author"] > 0.9
    assert part["pool_words"] == 600  # three pools of the ten texts on new topics
    assert max(shares["other"], shares["base"], shares["control"]) < 0.05
    assert {point["name"] for point in part["points"] if point["who"] == "author"} == {"continuations", "new topics"}


def test_map_of_too_little_text_is_refused(real_texts: Texts) -> None:
    few = {split: sections[:: 4 if split == "others_training" else 6] for split, sections in real_texts.items()}
    own = [replace(piece, text=cut_text(piece.text, words=60)) for piece in draw(few["test"], 1, seed=1)]
    found = build_style_report(list(build_written("author", own, real=own)), author="Jane Austen", **few)
    assert "refusal" not in found["verifier"]
    assert "refusal" in found["map"] and "in pools of 60 words" in found["map"]["refusal"]


def test_table_fits_80_columns_and_says_what_it_is_worth(style: StyleReport) -> None:
    text = render(style)
    assert max(map(len, text.splitlines())) <= 80
    for row in ("taken for the author's, continuations", "told from the author's there", "Delta to the author"):
        assert row in text
    assert "different words (z)" in text and "unevenness, bits per byte" in text
    verifier = style["verifier"]
    assert "refusal" not in verifier
    for figure in (f"AUC {verifier['real']['auc']:.3f}", f"c@1 {verifier['real']['c_at_1']:.2f}"):
        assert figure in " ".join(text.split())
    assert "Not measured" not in text


def test_table_says_why_something_was_not_measured(style: StyleReport) -> None:
    changed = copy.deepcopy(style)
    changed["delta"] = changed["map"] = {"refusal": "[too] little"}
    changed["rhythm"] = {"refusal": "[too] little"}
    c2st = changed["c2st"]
    assert "refusal" not in c2st
    c2st["models"]["base"] = {"refusal": "few"}
    text = render(changed)
    assert "Not measured: Rhythm, Delta, Style map; [too] little." in text
    assert "Not measured: Two-sample test of the base model; few." in text
    assert "Delta to the author" not in text
    assert "different words" not in text
    row = next(line for line in text.splitlines() if "told from" in line)
    assert "\N{EN DASH}" in row


def render(style: StyleReport) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_style_table(style))
    return console.export_text()


def test_order_of_the_texts_does_not_change_the_verdict_and_twice_is_the_same(real_texts: Texts) -> None:
    few = {split: sections[:: 4 if split == "others_training" else 6] for split, sections in real_texts.items()}
    own = draw(few["test"], 20, seed=1)
    texts = list(build_written("author", own, real=own))
    first = build_style_report(texts, author="Jane Austen", **few)
    assert build_style_report(texts, author="Jane Austen", **few) == first
    turned = build_style_report(texts[::-1], author="Jane Austen", **few)
    assert "refusal" not in first["verifier"]
    assert turned["verifier"] == first["verifier"]
    assert first["c2st"] == turned["c2st"] and "refusal" in first["c2st"]  # 20 texts


@pytest.mark.parametrize(
    ("lacking", "reasons"),
    [
        (
            "training",
            {"verifier": "the author's training text makes 0 pieces", "delta": "a pool of training text by"},
        ),
        (
            "others_training",
            {"verifier": "the other authors' training text makes 0", "delta": "one by another author"},
        ),
        ("test", {"verifier": "the author's held-out text makes 15 pieces", "map": "the author's held-out text"}),
        ("others_test", {"verifier": "the other authors' held-out text makes 0", "map": "other authors' held-out"}),
        ("written", {name: "nothing was written" for name in StyleParts.__annotations__}),
        ("losses", {"regularity": "how predictable each text is under the control adapter is not known"}),
    ],
)
def test_what_lacks_text_says_so(real_texts: Texts, lacking: str, reasons: dict[str, str]) -> None:
    texts = real_texts | {
        "training": real_texts["training"][:8],
        "others_training": real_texts["others_training"][:8],
        "validation": real_texts["validation"][:1],
        "test": real_texts["test"][:4],
        "others_test": real_texts["others_test"][:4],
    }
    own = draw(real_texts["test"], 10, seed=1)
    written = [] if lacking == "written" else list(build_written("author", own, real=own))
    if lacking in texts:
        texts[lacking] = []
    found = build_style_report(written, author="Jane Austen", **texts)
    for metric, reason in reasons.items():
        part = found[metric]  # type: ignore[literal-required]
        assert reason in part["refusal"]
    render(found)
