from pathlib import Path

import pytest
from tests.pictures import CONTROL, METRICS, build_row, read_colors

from ghostpen.errors import DataError
from ghostpen.training.curve import (
    find_kept_point,
    plan_curves,
    plan_label_heights,
    plan_log_ticks,
    render_count,
    render_perplexity,
    write_perplexity_curve,
)


def test_plan_curves_gives_points_in_order_of_steps() -> None:
    rows = [build_row("val", step=step, perplexity=40.0 - step) for step in (2, 0, 1)]

    assert plan_curves(rows) == {"val": [(0, 40.0), (100, 39.0), (200, 38.0)]}


def test_plan_curves_of_a_resumed_run_takes_the_later_row_of_a_step() -> None:
    rows = [build_row("val", step=5, perplexity=30.0), build_row("val", step=5, perplexity=29.0)]

    assert plan_curves(rows) == {"val": [(500, 29.0)]}


def test_plan_curves_pools_train_rows_by_loss_and_tokens() -> None:
    # 40 rows make 20 points of two: one token of perplexity 2 and three of 8 are exp(10 ln 2 / 4) = 2 ** 2.5.
    rows = [
        build_row("train", step=step, perplexity=2.0 if step % 2 else 8.0, tokens=1 if step % 2 else 3)
        for step in range(1, 41)
    ]

    points = plan_curves(rows)["train"]

    assert len(points) == 20
    assert points[0] == pytest.approx((150.0, 2**2.5))


def test_plan_curves_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no metrics to draw"):
        plan_curves([])


def test_plan_label_heights_leaves_labels_that_do_not_touch() -> None:
    assert plan_label_heights([30.0, 0.0, 10.0], gap=10.0) == [30.0, 0.0, 10.0]


def test_plan_label_heights_of_equal_heights_centres_them() -> None:
    assert plan_label_heights([5.0, 5.0, 5.0], gap=10.0) == pytest.approx([-5.0, 5.0, 15.0])


def test_plan_label_heights_pushes_a_chain_apart_in_order() -> None:
    # 0 and 4 move to -3 and 7; 8 is then too near, and all three settle around their mean, 4.
    assert plan_label_heights([8.0, 0.0, 4.0], gap=10.0) == pytest.approx([14.0, -6.0, 4.0])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (25.4, 35.9, [26, 28, 30, 32, 34]),
        (8.1, 9.7, [8.5, 9.0, 9.5]),
        (20.0, 4000.0, [20, 50, 100, 200, 500, 1000, 2000]),
    ],
)
def test_plan_log_ticks_chooses_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert plan_log_ticks(low, high) == pytest.approx(ticks)


def test_render_count_and_perplexity_are_short() -> None:
    assert [render_count(count) for count in (0, 800, 200_000, 1_500_000, 2e9)] == [
        "0", "800", "200k", "1.5M", "2B",
    ]  # fmt: skip
    assert [render_perplexity(value) for value in (9.424, 28.84, 1234.4)] == ["9.42", "28.8", "1,234"]


def test_write_perplexity_curve_draws_every_line_in_its_colour(tmp_path: Path) -> None:
    write_perplexity_curve(METRICS, tmp_path / "with.png", author="Jane Austen", control_metrics=CONTROL)
    write_perplexity_curve(METRICS, tmp_path / "without.png", author="Jane Austen")

    blue, grey, orange, pale = (11, 87, 164), (110, 119, 129), (179, 92, 0), (182, 198, 214)
    assert {blue, grey, orange, pale} <= read_colors(tmp_path / "with.png")
    assert {blue, orange, pale} <= read_colors(tmp_path / "without.png")
    assert grey not in read_colors(tmp_path / "without.png")


def test_write_perplexity_curve_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_perplexity_curve(METRICS, tmp_path / f"{name}.png", author="A", control_metrics=CONTROL)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_write_perplexity_curve_without_rows_leaves_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "perplexity.png"
    path.write_bytes(b"old")

    with pytest.raises(DataError, match="no metrics to draw"):
        write_perplexity_curve([], path, author="Jane Austen")

    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("values", "kept"), [((9.0, 5.0, 4.0, 6.0), 2), ((1.0, 5.0, 4.0), 2), ((9.0, 4.0, 4.0), 1), ((9.0,), 0)]
)
def test_kept_point_is_the_lowest_of_what_was_trained(values: tuple[float, ...], kept: int) -> None:
    points = [(10.0 * number, value) for number, value in enumerate(values)]
    assert find_kept_point(points) == points[kept]
