"""The perplexity curve of a run: train, author-validation and contrast-validation against tokens seen.

Owns which points are drawn and where their labels go; computes no number that a report claims.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.errors import DataError
from ghostpen.figure import (
    AUTHOR,
    CONTROL,
    DPI,
    OTHERS,
    RULE,
    TRAIN,
    TRAIN_TEXT,
    open_figure,
    shorten,
    write_heading,
)
from ghostpen.score import Score, sum_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MetricsRow = Mapping[str, Any]
"""One row of metrics.jsonl."""

TRAIN_BINS = 20
LABEL_GAP_POINTS = 12.5


def write_perplexity_curve(
    metrics: Sequence[MetricsRow],
    path: Path,
    *,
    author: str,
    control_metrics: Sequence[MetricsRow] = (),
) -> None:
    """Draw the perplexity of train, author-validation and contrast-validation against tokens seen.

    Args:
        metrics: the run's rows of metrics.jsonl.
        path: the PNG.
        author: the author's name, as it is to be printed.
        control_metrics: the control run's rows; its author-validation is drawn dashed.

    Raises:
        DataError: there is no row to draw.
        OSError: the folder is missing or cannot be written to.
    """
    with open_figure(path) as figure:
        title = f"Perplexity while learning {shorten(author, 28)}"
        write_heading(figure, title, "lower is better; log scale; validation text is never trained on")
        axes = figure.add_axes((0.05, 0.12, 0.67, 0.70))
        draw_curve(axes, metrics, author=shorten(author, 20), control_metrics=control_metrics, x_ticks=5)


def plan_curves(metrics: Sequence[MetricsRow]) -> dict[str, list[tuple[float, float]]]:
    """Turn metrics rows into points (tokens seen, perplexity) for each split that has rows.

    A resumed run writes some steps twice: the later row counts. Train rows are pooled into at most 20 points,
    by their summed loss, because single batches are mostly noise.

    Raises:
        DataError: there is no row.
    """
    latest = {(row["split"], row["step"]): row for row in metrics}
    curves: dict[str, list[tuple[float, float]]] = {}
    for split in ("train", "contrast_val", "val"):
        rows = sorted((row for row in latest.values() if row["split"] == split), key=lambda row: row["step"])
        if not rows:
            continue
        if split == "train":
            curves[split] = [_pool_rows(chunk) for chunk in _cut_into_bins(rows, bins=TRAIN_BINS)]
        else:
            curves[split] = [(row["tokens_seen"], row["perplexity"]) for row in rows]
    if not curves:
        raise DataError("no metrics to draw; metrics.jsonl has no row of train, val or contrast_val")
    return curves


def find_kept_point(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Find the lowest of a validation curve's points after the untrained one: the adapter that a run keeps."""
    return min(points[1:] or points, key=lambda point: point[1])


def plan_label_heights(heights: Sequence[float], *, gap: float) -> list[float]:
    """Push labels apart until neighbours are `gap` away from each other, moving each as little as it takes.

    Returns the new heights in the order of the old ones; touching labels are centred on their mean.
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    blocks: list[list[int]] = []
    starts: list[float] = []
    for index in order:
        blocks.append([index])
        starts.append(heights[index])
        while len(blocks) > 1 and starts[-1] < starts[-2] + gap * len(blocks[-2]) - 1e-9:
            tail = blocks.pop()
            starts.pop()
            blocks[-1].extend(tail)
            wanted = [heights[member] - gap * place for place, member in enumerate(blocks[-1])]
            starts[-1] = sum(wanted) / len(wanted)
    placed = [0.0] * len(heights)
    for block, start in zip(blocks, starts, strict=True):
        for place, member in enumerate(block):
            placed[member] = start + gap * place
    return placed


def plan_log_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers between two perplexities: evenly spaced, or 10, 20, 50 over a wide range."""
    powers = range(math.floor(math.log10(low)) - 3, math.ceil(math.log10(high)) + 1)
    rounds = [10.0**power * factor for power in powers for factor in (1, 2, 5)]
    if high / low > 5:
        ticks = [value for value in rounds if low <= value <= high]
        return ticks if len(ticks) <= 7 else ticks[:: math.ceil(len(ticks) / 7)]
    steps = (step for step in reversed(rounds) if math.floor(high / step) - math.ceil(low / step) >= 2)
    step = next(steps)
    return [multiple * step for multiple in range(math.ceil(low / step), math.floor(high / step) + 1)]


