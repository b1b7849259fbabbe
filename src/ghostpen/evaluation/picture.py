"""The README's picture: a run's perplexity curve, and beside it the proof that the gain is the author's.

Owns how the gains look, and computes none that a report claims.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.evaluation.report_shape import IntervalJson, Report, TextReport
from ghostpen.evaluation.specificity import ModelLabel, name_model
from ghostpen.figure import AUTHOR, CONTROL, INK, MUTED, PAPER, open_figure, shorten, write_heading
from ghostpen.training.curve import MetricsRow, draw_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS: dict[ModelLabel, str] = {"control": CONTROL, "author": AUTHOR}
ROW_LABEL_POINTS = 44


def write_specificity_picture(
    report: Report,
    path: Path,
    *,
    metrics: Sequence[MetricsRow],
    control_metrics: Sequence[MetricsRow] = (),
) -> None:
    """Draw the curve, and beside it what each adapter saves on the author's text and on other authors'.

    The right half shows savings against the base with paired intervals, not bits per byte with their own:
    chapters differ from each other far more than models do, and such bars would hide a clear difference.

    Args:
        report: the test's report.
        path: the PNG.
        metrics: the author run's rows of metrics.jsonl.
        control_metrics: the control run's rows.

    Raises:
        DataError: there is no row to draw.
        OSError: the folder is missing or cannot be written to.
    """
    author, s = report["author"], report["specificity"]["s"]
    with open_figure(path) as figure:
        write_heading(figure, _render_headline(report), f"specificity S = {_render_bounds(s)}")
        left = figure.add_axes((0.05, 0.13, 0.27, 0.61))
        _write_panel_title(left, "Perplexity, lower is better", shift=-19)
        draw_curve(left, metrics, author=shorten(author, 14), control_metrics=control_metrics, x_ticks=3)
        right = figure.add_axes((0.675, 0.13, 0.31, 0.61))
        _write_panel_title(right, "Bits per byte saved on unseen text", shift=-ROW_LABEL_POINTS)
        _draw_gains(right, report)


def _write_panel_title(axes: "Axes", title: str, *, shift: float) -> None:
    at_corner: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(title, (0, 1), xytext=(shift, 12), fontweight="bold", **at_corner)


def _draw_gains(axes: "Axes", report: Report) -> None:
    """Draw two groups of two bars: what control and author's adapter save on each text, against the base."""
    author, gains = shorten(report["author"], 18), report["specificity"]
    groups: tuple[tuple[float, str, str, TextReport, IntervalJson], ...] = (
        (0.0, author, "G$_A$", report["author_test"], gains["g_a"]),
        (3.2, "other authors", "G$_O$", report["others_test"], gains["g_o"]),
    )
    axes.set_xlim(*_find_reach(report))
    axes.set_ylim(5.5, -0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for top, name, symbol, text, gain in groups:
        _write_row(axes, name, height=top, fontweight="bold")
        axes.annotate(
            f"{symbol} = {_render_signed(gain['estimate'])}",
            (1, top),
            xycoords=("axes fraction", "data"),
            va="center",
            ha="right",
        )
        for row, (label, color) in enumerate(BARS.items(), start=1):
            height = top + 0.85 * row
            _write_row(axes, name_model(label, brief=True), height=height, color=MUTED)
            _draw_bar(axes, text["models"][label]["gain_over_base"], height=height, color=color)
        axes.plot([0, 0], [top + 0.45, top + 2.1], color=INK, linewidth=0.8)
    for height, words in (
        (6.0, "against the base model, with 95 % interval"),
        (6.5, "S = G$_A$ \N{MINUS SIGN} G$_O$;  G: adapter over control"),
    ):
        _write_row(axes, words, height=height, color=MUTED)


def _write_row(axes: "Axes", name: str, *, height: float, **look: Any) -> None:
    """Write a name into the column at the left of the bars."""
    at_left: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(name, (0, height), xytext=(-ROW_LABEL_POINTS, 0), va="center", **at_left, **look)


def _draw_bar(axes: "Axes", saved: IntervalJson, *, height: float, color: str) -> None:
    axes.barh(height, saved["estimate"], height=0.52, color=color, linewidth=0)
    if saved["low"] is not None and saved["high"] is not None:
        for stroke, width in ((PAPER, 2.8), (INK, 1.4)):
            bounds = [saved["low"], saved["high"]]
            axes.plot(bounds, [height, height], color=stroke, linewidth=width, solid_capstyle="butt")
    axes.annotate(
        _render_signed(saved["estimate"]),
        (max(saved["estimate"], saved["high"] or 0.0, 0.0), height),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontweight="bold",
    )


def _find_reach(report: Report) -> tuple[float, float]:
    """Find the x limits that hold every bar, every interval and the numbers at their right."""
    bounds = [0.0]
    for text in (report["author_test"], report["others_test"]):
        for label in BARS:
            saved = text["models"][label]["gain_over_base"]
            bounds += [bound for bound in (saved["estimate"], saved["low"], saved["high"]) if bound is not None]
    low, high = min(bounds), max(bounds)
    width = (high - low) or 0.001
    return low - 0.03 * width, high + 0.42 * width


def _render_headline(report: Report) -> str:
    author = shorten(report["author"], 28)
    match report["finding"]:
        case "specific":
            return f"What it learned is {author}, not just prose"
        case "unclear" | "others_got_worse":
            return f"No evidence yet that it learned {author}"
        case "less_than_others":
            return f"It learned less of {author} than of other authors"
        case "too_little_text":
            return f"Too little text to say that it learned {author}"


def _render_bounds(interval: IntervalJson) -> str:
    estimate = f"{_render_signed(interval['estimate'])} bits per byte"
    if interval["low"] is None or interval["high"] is None:
        return f"{estimate}, too few sections for an interval"
    bounds = f"{_render_signed(interval['low'])} to {_render_signed(interval['high'])}"
    return f"{estimate} (95 % interval {bounds})"


def _render_signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
