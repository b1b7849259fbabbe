"""The page's part about style: cards, each a metric with real text's value beside it, and the map of all texts.

A metric that the report refuses is a card with its sentence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ghostpen.evaluation.html.charts import Bar, render_bands, render_bars, render_forest, render_mark, render_percent
from ghostpen.evaluation.html.figures import Figure, Numbers
from ghostpen.evaluation.html.style_map import render_map

Style = Mapping[str, Any]
"""As `style_report.StyleReport`."""

MODELS = {"base": "base model", "control": "control", "author": "adapter"}
REAL = "real text"


def build_map(style: Style, *, author: str) -> Figure:
    """Build the map: texts that stand together have alike habits of common words."""
    found = style["map"]
    if "refusal" in found:
        return Figure("Style map", "", refusal=found["refusal"])
    rows = tuple(
        (_name_point(point, author), point["name"], f"{point['x']:.2f}", f"{point['y']:.2f}")
        for point in found["points"]
    )
    return Figure(
        "Style map",
        f"Each mark is {found['pool_words']:,} words. The nearer the adapter’s marks are to the "
        f"real {author}, and the farther from other authors, the better.",
        render_map(found, author=author),
        Numbers("Places in the map", ("", "text", found["x_axis"], found["y_axis"]), rows),
    )


def render_marks(style: Style) -> dict[str, Markup]:
    """Render the marks of the map that a legend explains, each for a drawing of 16 pixels."""
    points = style["map"].get("points", ())
    looks = dict.fromkeys("others" if point["who"] == "other" else point["who"] for point in points)
    return {look: render_mark(look) for look in looks}


def build_cards(style: Style, *, author: str) -> list[Figure]:
    """Build a card for each metric, in the order in which they say most."""
    builders: Sequence[tuple[str, str, Callable[[Style, str], Figure]]] = (
        ("verifier", "Taken for the author", _build_verifier),
        ("c2st", "Told apart from real text", _build_c2st),
        ("delta", "Distance in common words", _build_delta),
        ("rhythm", "Rhythm and variety", _build_rhythm),
        ("regularity", "As uneven as real text", _build_regularity),
    )
    return [
        Figure(title, "", refusal=style[key]["refusal"]) if "refusal" in style[key] else build(style[key], author)
        for key, title, build in builders
    ]


def _build_verifier(found: Style, author: str) -> Figure:
    real = found["real"]
    kinds = (("continuations", "Going on with a text"), ("topics", "On new topics"))
    groups: list[tuple[str, list[Bar]]] = [
        (
            "Real texts, for scale",
            [Bar("others", real["false_accepts"], "others"), Bar(REAL, real["accepted"], "real")],
        )
    ]
    for kind, heading in kinds:
        measured = {label: by_kind[kind] for label, by_kind in found["models"].items() if by_kind[kind] is not None}
        if measured:
            groups.append(
                (
                    heading,
                    [
                        Bar(_short(label), each["accepted"], label, each["low"], each["high"])
                        for label, each in measured.items()
                    ],
                )
            )
    return Figure(
        "Taken for the author",
        f"Share of texts that a verifier takes for {author}’s. It sees the {found['kept_words']} "
        f"most common words and punctuation, in pieces of {found['piece_words']} words, no names and no topics.",
        render_bars("verifier", groups, title="Share taken for the author's", render=render_percent, label_width=84),
        _tabulate_bars("Share taken for the author's", groups, render_percent),
    )


def _build_c2st(found: Style, author: str) -> Figure:
    shown = [
        ("real, same works", found["floor"], "real"),
        ("real, other works", found["other_work"], "real"),
        ("other authors", found["others"], "others"),
        *((_short(label), each["auc"], label) for label, each in found["models"].items() if "refusal" not in each),
    ]
    bars = [Bar(label, each["estimate"], look, each["low"], each["high"]) for label, each, look in shown]
    ends = [end for bar in bars for end in (bar.value, bar.low) if end is not None]
    return Figure(
        "Told apart from real text",
        f"How well a classifier tells a text from what {author} wrote in its place (AUC): 0.5 is not at all, 1 "
        "always. Lower is better; real text of the same works is the least there is."
        + _list_refusals(found["models"]),
        render_forest(
            "c2st",
            bars,
            title="AUC of a classifier",
            domain=(min(0.5, *ends), 1.0),
            beside=124,
            render=_render_auc,
            origin=0.5,
        ),
        _tabulate_bars("AUC of a classifier", [("", bars)], _render_auc),
    )


def _build_delta(found: Style, author: str) -> Figure:
    real = found["real"]
    groups = [(f"To {author}", [Bar("real, at most", real["own_95"], "real")])]
    measured = {label: each for label, each in found["models"].items() if "refusal" not in each}
    groups[0][1].extend(Bar(_short(label), each["own"], label) for label, each in measured.items())
    if measured:
        groups.append(
            (
                "To the nearest other author",
                [Bar(_short(label), each["nearest"], label) for label, each in measured.items()],
            )
        )
    return Figure(
        "Distance in common words",
        f"Cosine Delta of {found['pool_words']:,} words: small is near. 95 % of {author}’s own unseen "
        f"text is within {real['own_95']:.2f}." + _list_refusals(found["models"]),
        render_bars("delta", groups, title="Cosine Delta", render=_render_plain, label_width=104),
        _tabulate_bars("Cosine Delta", groups, _render_plain),
    )


def _build_rhythm(found: Style, author: str) -> Figure:
    rows = []
    table = []
    for measure in found["measures"]:
        marks = [("others", measure["others"]["z"]), ("real", measure["held_out"]["z"])]
        marks += [(label, each["z"]) for label, each in measure["models"].items()]
        rows.append((measure["label"], marks))
        values = [each["value"] for each in (measure["held_out"], measure["others"], *measure["models"].values())]
        table.append((measure["label"], *(f"{value:.3g}" for value in values)))
    names = list(found["measures"][0]["models"]) if found["measures"] else []
    return Figure(
        "Rhythm and variety",
        f"How far each is from {author}’s mean, in {author}’s own standard "
        f"deviations; within 2 (shaded) is as {author} varies. Blocks of {found['block_words']:,} words.",
        render_bands(
            "rhythm",
            rows,
            title="Deviation from the author's mean",
            names={"real": REAL, "others": "others", **{n: _short(n) for n in names}},
        ),
        Numbers("Rhythm and variety", ("", REAL, "others", *(_short(name) for name in names)), tuple(table)),
    )


def _build_regularity(found: Style, author: str) -> Figure:
    measured = {label: each for label, each in found["models"].items() if "refusal" not in each}
    bars = [
        Bar(REAL, found["deviation"], "real"),
        *(Bar(_short(label), each["deviation"], label) for label, each in measured.items()),
    ]
    groups = [("Deviation from text to text", bars)]
    return Figure(
        "As uneven as real text",
        "How much the control’s surprise (bits per byte) differs from text to text: a machine’s "
        f"text is often too even. Over {found['texts']} real texts." + _list_refusals(found["models"]),
        render_bars(
            "regularity", groups, title="Standard deviation of bits per byte", render=_render_plain, label_width=84
        ),
        _tabulate_bars("Standard deviation of bits per byte", groups, _render_plain),
    )


def _tabulate_bars(
    caption: str, groups: Sequence[tuple[str, Sequence[Bar]]], render: Callable[[float], str]
) -> Numbers:
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


def _list_refusals(models: Mapping[str, Any]) -> str:
    """Say of each model without numbers why."""
    return "".join(
        f" {_short(label).capitalize()}: {each['refusal']}" for label, each in models.items() if "refusal" in each
    )


def _short(label: str) -> str:
    return {"base": "base", "control": "control", "author": "adapter"}[label]


def _name_point(point: Mapping[str, Any], author: str) -> str:
    return {"real": f"real {author}", "other": "another author"}.get(point["who"]) or MODELS[point["who"]]


def _render_auc(value: float) -> str:
    return f"{value:.2f}"


def _render_plain(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
