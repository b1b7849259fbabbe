"""The page's figures of copying and of how each model writes, each beside real text."""

from ghostpen.evaluation.copying_report import CopyingJson, CopyingReport
from ghostpen.evaluation.html.charts import Bar, render_bars, render_percent
from ghostpen.evaluation.html.figures import Figure, Numbers, tabulate_bars
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.specificity import name_model


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
    found = report["written"]
    if found is None:
        return None
    models = found["models"].items()
    rates: tuple[tuple[str, list[tuple[str, str, float | None]]], ...] = (
        (
            "Go round in circles",
            [
                ("real text", "real", found["real_loop_rate"]),
                *((name_model(label), label, model["loop_rate"]) for label, model in models),
            ],
        ),
        ("End by themselves", [(name_model(label), label, model["end_rate"]) for label, model in models]),
        ("Recite training text", [(name_model(label), label, model["extraction_rate"]) for label, model in models]),
    )
    measured = [
        (heading, [Bar(name, rate, look) for name, look, rate in each if rate is not None]) for heading, each in rates
    ]
    groups = [(heading, bars) for heading, bars in measured if bars]
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