def render_perplexity(value: float) -> str:
    """Render with three digits: 9.42, 28.8, 1,234."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def render_count(count: float, _position: int | None = None) -> str:
    """Render 0, 800, 200k, 1.5M: an axis label for a number of tokens."""
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{suffix}"
    return f"{count:g}"


def _cut_into_bins(rows: Sequence[MetricsRow], *, bins: int) -> Iterator[Sequence[MetricsRow]]:
    size = math.ceil(len(rows) / bins)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _pool_rows(rows: Sequence[MetricsRow]) -> tuple[float, float]:
    pooled = sum_scores(Score(row["loss_nats"], row["tokens"], 0) for row in rows)
    return sum(row["tokens_seen"] for row in rows) / len(rows), pooled.perplexity


def draw_curve(
    axes: "Axes",
    metrics: Sequence[MetricsRow],
    *,
    author: str,
    control_metrics: Sequence[MetricsRow],
    x_ticks: int,
) -> None:
    """Draw every split's line, named at its right end, and the control's author-validation dashed."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    curves = plan_curves(metrics)
    looks: dict[str, tuple[str, str, dict[str, Any]]] = {
        "train": ("training text", TRAIN_TEXT, {"color": TRAIN, "linewidth": 1.2}),
        "contrast_val": ("other authors", OTHERS, {"color": OTHERS, "linewidth": 1.8}),
        "val": (author, AUTHOR, {"color": AUTHOR, "linewidth": 2.4}),
        "control": (
            "same text, control",
            CONTROL,
            {"color": CONTROL, "linewidth": 1.6, "linestyle": (0, (3, 2))},
        ),
    }
    if control_metrics and "val" in (control := plan_curves(control_metrics)):
        curves["control"] = control["val"]
    for split, points in curves.items():
        look = looks[split][2]
        axes.plot(*zip(*points, strict=True), solid_joinstyle="round", **look)
        axes.plot(*points[-1], "o", color=look["color"], markersize=4.5, markeredgewidth=0, clip_on=False)
        if split in ("val", "control") and (kept := find_kept_point(points)) != points[-1]:
            axes.plot(*kept, "o", color=look["color"], markersize=7, markerfacecolor="white", markeredgewidth=1.6)
            axes.annotate(
                "kept",
                kept,
                xytext=(0, -13 if split == "val" else 13),  # the control's line is the upper one
                textcoords="offset points",
                ha="center",
                va="center",
                color=look["color"],
                annotation_clip=False,
            )

    values = [value for points in curves.values() for _, value in points]
    low, high = min(values) / 1.02, max(values) * 1.02
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks(plan_log_ticks(low, high))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlim(0, max(1, *(points[-1][0] for points in curves.values())))
    axes.xaxis.set_major_locator(MaxNLocator(x_ticks, steps=[1, 2, 4, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(render_count))
    axes.set_xlabel("tokens seen")
    _write_line_labels(axes, [(points[-1], *looks[split][:2]) for split, points in curves.items()])


def _write_line_labels(axes: "Axes", labels: Sequence[tuple[tuple[float, float], str, str]]) -> None:
    """Write each line's last value and name at its right end, pushed apart where they would touch."""
    pixels_per_point = DPI / 72
    ends = [axes.transData.transform(point)[1] / pixels_per_point for point, _, _ in labels]
    placed = plan_label_heights(ends, gap=LABEL_GAP_POINTS)
    edge = axes.get_xlim()[1]
    for (point, text, color), end, height in zip(labels, ends, placed, strict=True):
        for shift, words, weight in ((9, render_perplexity(point[1]), "bold"), (36, text, "normal")):
            axes.annotate(
                words,
                (edge, point[1]),
                xytext=(shift, height - end),
                textcoords="offset points",
                va="center",
                color=color,
                fontweight=weight,
                annotation_clip=False,
            )
