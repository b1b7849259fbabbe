"""Cosine Delta: distances worked by hand, refusals, and what it is worth on the sample texts."""

import zipfile
from pathlib import Path

import pytest

from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError, UnprovenError
from ghostpen.evaluation.delta import (
    DeltaModel,
    DeltaReport,
    compute_ceiling,
    compute_delta,
    fit_delta,
    measure_delta,
)
from ghostpen.evaluation.pools import cut_pools, cut_pools_by_author

TEXTS = Path(__file__).parents[3] / "src/ghostpen/assets/texts"
# Two words, two authors: the shares of a are 3/4 and 1/4. Mean 1/2, deviation 1/4, so z is +-1.
POOLS = {"own": ["a a a b", "a a b a"], "other": ["b b a b"]}


def test_fit_scales_each_word_over_authors() -> None:
    model = fit_delta(POOLS, author="own")
    assert set(model.words) == {"a", "b"}
    place = model.words.index("a")
    assert (model.mean[place], model.deviation[place]) == (0.5, 0.25)
    assert (model.centroids["own"][place], model.centroids["other"][place]) == (1, -1)


@pytest.mark.parametrize(
    ("pool", "own", "nearest"),
    [
        ("A, a; a -- B!", 0, 2),  # z as the own centre, against the other
        ("a a", 0, 2),  # twice as far out, in the same direction
        ("b b b a", 2, 0),
        ("a b", 1, 1),  # no direction at all
        ("c d", 1, 1),  # a and b both are rarer than usual: at a right angle to either centre
    ],
)
def test_delta_is_one_minus_the_cosine(pool: str, own: float, nearest: float) -> None:
    found = measure_delta(fit_delta(POOLS, author="own"), pool)
    assert (found.own, found.nearest) == pytest.approx((own, nearest), abs=1e-12)
    assert found.nearest_author == "other"
    assert found.is_own is (own < nearest)


@pytest.mark.parametrize("pools", [{"own": ["a"]}, {"other": ["a"]}, {"own": [], "other": ["a"]}])
def test_fit_without_two_sides_is_an_error(pools: dict[str, list[str]]) -> None:
    with pytest.raises(NothingCountedError, match="a pool of training text by the author and one by another"):
        fit_delta(pools, author="own")


def test_word_that_never_varies_counts_nothing() -> None:
    model = fit_delta({"own": ["a a b c"], "other": ["a b b c"]}, author="own")
    place = model.words.index("c")
    assert [centroid[place] for centroid in model.centroids.values()] == [0, 0]


@pytest.fixture
def model() -> DeltaModel:
    return fit_delta(POOLS, author="own")


def test_report_gives_means_over_pools(model: DeltaModel) -> None:
    ceiling = compute_ceiling(model, real=["a a a b"] * 3, others=["b b b a"] * 3)
    assert (ceiling.own_pools, ceiling.other_pools, ceiling.recognised, ceiling.rejected) == (3, 3, 1, 1)
    report = compute_delta(model, ["a a a b", "b b b a"], ceiling=ceiling)
    assert report == DeltaReport(2, own=pytest.approx(1), nearest=pytest.approx(1), recognised=0.5)


def test_stranger_who_is_least_far_from_the_author_is_turned_away() -> None:
    # Three words: "own" has a, "other" has b. Who says c and a little a is nearer to a, and far from both.
    model = fit_delta({"own": ["a a a c", "a a a a"], "other": ["b b b c", "b b b b"]}, author="own")
    stranger = "c c c a c c c a c c"
    found = measure_delta(model, stranger)
    assert found.is_own and found.own > 0.5
    ceiling = compute_ceiling(model, real=["a a a a", "a a a a c"] * 2, others=[stranger] * 3)
    assert (ceiling.recognised, ceiling.rejected) == (1, 1)
    assert compute_delta(model, [stranger, "a a a a"], ceiling=ceiling).recognised == 0.5


@pytest.mark.parametrize(
    ("real", "others", "reason"),
    [
        (["a"] * 2, ["b"] * 3, "2 pools of the author's held-out text and 3 of others'"),
        (["a"] * 3, [], "3 pools of the author's held-out text and 0 of others'"),
        (["a"] * 8 + ["b"], ["b"] * 3, "it finds 89% of the author's and turns away 100% of others'"),
        (["a"] * 3, ["b", "b", "a"], "it finds 100% of the author's and turns away 67% of others'"),
    ],
)
def test_delta_is_refused_where_real_text_does_not_prove_it(
    model: DeltaModel, real: list[str], others: list[str], reason: str
) -> None:
    with pytest.raises(UnprovenError, match=reason):
        compute_ceiling(model, real=real, others=others)


def test_text_of_less_than_a_pool_is_refused(model: DeltaModel) -> None:
    ceiling = compute_ceiling(model, real=["a a a b"] * 3, others=["b b b a"] * 3)
    with pytest.raises(UnprovenError, match="the samples are less than a pool of 5,000 words"):
        compute_delta(model, [], ceiling=ceiling)


@pytest.mark.parametrize(
    ("texts", "pools"),
    [
        (["a b\n\nc d", "e f g"], ["a b\n\nc", "d\n\ne f"]),
        (["a b c d e f"], ["a b c", "d e f"]),
        (["a b"], []),
        ([], []),
    ],
)
def test_pools_have_the_same_number_of_words_and_keep_paragraphs(texts: list[str], pools: list[str]) -> None:
    assert cut_pools(texts, words=3) == pools


def test_pools_by_author_reach_over_documents_and_not_over_authors() -> None:
    rows = [("x", "one", "a b c"), ("x", "one", "d"), ("x", "two", "e f g"), ("y", "one", "h")]
    sections = [Section(text, author, document, 0, True, True) for author, document, text in rows]
    assert cut_pools_by_author(sections, words=2) == {"x": ["a b", "c\n\nd", "e f"], "y": []}
    assert cut_pools_by_author(sections, words=3) == {"x": ["a b c", "d\n\ne f"], "y": []}


def test_unseen_novel_is_its_authors_and_other_novelists_are_not() -> None:
    with zipfile.ZipFile(TEXTS / "austen.zip") as opened:
        novels = {name: opened.read(name).decode() for name in opened.namelist() if name.endswith(".txt")}
    with zipfile.ZipFile(TEXTS / "contrast.zip") as opened:
        others = {name: opened.read(name).decode() for name in opened.namelist() if name.count("/") == 2}
    emma = novels.pop("emma.txt")
    pools = {"austen": cut_pools(novels.values())}
    for author in ("hawthorne", "twain", "emily-bronte"):
        pools[author] = cut_pools(text for name, text in others.items() if f"train/{author}/" in name)
    unseen = cut_pools(text for name, text in others.items() if not name.startswith("train/"))
    found = compute_ceiling(fit_delta(pools, author="austen"), real=cut_pools([emma]), others=unseen)
    assert (found.own_pools, found.recognised) == (31, 1.0)
    assert found.rejected == 1.0  # of Anne Bronte's ten pools six are nearest to Austen, and all too far from her
    assert found.own_95 < 0.75
