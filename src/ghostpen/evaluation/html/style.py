"""The page's part about style: cards, each a metric with real text's value beside it, and the map of all texts.

A metric that the report refuses is a card with its sentence.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from markupsafe import Markup

from ghostpen.evaluation.html.charts import (
    Bar,
    render_bands,
    render_bars,
    render_forest,
    render_mark,
    render_percent,
)
from ghostpen.evaluation.html.figures import Figure, Numbers, tabulate_bars
from ghostpen.evaluation.html.map_chart import render_map
from ghostpen.evaluation.specificity import name_model
from ghostpen.evaluation.style_shape import (
    C2stJson,
    DeltaJson,
    MapJson,
    MapPoint,
    Refusal,
    RegularityJson,
    RhythmJson,
    StyleReport,
    VerifierJson,
)

REAL = "real text"

T = TypeVar("T")


def build_map(style: StyleReport, *, author: str) -> Figure:
    """Build the map: texts that stand together are alike in what its two axes measure."""
    return _build("Style map", style["map"], _build_map, author)


def render_marks(style: StyleReport) -> dict[str, Markup]:
    """Render the marks of the map that a legend explains, each for a drawing of 16 pixels."""
    found = style["map"]
    points = [] if "refusal" in found else found["points"]
    looks = dict.fromkeys("others" if point["who"] == "other" else point["who"] for point in points)
    return {look: render_mark(look) for look in looks}


def build_cards(style: StyleReport, *, author: str) -> list[Figure]:
    """Build a card for each metric, in the order in which they say most."""
    return [
        _build("Taken for the author", style["verifier"], _build_verifier, author),
        _build("Told apart from real text", style["c2st"], _build_c2st, author),
        _build("Rhythm and variety", style["rhythm"], _build_rhythm, author),
        _build("Distance in common words", style["delta"], _build_delta, author),
        _build("As uneven as real text", style["regularity"], _build_regularity, author),
    ]


def _build(title: str, found: T | Refusal, build: Callable[[T, str], Figure], author: str) -> Figure:
    measured = cast(Mapping[str, Any], found)
    return (
        Figure(title, "", refusal=render_sentence(measured["refusal"]))
        if "refusal" in measured
        else build(cast(T, found), author)
    )


def _build_map(found: MapJson, author: str) -> Figure:
    rows = tuple(
        (_name_point(point, author), point["name"], f"{point['x']:.2f}", f"{point['y']:.3g}")
        for point in found["points"]
    )
    return Figure(
        "Style map",
        f"Each mark is {found['pool_words']:,} words. The nearer the adapter’s marks are to the real {author}, and "
        "the farther from other authors, the better.",
        render_map(found, author=author),
        Numbers("Places in the map", ("", "text", found["x_axis"], found["y_axis"]), rows),
    )


def _build_verifier(found: VerifierJson, author: str) -> Figure:
    real = found["real"]
    scale = [Bar("others", real["false_accepts"], "others"), Bar(REAL, real["accepted"], "real")]
    groups: list[tuple[str, list[Bar]]] = [("Real texts, for scale", scale)]
    for heading, measured in (
        ("Going on with a text", {label: kinds["continuations"] for label, kinds in found["models"].items()}),
        ("On new topics", {label: kinds["topics"] for label, kinds in found["models"].items()}),
    ):
        bars = [
            Bar(_short(label), each["accepted"], label, each["low"], each["high"])
            for label, each in measured.items()
            if each is not None
        ]
        groups += [(heading, bars)] if bars else []
    title = "Share taken for the author’s"
    return Figure(
        "Taken for the author",
        f"Share of texts that a verifier takes for {author}’s. It sees the {found['kept_words']:,} most common words "
        f"and punctuation, in pieces of {found['piece_words']:,} words; topics, and nearly all names, are masked.",
        render_bars("verifier", groups, title=title, render=render_percent, label_width=84),
        tabulate_bars(title, groups, render_percent),
    )


def _build_c2st(found: C2stJson, author: str) -> Figure:
    shown = [
        ("same works", found["floor"], "real"),
        ("other works", found["other_work"], "real"),
        ("other authors", found["others"], "others"),
        *((_short(label), each, label) for label, each in found["models"].items() if "refusal" not in each),
    ]
    bars = [Bar(label, each["auc"], look, each["low"], each["high"]) for label, each, look in shown]
    ends = [end for bar in bars for end in (bar.value, bar.low) if end is not None]
    return Figure(
        "Told apart from real text",
        f"How well a classifier tells a text from what {author} wrote in its place (AUC): 0.5 is not at all, 1 "
        "always. Lower is better; real text of the same works, and of others by the author, is the scale."
        + _list_refusals(found["models"]),
        render_forest(
            "c2st",
            bars,
            title="AUC of a classifier",
            domain=(min(0.5, *ends), 1.0),
            beside=124,
            render=_render_plain,
            origin=0.5,
            ticks=(0.5, 0.75, 1.0),
        ),
        tabulate_bars("AUC of a classifier", [("", bars)], _render_plain),
    )


def _build_delta(found: DeltaJson, author: str) -> Figure:
    measured = {label: each for label, each in found["models"].items() if "refusal" not in each}
    groups = [
        (
            f"To {author}",
            [
                Bar("real, at most", found["real"]["own_95"], "real"),
                *(Bar(_short(label), each["own"], label) for label, each in measured.items()),
            ],
        ),
        (
            "To the nearest other author",
            [Bar(_short(label), each["nearest"], label) for label, each in measured.items()],
        ),
    ]
    return Figure(
        "Distance in common words",
        f"Cosine Delta of {found['pool_words']:,} words: small is near. 95 % of {author}’s own unseen text is within "
        f"{_render_plain(found['real']['own_95'])}." + _list_refusals(found["models"]),
        render_bars("delta", groups, title="Cosine Delta", render=_render_plain, label_width=104),
        tabulate_bars("Cosine Delta", groups, _render_plain),
    )


def _build_rhythm(found: RhythmJson, author: str) -> Figure:
    labels = list(found["blocks"])
    rows = [
        (
            measure["label"],
            [
                ("others", measure["others"]["z"]),
                ("real", measure["held_out"]["z"]),
                *((label, each["z"]) for label, each in measure["models"].items()),
            ],
        )
        for measure in found["measures"]
    ]
    table = tuple(
        (
            measure["label"],
            *(f"{each['value']:.3g}" for each in (measure["held_out"], measure["others"])),
            *(f"{measure['models'][label]['value']:.3g}" for label in labels),
        )
        for measure in found["measures"]
    )
    left_out = f" Left out, because real text does not keep to it: {', '.join(found['unreliable'])}."
    return Figure(
        "Rhythm and variety",
        f"How far each is from {author}’s mean, in {author}’s own standard deviations; within 2 (shaded) is as "
        f"{author} varies. Blocks of {found['block_words']:,} words." + (left_out if found["unreliable"] else ""),
        render_bands(
            "rhythm",
            rows,
            title="Deviation from the author’s mean",
            names={"real": "real", "others": "others", **{label: _short(label) for label in labels}},
        ),
        Numbers("Rhythm and variety", ("", REAL, "others", *map(_short, labels)), table),
    )


def _build_regularity(found: RegularityJson, author: str) -> Figure:
    measured = {label: each for label, each in found["models"].items() if "refusal" not in each}
    bars = [
        Bar(REAL, found["deviation"], "real"),
        *(Bar(_short(label), each["deviation"], label) for label, each in measured.items()),
    ]
    title = "Deviation from text to text"
    return Figure(
        "As uneven as real text",
        f"How much the control’s surprise (bits per byte) differs from text to text: a machine’s text is often too "
        f"even. Over {found['texts']:,} texts by {author}." + _list_refusals(found["models"]),
        render_bars("regularity", [(title, bars)], title=title, render=_render_plain, label_width=84),
        tabulate_bars(title, [("", bars)], _render_plain),
    )


def _list_refusals(models: Mapping[Any, Mapping[str, Any]]) -> str:
    """Say of each model without numbers why."""
    return "".join(
        f" {_short(label).capitalize()}: {end_sentence(each['refusal'])}"
        for label, each in models.items()
        if "refusal" in each
    )


def render_sentence(text: str) -> str:
    """Give a sentence its capital and its full stop."""
    return end_sentence(text[:1].upper() + text[1:])


def end_sentence(text: str) -> str:
    """Give a sentence its full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _short(label: str) -> str:
    return name_model(label, brief=True)


def _name_point(point: MapPoint, author: str) -> str:
    return {"real": f"real {author}", "other": "another author"}.get(point["who"]) or name_model(point["who"])


def _render_plain(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
