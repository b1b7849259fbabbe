import numpy as np
import pytest

from ghostpen.data.sections import Section
from ghostpen.evaluation.contrast import (
    AUTHOR_TEXT,
    MIN_PIECES,
    OTHERS_TEXT,
    choose_pieces,
    compute_interval,
    compute_savings,
    list_pieces,
    measure_contrast,
)
from ghostpen.evaluation.pieces import Piece
from ghostpen.score import Score


def name_sections(count: int) -> list[str]:
    return [str(place) for place in range(count)]


def test_interval_of_a_clean_cut_is_one() -> None:
    sections = name_sections(20), name_sections(20)
    found = compute_interval([2.0] * 20, [1.0] * 20, sections=sections)
    assert (found.estimate, found.low, found.high) == (1.0, 1.0, 1.0)


def test_interval_is_around_the_estimate_and_the_same_twice() -> None:
    sections = name_sections(40), name_sections(40)
    author, others = [float(n) for n in range(20, 60)], [float(n) for n in range(40)]
    found = compute_interval(author, others, sections=sections)
    assert found.low is not None and found.high is not None
    # Of 1,600 pairs 190 are in the wrong order and 20 ties: (1600 - 190 - 20 / 2) / 1600.
    assert found.estimate == pytest.approx(0.875)
    assert 0.75 < found.low < 0.875 < found.high < 0.96
    assert compute_interval(author, others, sections=sections) == found


def test_auc_of_fewer_than_five_sections_has_no_interval() -> None:
    found = compute_interval([1.0] * 20, [0.0] * 20, sections=(["0"] * 20, name_sections(20)))
    assert (found.estimate, found.low, found.high) == (1.0, None, None)


def test_savings_are_bits_per_byte() -> None:
    [saved] = compute_savings([Score(2 * np.log(2), 1, 4)], [Score(np.log(2), 1, 4)])
    assert saved == pytest.approx(1 / 4)


def test_pieces_have_400_words_whatever_stands_between_and_100_are_chosen_evenly() -> None:
    lines = "\n".join(["one two"] * 300 + ["three"])  # 601 words: a piece, and 201 left over
    sections = [Section(lines, "Jane Austen", "emma", number, True, True) for number in range(150)]
    found = choose_pieces(sections)
    assert {len(piece.text.split()) for piece in found} == {400}
    # The middles of 100 equal parts of 150 pieces: 0.75, 2.25, 3.75, ...
    assert [piece.section for piece in found[:3]] == [0, 2, 3] and len(found) == 100


def build_pieces(author: int, others: int) -> dict[str, list[Piece]]:
    return {
        name: [Piece("text", name, "work", place) for place in range(count)]
        for name, count in ((AUTHOR_TEXT, author), (OTHERS_TEXT, others))
    }


def test_contrast_scores_both_sides_under_control_and_author() -> None:
    pieces = build_pieces(MIN_PIECES, MIN_PIECES)
    wanted = list_pieces(pieces)
    assert [section.section for section in wanted["control", f"pieces of {AUTHOR_TEXT}"]] == list(range(MIN_PIECES))
    # The adapter saves a nat on each of the author's pieces and none on others'.
    scores = {
        (label, name): [Score(2.0 - (label == "author" and AUTHOR_TEXT in name), 1, 4) for _ in sections]
        for (label, name), sections in wanted.items()
    }
    assert len(scores) == 4
    assert measure_contrast(scores, pieces=pieces) == {
        "piece_words": 400,
        "author_pieces": 20,
        "others_pieces": 20,
        "auc": {"estimate": 1.0, "low": 1.0, "high": 1.0},
    }


def test_contrast_of_fewer_than_twenty_pieces_scores_none_and_counts_them() -> None:
    pieces = build_pieces(MIN_PIECES - 1, 50)
    assert list_pieces(pieces) == {}
    found = measure_contrast({}, pieces=pieces)
    assert (found["author_pieces"], found["others_pieces"], found["auc"]) == (19, 50, None)
