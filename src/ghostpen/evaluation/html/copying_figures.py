"""The page's figures of copying and of how each model writes, each beside real text."""

from collections.abc import Mapping
from typing import Any, cast

from ghostpen.evaluation.copying_report import CopyingJson, CopyingReport
from ghostpen.evaluation.html.charts import Bar, render_bars, render_percent
from ghostpen.evaluation.html.figures import MODELS, Figure, Numbers, tabulate_bars
from ghostpen.evaluation.report import Report


def build_copying(copying: CopyingReport) -> Figure:
    """Build how much of the samples stands in runs of words that are elsewhere, too, beside real text's."""
    columns: list[tuple[str, str, CopyingJson]] = [
        ("in training", "author", copying["training"]),
        ("in held-out", "ink", copying["held_out"]),
    ]
    if copying["floor"] is not None:
        columns.append(("real text", "real", copying["floor"]))
    groups = [
        (
            f"{least} words or more in a row",
            [Bar(label, _read_coverage(found, least), look) for label, look, found in columns],
        )
        for least in (5, 8, 13)
    ]
    return Figure(
        "Share of the words that are in shared runs",
        "The samples’ words found in the author’s training and "
        "held-out text; “real text” is held-out text found in "
        "training text, which nobody copied.",
        render_bars("coverage", groups, title="Share of words in shared runs", render=render_percent, label_width=84),
        Numbers(
            "Runs of words shared with other text",
            ("", *(label for label, _, _ in columns)),
            (
                *(
                    (f"in {least}+ words", *(render_percent(_read_coverage(found, least)) for _, _, found in columns))
                    for least in (5, 8, 13)
                ),
                (
                    "longest run, words",
                    *(str(found["longest"]["words"] if found["longest"] else 0) for _, _, found in columns),
                ),
                ("longest run, mean", *(f"{found['longest_mean']:.1f}" for _, _, found in columns)),
                ("words looked at", *(f"{found['words']:,}" for _, _, found in columns)),
            ),
        ),
    )


def build_writing(report: Report) -> Figure | None:
    """Build how often each model goes in circles, ends by itself and recites; None of a report without it."""
    found = cast(Mapping[str, Any], report).get("written")
    if not found:
        return None
    real = found["real_loop_rate"]
    shown: tuple[tuple[str, str, list[Bar]], ...] = (
        ("Go round in circles", "loop_rate", [] if real is None else [Bar("real text", real, "real")]),
        ("End by themselves", "end_rate", []),
        ("Recite training text", "extraction_rate", []),
    )
    groups = [
        (heading, [*scale, *(Bar(MODELS[label], model[key], label) for label, model in found["models"].items())])
        for heading, key, scale in shown
        if all(model[key] is not None for model in found["models"].values())
    ]
    title = "Share of texts, or of places in the training text"
    return Figure(
        "How it writes",
        "Circles: 20 words in a row that come again. Recite: given 50 tokens of the training text, the model goes on "
        f"to the letter for 50 more; {found['extraction_windows']:,} places.",
        render_bars("writing", groups, title=title, render=render_percent, label_width=84),
        tabulate_bars(title, groups, render_percent),
    )


def _read_coverage(found: CopyingJson, least: int) -> float:
    return {5: found["coverage_5"], 8: found["coverage_8"], 13: found["coverage_13"]}[least]
