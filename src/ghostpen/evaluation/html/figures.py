"""The page's figures: what each shows in a sentence, its chart, and the same numbers as a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ghostpen.evaluation.html.charts import (
    Bar,
    Point,
    find_domain,
    make_bar,
    render_bars,
    render_curves,
    render_forest,
    render_percent,
)
from ghostpen.evaluation.html.svg import render_signed
from ghostpen.evaluation.report_shape import IntervalJson, Report, TextReport
from ghostpen.evaluation.specificity import ModelLabel, name_model
from ghostpen.training.curve import MetricsRow, find_kept_point, render_perplexity

SAVERS: tuple[ModelLabel, ...] = ("prompted", "control", "author")
MOST_PARTS = 12


@dataclass(frozen=True)
class Numbers:
    """A table: what the charts show, for those who read rather than look."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """One figure. `refusal` says why there are no numbers; then there is neither chart nor table."""

    title: str
    sentence: str
    chart: Markup | None = None
    numbers: Numbers | None = None
    refusal: str | None = None


def build_curves(
    metrics: Sequence[MetricsRow], control_metrics: Sequence[MetricsRow], *, author: str
) -> list[Figure]:
    """Build the perplexity by step on the author's and on other authors' validation text; none without rows."""
    figures = []
    texts = {"val": f"On unseen text by {author}", "contrast_val": "On unseen text by other authors"}
    found = {split: _read_curves(metrics, control_metrics, split) for split in texts}
    values = [value for curves in found.values() for points in curves.values() for _, value in points]
    for split, title in texts.items():
        if curves := found[split]:
            chart = render_curves(
                f"curve-{split.replace('_', '-')}",
                curves,
                title=f"Perplexity while training. {title}",
                limits=(min(values), max(values)),
            )
            figures.append(Figure(title, "", chart, _tabulate_curves(curves, title)))
    return figures


def build_specificity(report: Report) -> list[Figure]:
    """Build what each adapter saves against the base, and the differences that the verdict rests on."""
    author, gains = report["author"], report["specificity"]
    texts: tuple[tuple[str, TextReport], ...] = (
        (author, report["author_test"]),
        ("Other authors", report["others_test"]),
    )
    groups = [
        (
            name,
            [
                make_bar(name_model(label), text["models"][label]["gain_over_base"], label)
                for label in SAVERS
                if label in text["models"]
            ],
        )
        for name, text in texts
    ]
    forest = [
        make_bar(f"on {author}: G_A", gains["g_a"], "author"),
        make_bar("on other authors: G_O", gains["g_o"], "others"),
        make_bar("the difference: S = G_A \N{MINUS SIGN} G_O", gains["s"], "ink"),
    ]
    return [
        Figure(
            "Saved against the base model",
            f"Bits per byte of unseen text. {_explain_prompted(report)}"
            "Whatever both adapters save is learning prose.",
            render_bars("saved", groups, title="Bits per byte saved against the base model"),
            _tabulate_models(texts),
        ),
        Figure(
            "Adapter against control",
            "What the adapter saves beyond its control. Only what it saves more on the author (S) is the author’s.",
            render_forest("gains", forest, title="Bits per byte that the adapter saves beyond its control"),
            Numbers(
                "Bits per byte that the adapter saves beyond its control",
                ("", "estimate", f"{render_percent(gains['confidence_level'])} interval"),
                tuple((bar.label, render_signed(bar.value), render_bounds(bar)) for bar in forest),
            ),
        ),
    ]


def _explain_prompted(report: Report) -> str:
    if (prompt := report["prompt"]) is None:
        return ""
    passages = "a passage" if prompt["passages"] == 1 else f"{prompt['passages']} passages"
    return f"Prompted: the base with {passages} by the author before it. "


def build_parts(report: Report) -> list[Figure]:
    """Build the adapter's gain over its control by document, and by other author; the largest texts."""
    figures = []
    for name, title, text, look in (
        ("parts-author", f"By document of {report['author']}", report["author_test"], "author"),
        ("parts-others", "By other author", report["others_test"], "others"),
    ):
        parts = sorted(text["parts"], key=lambda part: -part["size_bytes"])
        shown = sorted(parts[:MOST_PARTS], key=lambda part: -part["gain"])
        every = [part["gain"] for both in (report["author_test"], report["others_test"]) for part in both["parts"]]
        sentence = (
            "" if len(parts) <= MOST_PARTS else f"The {MOST_PARTS} largest of {len(parts)}; all are in the table."
        )
        chart = render_forest(
            name,
            [Bar(part["name"], part["gain"], look) for part in shown],
            title=f"Bits per byte that the adapter saves beyond its control. {title}",
            domain=find_domain(every),
            beside=128,
        )
        rows = tuple(
            (part["name"], f"{part['sections']:,}", f"{part['size_bytes']:,}", render_signed(part["gain"]))
            for part in parts
        )
        numbers = Numbers("Gain over the control, in bits per byte", ("", "sections", "bytes", "gain"), rows)
        figures.append(Figure(title, sentence, chart, numbers))
    return figures


