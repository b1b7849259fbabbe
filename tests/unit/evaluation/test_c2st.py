"""The two-sample test: what can and can't be told apart, and its scale on the sample texts."""

import random

import pytest

from ghostpen.data.sections import Section
from ghostpen.errors import UnprovenError
from ghostpen.evaluation.c2st import Pair, compute_c2st, cut_pairs, prove_c2st
from ghostpen.evaluation.masking import read_tokens
from ghostpen.evaluation.pieces import Piece, cut_sections

Texts = dict[str, list[Section]]
KEPT = frozenset({"it", "was", "but", "and", "so"})


def build_pairs(text: str, real: str, *, words: int = 4, count: int = 50, sections: int = 10) -> list[Pair]:
    return cut_pairs([Pair(text, real, f"work/{place % sections}") for place in range(count)], words=words)


def test_text_that_is_always_different_has_auc_1() -> None:
    found = compute_c2st(build_pairs("it was, but so", "it was, and so"), kept=KEPT, seed=0)
    assert (found.texts, found.auc, found.low, found.high) == (50, 1, 1, 1)


def test_the_same_text_cannot_be_told() -> None:
    found = compute_c2st(build_pairs("it was, and so", "it was, and so"), kept=KEPT, seed=0)
    assert (found.auc, found.low, found.high) == (0.5, 0.5, 0.5)


def test_another_topic_cannot_be_told() -> None:
    found = compute_c2st(build_pairs("it was Zog and robots", "it was Jane and tea", words=5), kept=KEPT, seed=0)
    assert found.auc == 0.5


def test_length_cannot_be_told() -> None:
    found = compute_c2st(build_pairs("it was so " * 3, "it was so " * 5, words=12), kept=KEPT, seed=0)
    assert found.auc == 0.5


def test_what_only_one_section_has_is_no_help_in_others() -> None:
    # In each section two other words tell the sides apart: who has not seen the section can't know them.
    words = [f"w{chr(97 + place)}" for place in range(20)]
    texts = [(f"it {words[place % 10]}", f"it {words[10 + place % 10]}") for place in range(100)]
    by_section = [Pair(text, real, f"work/{place % 10}") for place, (text, real) in enumerate(texts)]
    mixed = [Pair(text, real, f"work/{place // 10}") for place, (text, real) in enumerate(texts)]
    kept = frozenset({"it", *words})
    assert compute_c2st(by_section, kept=kept, seed=0).auc == 0.5
    assert compute_c2st(mixed, kept=kept, seed=0).auc == 1


def test_order_of_the_pairs_does_not_matter() -> None:
    rng = random.Random(3)
    written, real = ["it", "was", "but", "and"], ["it", "was", "so", "and"]
    pairs = [
        Pair(" ".join(rng.choices(written, k=4)), " ".join(rng.choices(real, k=4)), f"work/{place % 8}")
        for place in range(64)
    ]
    first = compute_c2st(pairs, kept=KEPT, seed=1)
    rng.shuffle(pairs)
    again = compute_c2st(pairs, kept=KEPT, seed=1)
    assert (again.auc, again.low, again.high) == pytest.approx((first.auc, first.low, first.high), abs=0.01)
    assert 0.5 < first.low < first.auc < 1


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (build_pairs("it was so", "it was", count=39), "39 texts from 10 sections are too few"),
        (build_pairs("it was so", "it was", sections=4), "50 texts from 4 sections are too few"),
        (build_pairs("it", "it was so and"), "0 texts from 0 sections are too few"),  # less than half of 4 words
    ],
)
def test_too_few_are_refused(pairs: list[Pair], reason: str) -> None:
    with pytest.raises(UnprovenError, match=reason):
        compute_c2st(pairs, kept=KEPT, seed=0)


@pytest.fixture(scope="module")
def pieces(real_texts: Texts) -> dict[str, list[Piece]]:
    return {
        "held_out": cut_sections([*real_texts["validation"], *real_texts["test"]], words=200),
        "training": cut_sections(real_texts["training"], words=200),
        "others": cut_sections(real_texts["others_test"], words=200),
    }


def test_scale_on_real_text_rises_from_the_same_works_to_others(pieces: dict[str, list[Piece]]) -> None:
    kept = frozenset(read_tokens("the and of to a i in it was he that her his you as with she for not had be but is"))
    scale = prove_c2st(
        pieces["held_out"], training=pieces["training"], others=pieces["others"], texts=100, kept=kept, seed=0
    )
    assert 0.4 < scale.floor.auc < 0.6
    assert scale.floor.auc < scale.other_work.auc < scale.others.auc
    assert scale.others.auc > 0.9
    assert scale.floor.low < 0.5 < scale.floor.high
    assert scale.texts == scale.floor.texts == scale.other_work.texts == scale.others.texts == 100


def test_scale_has_as_many_texts_a_side_in_all_three_as_the_fewest_allow(pieces: dict[str, list[Piece]]) -> None:
    # 121 held-out pieces make halves of 61 and 60.
    few = pieces | {"held_out": pieces["held_out"][::8][:121], "others": pieces["others"][::4]}
    scale = prove_c2st(**few, texts=200, kept=KEPT | set(read_tokens("the and of to a i in you he his")), seed=0)
    assert [scale.floor.texts, scale.other_work.texts, scale.others.texts] == [60, 60, 60]
    with pytest.raises(UnprovenError, match="39 texts from"):
        prove_c2st(**few | {"held_out": few["held_out"][:79]}, texts=200, kept=KEPT, seed=0)


def test_scale_that_says_nothing_is_refused(pieces: dict[str, list[Piece]]) -> None:
    # "Others" are the same works: no better than the floor.
    with pytest.raises(
        UnprovenError, match="with 50 texts a side the two-sample test tells other authors' real text"
    ):
        prove_c2st(
            pieces["held_out"],
            training=pieces["training"],
            others=pieces["held_out"],
            texts=50,
            kept=frozenset({"the", "and"}),
            seed=0,
        )
