"""Rhythm and diversity: every measure by hand, blocks, and the author's band on the sample texts."""

import numpy as np
import pytest

from ghostpen.data.sections import Section
from ghostpen.errors import UnprovenError
from ghostpen.evaluation.pieces import Piece, count_words, cut_sections
from ghostpen.evaluation.pools import cut_pools
from ghostpen.evaluation.rhythm import (
    LABELS,
    Rhythm,
    compute_mattr,
    compute_rhythm,
    cut_blocks,
    find_abbreviations,
    measure_block,
    read_sentence_lengths,
)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ('"A b," he said. "Is it?" No!', [4, 2, 1]),
        ("A b\n\nC d. E", [2, 2, 1]),
        ("Mr. A came... (B.) _C!_", [3, 1, 1]),
        ("", []),
    ],
)
def test_sentences_end_with_their_marks_and_paragraphs(text: str, lengths: list[int]) -> None:
    assert read_sentence_lengths(text, abbreviations=frozenset({"mr."})) == lengths


def test_abbreviations_are_words_that_are_not_there_without_a_stop() -> None:
    text = 'Mr. A, Mr. B, Mr. C, Mr. D and "Mr. E" said: No. No. No. No. No, no. Etc. Catherine. ' * 5
    assert find_abbreviations([text]) == {"mr.", "etc."}  # a sentence's last word is elsewhere, too; a name is long


@pytest.mark.parametrize(
    ("words", "window", "mattr"),
    [("a a b", 2, 0.75), ("a b a c", 2, 1.0), ("a a a", 3, 1 / 3), ("a a", 100, 0.5), ("", 100, 0.0)],
)
def test_mattr_is_the_mean_over_windows(words: str, window: int, mattr: float) -> None:
    assert compute_mattr(words.split(), window=window) == mattr


def test_block_is_measured_over_whole_sentences() -> None:
    # Sentences between first and last: of 2 and 4 words in the one text, of 3 in the other.
    block = ["x. a b. a b, c; d. y", "x. a, b c. y"]
    found = measure_block(block)
    # x a b a b c d y x a b c y: 6 of 13 words, and of 12 pairs all but three are different.
    assert found["distinct_1"] == 6 / 13
    assert found["distinct_2"] == 8 / 12
    assert found["mattr_100"] == 6 / 13
    assert found["sentence_words"] == 3
    assert found["sentence_deviation"] == pytest.approx((2 / 3) ** 0.5)
    assert found["sentence_step"] == pytest.approx(2 / 3)  # from 2 to 4, over 3; never from text to text
    assert (found["commas"], found["semicolons"]) == (200 / 13, 100 / 13)
    assert list(found) == list(LABELS)


def test_block_of_cut_sentences_alone_is_one_sentence() -> None:
    found = measure_block(["a b c", "d e"])
    assert (found["sentence_words"], found["sentence_step"]) == (5, 0)


def test_blocks_have_exactly_as_many_words_and_keep_works_together() -> None:
    pieces = [Piece(f"{work}{place} {work} {work}", "x", work, place) for work in "ab" for place in range(4)]
    blocks = cut_blocks(pieces, words=5, seed=1)
    assert [sum(map(count_words, block)) for block in blocks] == [5] * 4  # of two pieces each, the second one cut
    assert ["".join(text[0] for text in block) for block in blocks] == ["aa", "aa", "bb", "bb"]
    assert cut_blocks(pieces, words=5, seed=1) == blocks
    assert cut_blocks(pieces[::-1], words=1000, seed=1) == []


Texts = dict[str, list[Section]]
MR = frozenset({"mr.", "mrs."})


def test_band_of_running_text_is_the_protocols(real_texts: Texts) -> None:
    sections = [section for split in ("training", "validation", "test") for section in real_texts[split]]
    found = [measure_block([pool]) for pool in cut_pools(section.text for section in sections)[::4]]
    for name, mean, deviation in (
        ("distinct_1", 0.242, 0.015),
        ("distinct_2", 0.785, 0.015),
        ("distinct_3", 0.969, 0.006),
        ("mattr_100", 0.723, 0.009),
    ):
        values = [measures[name] for measures in found]
        assert np.mean(values) == pytest.approx(mean, abs=deviation / 2)
        assert np.std(values) == pytest.approx(deviation, rel=0.4)


