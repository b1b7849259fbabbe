"""The table about style that `ghostpen test` prints: each model beside real text, a row a metric.

Owns how numbers are put, and computes none. What could not be measured is said below, with the reason.
"""

from collections.abc import Iterator, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from ghostpen.evaluation.rhythm import MAX_HELD_OUT_Z
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel, name_model
from ghostpen.evaluation.style_shape import (
    AcceptedJson,
    C2stJson,
    DeltaJson,
    RegularityJson,
    RhythmJson,
    StyleReport,
    VerifierJson,
)

MIN_WIDTH = 72
"""Where little could be measured, the table is narrow, and the reasons below it would be, too."""

NONE = "\N{EN DASH}"
Row = tuple[str, ...]


def render_style_table(report: StyleReport) -> Table:
    """Render the table; it fits into 80 columns."""
    table = Table(
        title=escape(f"What was written, beside {report['author']}'s own unseen text"),
        caption=escape("\n".join(_render_notes(report))),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        min_width=MIN_WIDTH,
    )
    models = [label for label in MODEL_LABELS if label in report["texts"]]
    table.add_column("")
    for heading in ("own", *(name_model(label, brief=True) for label in models)):
        table.add_column(heading, justify="right")
    for row in _render_rows(report, models):
        table.add_row(*map(escape, row))
    return table


def _render_rows(report: StyleReport, models: Sequence[ModelLabel]) -> Iterator[Row]:
    if "refusal" not in report["verifier"]:
        yield from _render_verifier(report["verifier"], models)
    if "refusal" not in report["c2st"]:
        yield from _render_c2st(report["c2st"], models)
    if "refusal" not in report["delta"]:
        yield from _render_delta(report["delta"], models)
    if "refusal" not in report["rhythm"]:
        yield from _render_rhythm(report["rhythm"], models)
    if "refusal" not in report["regularity"]:
        yield from _render_regularity(report["regularity"], models)


def _render_verifier(part: VerifierJson, models: Sequence[ModelLabel]) -> Iterator[Row]:
    by_kind: dict[str, list[AcceptedJson | None]] = {
        "continuations": [part["models"][label]["continuations"] for label in models],
        "on new topics": [part["models"][label]["topics"] for label in models],
    }
    for name, found in by_kind.items():
        if any(found):
            shares = (f"{one['accepted']:.0%}" if one else NONE for one in found)
            yield f"taken for the author's, {name}", f"{part['real']['accepted']:.0%}", *shares
            bounds = (f"{100 * one['low']:.0f}-{100 * one['high']:.0f}" if one else NONE for one in found)
            yield "  95 % interval", "", *bounds
        normalised = [one["normalised"] if one else None for one in found]
        if any(share is not None for share in normalised):
            yield (
                "  from base (0) to own (1)",
                "1",
                *(NONE if share is None else f"{share:.2f}" for share in normalised),
            )


def _render_c2st(part: C2stJson, models: Sequence[ModelLabel]) -> Iterator[Row]:
    found = [part["models"][label] for label in models]
    aucs = (NONE if "refusal" in one else f"{one['auc']:.2f}" for one in found)
    yield "told from the author's there (AUC)", f"{part['floor']['auc']:.2f}", *aucs


def _render_delta(part: DeltaJson, models: Sequence[ModelLabel]) -> Iterator[Row]:
    found = [part["models"][label] for label in models]
    own = (NONE if "refusal" in one else f"{one['own']:.2f}" for one in found)
    yield "Delta to the author", f"<={part['real']['own_95']:.2f}", *own
    yield "  to the nearest other", "", *(NONE if "refusal" in one else f"{one['nearest']:.2f}" for one in found)


def _render_rhythm(part: RhythmJson, models: Sequence[ModelLabel]) -> Iterator[Row]:
    """Render how many measures are outside the author's band, and those in which a model is."""
    measures = part["measures"]
    zs = [[one["models"][label]["z"] if label in part["blocks"] else None for label in models] for one in measures]
    outside = (
        str(sum(abs(z) > MAX_HELD_OUT_Z for z in column if z is not None)) if None not in column else NONE
        for column in zip(*zs, strict=True)
    )
    yield f"rhythm: outside, of {len(measures)} measures", "0", *outside
    for one, row in zip(measures, zs, strict=True):
        if any(z is not None and abs(z) > MAX_HELD_OUT_Z for z in row):
            shown = (NONE if z is None else f"{z:+.1f}" for z in row)
            yield f"  {one['label']} (z)", f"{one['held_out']['z']:+.1f}", *shown


def _render_regularity(part: RegularityJson, models: Sequence[ModelLabel]) -> Iterator[Row]:
    found = [part["models"].get(label) for label in models]
    spread = (NONE if one is None or "refusal" in one else f"{one['deviation']:.3f}" for one in found)
    yield "unevenness, bits per byte", f"{part['deviation']:.3f}", *spread
    zs = (NONE if one is None or "refusal" in one else f"{one['z_deviation']:+.1f}" for one in found)
    yield "  z (below -2: too even)", "0", *zs


def _render_notes(report: StyleReport) -> Iterator[str]:
    """Render what the numbers are worth; then what there is none of, and why."""
    verifier, c2st = report["verifier"], report["c2st"]
    if "refusal" not in verifier:
        real = verifier["real"]
        yield (
            f"On real unseen pieces of {verifier['piece_words']} words, topic masked, the verifier has AUC "
            f"{real['auc']:.3f} and c@1 {real['c_at_1']:.2f}, and takes {real['false_accepts']:.1%} of others' for "
            "the author's."
        )
    if "refusal" not in c2st:
        yield (
            f"AUC: 0.5 is not to be told apart; another work of the author's has {c2st['other_work']['auc']:.2f}, "
            f"other authors {c2st['others']['auc']:.2f}."
        )
    for name, refusal in _find_refusals(report):
        yield f"Not measured: {name}; {refusal}."


def _find_refusals(report: StyleReport) -> Iterator[tuple[str, str]]:
    """Find why there is nothing of a metric, each reason once."""
    by_model = (
        ("Two-sample test", report["c2st"]),
        ("Delta", report["delta"]),
        ("Regularity", report["regularity"]),
    )
    names: dict[str, list[str]] = {}
    for name, part in (
        ("Verifier", report["verifier"]),
        ("Rhythm", report["rhythm"]),
        *by_model,
        ("Style map", report["map"]),
    ):
        if "refusal" in part:
            names.setdefault(part["refusal"], []).append(name)
    for name, found in by_model:
        if "refusal" not in found:
            for label, one in found["models"].items():
                if "refusal" in one:
                    names.setdefault(one["refusal"], []).append(f"{name} of the {label} model")
    for refusal, refused in names.items():
        yield ", ".join(refused), refusal
