"""The page's charts, each from numbers that stand in report.json or metrics.jsonl. Pure: values in, SVG out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import tostring

from markupsafe import Markup

from ghostpen.evaluation.html.svg import LETTER, WIDTH, Chart, Scale, cut_name, plan_ticks, render_signed
from ghostpen.evaluation.report_shape import IntervalJson
from ghostpen.evaluation.specificity import name_model
from ghostpen.training.curve import find_kept_point, plan_label_heights, plan_log_ticks, render_perplexity

Point = tuple[float, float]

LABEL_GAP = 18.0
ROW = 26.0


@dataclass(frozen=True)
class Bar:
    """One row of a chart of bars; `look` is a class of the style sheet."""

    label: str
    value: float
    look: str
    low: float | None = None
    high: float | None = None


def render_curves(
    name: str, curves: Mapping[str, Sequence[Point]], *, title: str, limits: tuple[float, float]
) -> Markup:
    """Draw perplexities by step, each line named at its end, on a logarithmic scale.

    Args:
        curves: by "author" and "control", points (step, perplexity) in order; not empty.
        limits: the lowest and highest perplexity of all charts that are to be compared.
    """
    low, high = limits[0] / 1.02, limits[1] * 1.02
    last = max(points[-1][0] for points in curves.values()) or 1.0
    across, up = Scale(0, last, 44, WIDTH - 118), Scale(math.log(low), math.log(high), 206, 12)
    chart = Chart(name, height=252, title=title, description=_describe_curves(curves))
    for tick in plan_log_ticks(low, high):
        height = up(math.log(tick))
        chart.add("line", "grid", x1=44, x2=WIDTH - 118, y1=height, y2=height)
        chart.write(render_perplexity(tick) if tick % 1 else f"{tick:,.0f}", "quiet", x=36, y=height, anchor="end")
    for tick in plan_ticks(0, last, most=4):
        if tick % 1:  # a training of three steps has no half ones
            continue
        chart.write(f"{tick:,.0f}", "quiet", x=across(tick), y=224, anchor="middle")
    chart.write("training step", "quiet", x=across(last / 2), y=243, anchor="middle")
    ends = []
    for label in sorted(curves, key=lambda label: label == "author"):  # the author's on top
        points = [(across(step), up(math.log(value))) for step, value in curves[label]]
        chart.draw_line(points, f"curve {label}")
        kept = find_kept_point(curves[label])
        chart.add("circle", f"kept {label}", cx=across(kept[0]), cy=up(math.log(kept[1])), r=5)
        ends.append((points[-1][1], label, curves[label][-1][1]))
    heights = plan_label_heights([end for end, _, _ in ends], gap=LABEL_GAP)
    for (_, label, value), height in zip(ends, heights, strict=True):
        text = f"{render_perplexity(value)} {name_model(label, brief=True)}"
        chart.write(text, f"strong {label}", x=WIDTH - 105, y=height)
    return chart.render()


def render_bars(
    name: str,
    groups: Sequence[tuple[str, Sequence[Bar]]],
    *,
    title: str,
    render: Callable[[float], str] = render_signed,
    label_width: float = 70,
) -> Markup:
    """Draw groups of horizontal bars from zero, each with its number, and its interval where it has one."""
    bars = [bar for _, group in groups for bar in group]
    ends = [0.0, *(end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None)]
    low, high = min(ends), max(ends)
    value_width = 8 * LETTER
    across = Scale(low, high if high > low else low + 1, label_width + 8, WIDTH - value_width)
    described = [
        f"{heading}: " + ", ".join(f"{bar.label} {render(bar.value)}" for bar in group) for heading, group in groups
    ]
    height = sum(ROW * (len(group) + 1) + 12 for _, group in groups)
    chart = Chart(name, height=height, title=title, description=". ".join(described) + ".")
    top = 0.0
    for heading, group in groups:
        chart.write(cut_name(heading, width=WIDTH), "strong", x=0, y=top + ROW / 2)
        for row, bar in enumerate(group, start=1):
            middle = top + ROW * (row + 0.5)
            chart.write(bar.label, f"text {bar.look}", x=0, y=middle)
            start, end = sorted((across(0), across(bar.value)))
            chart.add("rect", f"bar {bar.look}", x=start, y=middle - 8, width=max(end - start, 1), height=16)
            _draw_interval(chart, bar, across, middle)
            edge = across(max(0.0, bar.value, bar.high or 0.0))
            chart.write(render(bar.value), f"strong text {bar.look}", x=edge + 6, y=middle)
        chart.add("line", "axis", x1=across(0), x2=across(0), y1=top + ROW, y2=top + ROW * (len(group) + 1))
        top += ROW * (len(group) + 1) + 12
    return chart.render()


def render_forest(
    name: str,
    rows: Sequence[Bar],
    *,
    title: str,
    domain: tuple[float, float] | None = None,
    beside: float = 0,
    bare: bool = False,
    render: Callable[[float], str] = render_signed,
    origin: float = 0.0,
    ticks: Sequence[float] | None = None,
) -> Markup:
    """Draw estimates as dots with their intervals on one scale, the origin marked.

    Args:
        domain: of the scale; that of the rows where there is none.
        beside: pixels for names at the left; 0 writes each name above its row.
        bare: without names and numbers, which stand beside the chart.
    """
    ends = [end for bar in rows for end in (bar.value, bar.low, bar.high) if end is not None]
    low, high = domain or find_domain(ends)
    across = Scale(low, high, max(beside + 8, 22), WIDTH - (22 if bare else 9 * LETTER))
    row_height, head = (28.0, 0.0) if beside else (26.0, 0.0) if bare else (50.0, 24.0)
    bottom = row_height * len(rows) + 4
    chart = Chart(name, height=bottom + 24, title=title, description=_describe_rows(rows, render))
    for tick in ticks or plan_ticks(low, high, most=4 if beside else 5):
        for row in range(len(rows)):  # row by row: not through the names above them
            place = {"y1": row_height * row + head, "y2": row_height * (row + 1)}
            chart.add("line", "axis" if tick == origin else "grid", x1=across(tick), x2=across(tick), **place)
        text = "0" if tick == 0 else render_signed(tick, digits=2) if render is render_signed else render(tick)
        chart.write(text, "quiet", x=across(tick), y=bottom + 14, anchor="middle")
    for row, bar in enumerate(rows):
        middle = row_height * row + (head + row_height) / 2
        if beside:
            chart.add("line", f"stem {bar.look}", x1=across(origin), x2=across(bar.value), y1=middle, y2=middle)
        _draw_interval(chart, bar, across, middle, look=f"interval {bar.look}")
        chart.add("circle", f"dot {bar.look}", cx=across(bar.value), cy=middle, r=5)
        if not bare:
            name_width, raised = (beside, 0) if beside else (WIDTH, 24)
            chart.write(cut_name(bar.label, width=name_width), x=0, y=middle - raised)
            chart.write(render(bar.value), f"strong text {bar.look}", x=WIDTH, y=middle, anchor="end")
    return chart.render()


def render_bands(
    name: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, title: str, names: Mapping[str, str]
) -> Markup:
    """Draw rows of marks in standard deviations from a mean, the band within 2 shaded; what is beyond 5 stands at 5.

    Args:
        rows: of each its name, and marks as (look, deviations).
        names: of the looks, for the legend, which stands first.
    """
    across, row_height, head = Scale(-5, 5, 10, WIDTH - 10), 46.0, 28.0
    bottom = head + row_height * len(rows)
    described = [
        f"{label}: " + ", ".join(f"{names[look]} {render_signed(z, digits=1)}" for look, z in marks)
        for label, marks in rows
    ]
    chart = Chart(name, height=bottom + 24, title=title, description="; ".join(described) + ".")
    chart.add("rect", "band", x=across(-2), y=head, width=across(2) - across(-2), height=bottom - head)
    chart.add("line", "axis", x1=across(0), x2=across(0), y1=head, y2=bottom)
    place = 6.0
    for look, shown in names.items():
        draw_mark(chart, look, place, 9)
        chart.write(shown, f"text {look}", x=place + 10, y=9)
        place += 26 + LETTER * len(shown)
    for row, (label, marks) in enumerate(rows):
        top = head + row_height * row
        chart.write(cut_name(label, width=WIDTH), "halo", x=0, y=top + 12)
        chart.add("line", "grid", x1=across(-5), x2=across(5), y1=top + 32, y2=top + 32)
        for look, z in marks:
            draw_mark(chart, look, across(max(-5.0, min(5.0, z))), top + 32)
    for tick in (-4, -2, 0, 2, 4):
        chart.write(
            f"{tick:+d}".replace("-", "\N{MINUS SIGN}") if tick else "0",
            "quiet",
            x=across(tick),
            y=bottom + 13,
            anchor="middle",
        )
    return chart.render()


def render_mark(look: str) -> Markup:
    """Render a mark alone, in the middle of 16 pixels."""
    chart = Chart("mark", height=16, title="", description="")
    draw_mark(chart, look, 8, 8)
    return Markup(tostring(chart.root[-1], encoding="unicode"))


def find_domain(values: Sequence[float]) -> tuple[float, float]:
    """Find a scale that holds all values and zero, with some air."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.06 * ((high - low) or 0.01)
    return low - air, high + air