@pytest.fixture(scope="module")
def pieces(real_texts: Texts) -> dict[str, list[Piece]]:
    return {
        "training": cut_sections(real_texts["training"], words=300)[::2],
        "held_out": cut_sections([*real_texts["validation"], *real_texts["test"]], words=300),
        "others": cut_sections(real_texts["others_test"], words=300),
    }


@pytest.fixture(scope="module")
def rhythm(pieces: dict[str, list[Piece]]) -> Rhythm:
    loops = [Piece("It was so. She said no. " * 50, "loops", "work", place) for place in range(20)]
    own = [piece for piece in pieces["held_out"] if piece.document == "emma"][::3]
    return compute_rhythm({"author": own, "base": loops}, **pieces, abbreviations=MR, seed=0)


def test_band_holds_the_authors_unseen_text_and_not_others(rhythm: Rhythm) -> None:
    assert rhythm.block_words == 5_000 and rhythm.band_blocks > 40
    assert len(rhythm.measures) >= 8
    assert all(abs(measure.held_out.z) <= 2 for measure in rhythm.measures)
    assert all(abs(measure.models["author"].z) <= 2.5 for measure in rhythm.measures)
    assert max(abs(measure.others.z) for measure in rhythm.measures) > 3


def test_loops_are_far_outside_the_band(rhythm: Rhythm) -> None:
    found = {measure.name: measure for measure in rhythm.measures}
    assert found["distinct_1"].models["base"].value == 6 / 5_000
    assert found["distinct_1"].models["base"].z < -10
    assert found["sentence_deviation"].models["base"].value == 0
    assert found["sentence_deviation"].models["base"].z < -3


def test_shorter_blocks_are_taken_where_a_model_wrote_little(pieces: dict[str, list[Piece]]) -> None:
    written = {"author": pieces["held_out"][:20], "base": pieces["held_out"][:8]}  # 6,000 and 2,400 words
    found = compute_rhythm(written, **pieces, abbreviations=MR, seed=0)
    assert (found.block_words, found.blocks) == (2_000, {"author": 2, "base": 1})  # of seven pieces each
    found = compute_rhythm(written | {"control": pieces["held_out"][:1]}, **pieces, abbreviations=MR, seed=0)
    assert (found.block_words, found.blocks) == (5_000, {"author": 1})  # rather none of the control than of no use


@pytest.mark.parametrize("lacking", ["training", "held_out", "others", "written"])
def test_too_little_text_is_refused(pieces: dict[str, list[Piece]], lacking: str) -> None:
    few = pieces | {lacking: pieces["training"][:5]}
    written = {"author": few.pop("written", pieces["held_out"][:20])[:20]}
    if lacking == "written":
        written = {"author": pieces["held_out"][:3]}
    with pytest.raises(UnprovenError, match=r"rhythm needs 1,000 words of continuations, 8 times that"):
        compute_rhythm(written, **few, abbreviations=MR, seed=0)


def test_measure_that_does_not_hold_on_unseen_text_is_left_out(pieces: dict[str, list[Piece]]) -> None:
    # "Held-out" text without a semicolon: no band of an author who has them.
    plain = [Piece(piece.text.replace(";", ","), "x", piece.document, piece.section) for piece in pieces["held_out"]]
    found = compute_rhythm({"author": plain[:20]}, **(pieces | {"held_out": plain}), abbreviations=MR, seed=0)
    assert "semicolons in 100 words" in found.unreliable
    assert "semicolons" not in [measure.name for measure in found.measures]
    with pytest.raises(UnprovenError, match="outside the band of the training text in every measure"):
        loop = [Piece("It was so " * 100, "x", "loop", place) for place in range(40)]
        compute_rhythm({"author": plain[:20]}, **(pieces | {"held_out": loop}), abbreviations=MR, seed=0)
