import numpy as np
import pytest

from ghostpen.data.sections import Section
from ghostpen.evaluation.contrast import compute_auc, compute_savings, cut_pieces
from ghostpen.score import Score


def make_section(text: str, number: int = 0) -> Section:
    return Section(text, "Jane Austen", "emma", number, False, False)


def measure(author: list[float], others: list[float]):  # type: ignore[no-untyped-def]
    """Each piece is of a section of its own."""
    return compute_auc(author, others, author_origins=range(len(author)), others_origins=range(len(others)))


def test_auc_of_a_clean_cut_is_one_and_swapped_zero() -> None:
    high, low = [float(n) for n in range(100, 120)], [float(n) for n in range(20)]
    found = measure(high, low)
    assert (found.estimate, found.low, found.high) == (1.0, 1.0, 1.0)
    assert measure(low, high).estimate == 0.0


def test_auc_of_ties_is_one_half() -> None:
    assert measure([1.0] * 20, [1.0] * 20).estimate == 0.5


def test_auc_is_the_share_of_pairs_in_order() -> None:
    # 20 pieces at 1; of the others 15 at 0 (beaten), 4 at 1 (a tie), 1 at 2: (15 + 4 / 2) / 20.
    assert measure([1.0] * 20, [0.0] * 15 + [1.0] * 4 + [2.0]).estimate == pytest.approx(17 / 20)


def test_auc_of_fewer_than_twenty_pieces_is_none() -> None:
    assert measure([1.0] * 19, [0.0] * 50) is None


def test_auc_of_fewer_than_five_sections_has_no_interval() -> None:
    found = compute_auc([1.0] * 20, [0.0] * 20, author_origins=[0] * 20, others_origins=range(20))
    assert found is not None and (found.estimate, found.low, found.high) == (1.0, None, None)


def test_interval_is_wider_where_the_pieces_of_a_section_are_alike() -> None:
    rng = np.random.default_rng(5)
    levels = rng.normal(0.5, 1, 10).repeat(10) + rng.normal(0, 0.01, 100)
    others = rng.normal(0, 1, 100)
    by_section, by_piece = (
        compute_auc(list(levels), list(others), author_origins=origins, others_origins=range(100))
        for origins in ([place // 10 for place in range(100)], range(100))
    )
    assert by_section and by_piece and by_section.estimate == by_piece.estimate
    width = [(found.high or 0) - (found.low or 0) for found in (by_section, by_piece)]
    assert width[0] > 1.5 * width[1]


def test_savings_are_bits_per_byte() -> None:
    [saved] = compute_savings([Score(2 * np.log(2), 1, 4)], [Score(np.log(2), 1, 4)])
    assert saved == pytest.approx(1 / 4)


def test_pieces_are_whole_and_in_order_and_know_their_section() -> None:
    sections = [make_section("a b\n\nc d e f g", 0), make_section("h", 1), make_section("i j k", 2)]
    found = cut_pieces(sections, words=3)
    assert [section.text for section in found.sections] == ["a b\n\nc", "d e f", "i j k"]
    assert found.origins == [0, 0, 2]


def test_pieces_beyond_the_limit_are_left_out_evenly() -> None:
    found = cut_pieces([make_section("x y", number) for number in range(10)], words=2, limit=4)
    assert found.origins == [0, 2, 5, 7]
