"""Charts as SVG: where marks stand, what they say to those who can't see them, and that names stay text."""

from xml.etree.ElementTree import Element, fromstring

import pytest
from tests.reports import HOSTILE, build_style

from ghostpen.evaluation.html.charts import (
    Bar,
    render_bands,
    render_bars,
    render_curves,
    render_forest,
    render_percent,
)
from ghostpen.evaluation.html.map_chart import choose_inner, find_hull, render_map
from ghostpen.evaluation.html.svg import WIDTH, Scale, cut_name, plan_ticks, render_signed


def read_texts(chart: Element) -> list[str]:
    return [text.text or "" for text in chart.iter("text")]


def find_look(chart: Element, look: str) -> list[Element]:
    return [element for element in chart.iter() if element.get("class") == look]


def test_scale_is_a_straight_line() -> None:
    across = Scale(-1.0, 3.0, 100, 300)

    assert [across(value) for value in (-1.0, 0.0, 3.0)] == [100, 150, 300]
    assert Scale(2.0, 2.0, 10, 20)(2.0) == 10


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0, 160, 4, [0, 50, 100, 150]),
        (-0.053, 0.114, 5, [-0.05, 0, 0.05, 0.1]),
        (0, 1, 4, [0, 0.5, 1]),
        (3, 3, 4, [3]),
    ],
)
def test_plan_ticks_are_round_and_few(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert plan_ticks(low, high, most=most) == ticks


def test_numbers_are_written_for_people() -> None:
    assert [render_signed(value) for value in (0.0614, -0.053, 0.0)] == ["+0.061", "\N{MINUS SIGN}0.053", "+0.000"]
    shares = [render_percent(share).replace("\N{NO-BREAK SPACE}", " ") for share in (0.0, 0.0004, 0.031, 0.94, 1.0)]
    assert shares == ["0 %", "0.04 %", "3.1 %", "94 %", "100 %"]


def test_cut_name_keeps_what_has_room() -> None:
    assert cut_name("emma", width=100) == "emma"
    assert cut_name("a long\nname of a document", width=78) == "a long na\N{HORIZONTAL ELLIPSIS}"  # ten letters


def test_render_bars_draws_to_scale_from_zero() -> None:
    chart = fromstring(render_bars("a", [("One", [Bar("x", 0.2, "author"), Bar("y", -0.1, "control")])], title="T"))

    [long] = find_look(chart, "bar author")
    [short] = find_look(chart, "bar control")
    assert float(long.attrib["width"]) == pytest.approx(2 * float(short.attrib["width"]), abs=0.2)
    assert float(short.attrib["x"]) + float(short.attrib["width"]) == pytest.approx(float(long.attrib["x"]), abs=0.2)
    assert read_texts(chart) == ["One", "x", "+0.200", "y", "\N{MINUS SIGN}0.100"]
    assert chart.findtext("desc") == "One: x +0.200, y \N{MINUS SIGN}0.100."


def test_render_forest_draws_intervals_where_there_are_some() -> None:
    rows = [Bar("a", 0.5, "author", 0.25, 0.75), Bar("b", 0.0, "others")]

    chart = fromstring(render_forest("f", rows, title="T", domain=(0.0, 1.0)))

    [interval] = find_look(chart, "interval author")
    [dot] = find_look(chart, "dot author")
    left, right, middle = float(interval.attrib["x1"]), float(interval.attrib["x2"]), float(dot.attrib["cx"])
    assert middle == pytest.approx((left + right) / 2, abs=0.1)
    assert find_look(chart, "interval others") == []
    assert chart.findtext("desc") == "a: +0.500, interval +0.250 to +0.750; b: +0.000."


def test_render_curves_ends_with_the_last_value_and_rings_the_kept_step() -> None:
    curves = {"author": [(0.0, 60.0), (40.0, 50.0)], "control": [(0.0, 60.0), (20.0, 55.0), (40.0, 58.0)]}

    chart = fromstring(render_curves("c", curves, title="T", limits=(50.0, 60.0)))

    texts = read_texts(chart)
    assert "50.0 adapter" in texts and "58.0 control" in texts
    [line] = find_look(chart, "curve control")
    [ring] = find_look(chart, "kept control")
    assert f"{ring.get('cx')},{ring.get('cy')}" == (line.get("points") or "").split()[1]  # step 20, its lowest
    assert "kept at step 20 with 55.0" in (chart.findtext("desc") or "")


def test_render_curves_of_a_single_measurement_is_drawn() -> None:
    chart = fromstring(render_curves("c", {"author": [(0.0, 60.0)]}, title="T", limits=(60.0, 60.0)))

    assert [text for text in read_texts(chart) if text.isdigit()].count("0") == 1


def test_render_bands_keeps_what_is_far_out_within_the_drawing() -> None:
    chart = fromstring(
        render_bands(
            "r", [("commas", [("real", 0.0), ("others", 12.0)])], title="T", names={"real": "r", "others": "o"}
        )
    )

    _, mark = find_look(chart, "mark others")  # the first explains the mark
    assert float(mark.attrib["cx"]) <= WIDTH
    assert "o +12.0" in (chart.findtext("desc") or "")


def test_charts_write_names_as_text() -> None:
    for chart in (
        render_bars("a", [(HOSTILE, [Bar("x", 0.2, "author")])], title=HOSTILE),
        render_forest("f", [Bar(HOSTILE, 0.1, "author")], title=HOSTILE),
    ):
        assert "<script" not in chart and "<img" not in chart
        assert fromstring(chart).findtext("title") == HOSTILE


def test_choose_inner_leaves_out_the_stray_fifth() -> None:
    near = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]

    assert set(choose_inner([(9.0, 9.0), *near])) == set(near)
    assert choose_inner([]) == []


