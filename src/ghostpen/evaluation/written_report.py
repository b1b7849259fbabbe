"""The report's part about how each model writes: loops, ends, and what it recites.

Owns that part's shape in report.json and its table. Must not know models or files.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from rich import box
from rich.table import Table

from ghostpen.data.ngrams import read_words
from ghostpen.evaluation.copying import EXTRACTION_TOKENS, Window, compute_extraction
from ghostpen.evaluation.loops import LOOP_WORDS, compute_end_rate, compute_loop_rate
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel
from ghostpen.evaluation.written import Written


class WrittenModelJson(TypedDict):
    """One model's texts.

    loop_rate: share in which 20 words in a row come again. end_rate: share that it ended by itself.
    extraction_rate: E50, share of the windows of training text that it recites; null where that was not looked for.
    """

    texts: int
    words: int
    loop_rate: float | None
    end_rate: float | None
    extraction_rate: float | None


class WrittenReport(TypedDict):
    """real_loop_rate is that of what the author wrote in the same places; windows are of training text."""

    models: dict[ModelLabel, WrittenModelJson]
    real_loop_rate: float | None
    extraction_windows: int


def build_written_report(
    written: Sequence[Written], *, windows: Sequence[Window], recited: Mapping[ModelLabel, Sequence[Sequence[int]]]
) -> WrittenReport | None:
    """Build the report; None where nothing was written.

    Args:
        written: by all models. windows: of training text. recited: by model, token ids for each window.

    Raises:
        NothingCountedError: a model's ids are not one for each window.
    """
    if not written and not windows:
        return None
    real = [read_words(one.real) for one in written if one.model == "base" and one.real is not None]
    return {
        "models": {
            label: _build_model(
                [one for one in written if one.model == label], windows=windows, recited=recited.get(label)
            )
            for label in MODEL_LABELS
        },
        "real_loop_rate": compute_loop_rate(real) if real else None,
        "extraction_windows": len(windows),
    }


def _build_model(
    texts: Sequence[Written], *, windows: Sequence[Window], recited: Sequence[Sequence[int]] | None
) -> WrittenModelJson:
    words = [read_words(one.text) for one in texts]
    return {
        "texts": len(texts),
        "words": sum(map(len, words)),
        "loop_rate": compute_loop_rate(words) if words else None,
        "end_rate": compute_end_rate([one.ended for one in texts]) if texts else None,
        "extraction_rate": compute_extraction(windows, recited) if windows and recited is not None else None,
    }


def render_written_table(report: WrittenReport) -> Table:
    """Render what `ghostpen test` prints of it."""
    table = Table(
        title="What was written, and what is recited",
        caption=f"loops: texts in which {LOOP_WORDS} words in a row come again; ended: by the model itself; recited: "
        f"of {report['extraction_windows']} places of the training text, {EXTRACTION_TOKENS} tokens to the letter "
        f"after the {EXTRACTION_TOKENS} before.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("", "texts", "words", "loops", "ended", "recited"):
        table.add_column(heading, justify="right" if heading else "left")
    for label, model in report["models"].items():
        rates = (model["loop_rate"], model["end_rate"], model["extraction_rate"])
        table.add_row(label, f"{model['texts']:,}", f"{model['words']:,}", *map(_render_rate, rates))
    if report["real_loop_rate"] is not None:
        table.add_row("real text", "", "", _render_rate(report["real_loop_rate"]), "", "")
    return table


def _render_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"