def make_bar(label: str, interval: IntervalJson, look: str) -> Bar:
    """Make a row of an estimate with its interval."""
    return Bar(label, interval["estimate"], look, interval["low"], interval["high"])


def draw_mark(chart: Chart, look: str, x: float, y: float) -> None:
    """Draw a mark whose shape tells as much as its colour."""
    if look == "author":
        chart.add("rect", "mark author", x=x - 5, y=y - 5, width=10, height=10)
    elif look == "base":
        chart.add("path", "mark base", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z")
    elif look == "control":
        chart.add("path", "mark control", d=f"M{x:.1f} {y - 6:.1f}l6 11h-12z")
    else:
        chart.add("circle", f"mark {look}", cx=x, cy=y, r=5)


def _draw_interval(chart: Chart, bar: Bar, across: Scale, middle: float, *, look: str = "interval") -> None:
    if bar.low is not None and bar.high is not None:
        chart.add("line", look, x1=across(bar.low), x2=across(bar.high), y1=middle, y2=middle)


def _describe_curves(curves: Mapping[str, Sequence[Point]]) -> str:
    parts = []
    for label, points in curves.items():
        kept = find_kept_point(points)
        parts.append(
            f"{name_model(label, brief=True)}: "
            f"from {render_perplexity(points[0][1])} to {render_perplexity(points[-1][1])} "
            f"at step {points[-1][0]:,.0f}, kept at step {kept[0]:,.0f} with {render_perplexity(kept[1])}"
        )
    return "; ".join(parts) + "."


def _describe_rows(rows: Sequence[Bar], render: Callable[[float], str]) -> str:
    def describe(bar: Bar) -> str:
        if bar.low is None or bar.high is None:
            return f"{bar.label}: {render(bar.value)}"
        return f"{bar.label}: {render(bar.value)}, interval {render(bar.low)} to {render(bar.high)}"

    return "; ".join(map(describe, rows)) + "."


def render_percent(value: float) -> str:
    """Render a share with as many digits as it has meaning."""
    digits = 0 if value == 0 or value >= 0.1 else 1 if value >= 0.001 else 2
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"