def test_map_s_arrow_leads_from_the_base_model_to_the_adapter() -> None:
    found = build_style()["map"]

    chart = fromstring(render_map(found, author="A"))

    line, _ = find_look(chart, "way")
    base, author = ([float(mark.get("d", "M0 0")[1:].split()[0]) for mark in find_look(chart, "mark base")],
                    [float(mark.get("x", 0)) + 6 for mark in find_look(chart, "mark author")])  # fmt: skip
    assert float(line.attrib["x1"]) == pytest.approx(sum(base) / 2, abs=0.2)
    assert float(line.attrib["x1"]) < float(line.attrib["x2"]) < sum(author) / 2

    still = [point | {"x": 0.0, "y": 0.0} for point in found["points"] if point["who"] in ("base", "author")]
    assert find_look(fromstring(render_map(found | {"points": still}, author="A")), "way") == []


def test_find_hull_leaves_out_what_is_inside() -> None:
    square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]

    assert find_hull([*square, (1.0, 1.0), (1.0, 0.0)]) == square
    assert find_hull([(1.0, 1.0), (1.0, 1.0)]) == [(1.0, 1.0)]


def test_render_map_shows_every_mark_and_says_who_is_near() -> None:
    found = build_style()["map"]

    chart = fromstring(render_map(found, author="Jane Austen"))

    marks = [look for look in (element.get("class") or "" for element in chart.iter()) if look.startswith("mark ")]
    assert {look: marks.count(look) for look in set(marks)} == {
        "mark real": 10, "mark others": 10, "mark base": 2, "mark author": 2,
    }  # fmt: skip
    # Middles: real (1.8, 0.3), adapter (1.1, 0.3), base (-0.9, -0.4), others (-2, -0.05).
    assert "the adapter 0.70, the base model 2.79, the other authors 3.82" in (chart.findtext("desc") or "")
    assert {"adapter", "base model", "real Jane Austen", "irving", "crane"} <= set(read_texts(chart))


def test_map_of_one_mark_is_drawn() -> None:
    point = {"who": "real", "name": "emma", "x": 1.0, "y": 1.0}

    chart = fromstring(render_map(build_style()["map"] | {"points": [point]}, author="A"))

    assert len(find_look(chart, "mark real")) == 1