def build_summary(report: Report) -> Markup:
    """Draw S with its interval, for the page's head."""
    gains = report["specificity"]
    ends = [
        end
        for gain in (gains["s"], gains["g_a"], gains["g_o"])
        for end in (gain["estimate"], gain["low"], gain["high"])
        if end is not None
    ]
    s = make_bar("S", gains["s"], "ink")
    title = f"Specificity S of the adapter for {report['author']}"
    return render_forest("summary", [s], title=title, domain=find_domain(ends), bare=True)


def render_numbers(report: Report) -> dict[str, str]:
    """Render S, its interval, and what it is the difference of, for a sentence."""
    gains = report["specificity"]
    bounds = render_bounds(make_bar("", gains["s"], ""))
    level = render_percent(gains["confidence_level"])
    return {
        "value": render_signed(gains["s"]["estimate"]),
        "bounds": f"{level} interval {bounds}"
        if gains["s"]["low"] is not None
        else "too few sections for an interval",
        "g_a": render_signed(gains["g_a"]["estimate"]),
        "g_o": render_signed(gains["g_o"]["estimate"]),
    }


def render_bounds(bar: Bar) -> str:
    """Render an interval as +0.051 to +0.063."""
    if bar.low is None or bar.high is None:
        return "too few sections"
    return f"{render_signed(bar.low)} to {render_signed(bar.high)}"


def render_estimate(interval: IntervalJson) -> str:
    """Render an estimate with its interval, short."""
    bar = make_bar("", interval, "")
    return f"{render_signed(bar.value)} ({render_bounds(bar)})"


def tabulate_bars(
    caption: str, groups: Sequence[tuple[str, Sequence[Bar]]], render: Callable[[float], str]
) -> Numbers:
    """Make the table of a chart of bars."""
    rows = [
        (
            f"{heading}: {bar.label}" if heading else bar.label,
            render(bar.value),
            "\N{EN DASH}" if bar.low is None or bar.high is None else f"{render(bar.low)} to {render(bar.high)}",
        )
        for heading, bars in groups
        for bar in bars
    ]
    return Numbers(caption, ("", "value", "95 % interval"), tuple(rows))


def _read_curves(
    metrics: Sequence[MetricsRow], control_metrics: Sequence[MetricsRow], split: str
) -> dict[str, list[Point]]:
    """Read a split's points (step, perplexity) of both runs; of a step that was written twice the later counts."""
    curves = {}
    for label, rows in (("author", metrics), ("control", control_metrics)):
        latest = {row["step"]: row["perplexity"] for row in rows if row["split"] == split}
        if latest:
            curves[label] = sorted(latest.items())
    return curves


def _tabulate_curves(curves: Mapping[str, Sequence[Point]], title: str) -> Numbers:
    by_label = {label: dict(points) for label, points in curves.items()}
    steps = sorted({step for points in by_label.values() for step in points})
    kept = {label: find_kept_point(points)[0] for label, points in curves.items()}

    def render(label: str, step: float) -> str:
        value = by_label[label].get(step)
        if value is None:
            return "\N{EN DASH}"
        return render_perplexity(value) + (" (kept)" if kept[label] == step else "")

    return Numbers(
        f"Perplexity by step. {title}",
        ("step", *(name_model(label, brief=True) for label in curves)),
        tuple((f"{step:,.0f}", *(render(label, step) for label in curves)) for step in steps),
    )


def _tabulate_models(texts: Sequence[tuple[str, TextReport]]) -> Numbers:
    rows = [
        (
            f"{name}: {name_model(label)}",
            f"{model['bits_per_byte']:.3f}",
            render_perplexity(model["perplexity"]),
            "\N{EN DASH}" if label == "base" else render_estimate(model["gain_over_base"]),
        )
        for name, text in texts
        for label, model in text["models"].items()
    ]
    return Numbers("Each model on unseen text", ("", "bits per byte", "perplexity", "saved"), tuple(rows))
