"""The report's part about copying: what a run's samples have in common with training text and held-out text.

Owns that part's shape in report.json, its table, and when it fails a test. Must not know models or files.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypedDict, cast

from rich import box
from rich.markup import escape
from rich.table import Table

from ghostpen.data.ngrams import read_words
from ghostpen.data.sections import Section
from ghostpen.errors import CopyingError, DataError, NothingCountedError
from ghostpen.evaluation.copying import CopiedSpan, Copying, Sample, compute_copying, compute_floor
from ghostpen.evaluation.loops import LOOP_WORDS, compute_loop_rate
from ghostpen.evaluation.names import compute_name_leak, find_names
from ghostpen.evaluation.pieces import count_words, cut_sections

QUOTED_WORDS = 20


class CopiedSpanJson(TypedDict):
    """As `copying.CopiedSpan`. The quote is the author's text: as private as that."""

    words: int
    document: str
    quote: str


class CopyingJson(TypedDict):
    """As `copying.Copying`."""

    samples: int
    words: int
    longest_mean: float
    longest: CopiedSpanJson | None
    coverage_5: float
    coverage_8: float
    coverage_13: float
    share_13: float
    share_50: float


class NameLeakJson(TypedDict):
    """As `names.NameLeak`; share is null where real text shows that the rule finds no names here."""

    names: int
    samples: int
    share: float | None
    floor: float
    leaked: list[str]


class CopyingReport(TypedDict):
    """The author's adapter's samples; floor is real held-out text against training text, in pieces as long.

    loop_rate is the share of samples in which 20 words in a row come again.
    """

    training: CopyingJson
    held_out: CopyingJson
    floor: CopyingJson | None
    names: NameLeakJson | None
    loop_rate: float


def build_copying_report(
    samples: Sequence[Sample],
    *,
    training: Sequence[Section],
    continued: Sequence[Section],
    held_out: Sequence[Section],
    others: Sequence[Section],
) -> CopyingReport | None:
    """Build the report; None where no sample has a word of its own.

    Args:
        samples: what the author's adapter wrote, continuations of held-out text among it.
        training: the author's sections that it was trained on.
        continued: the author's held-out sections that samples begin with; their names are no leak.
        held_out: the author's other held-out sections.
        others: other authors' sections, whose names are nobody's own.

    Raises:
        NothingCountedError: there is no training or no held-out text.
    """
    try:
        copied = compute_copying(samples, training)
    except NothingCountedError:
        if training:
            return None
        raise
    unseen = [*continued, *held_out]
    return {
        "training": _build_json(copied),
        "held_out": _build_json(compute_copying(samples, unseen)),
        "floor": _build_floor(samples, real=unseen, training=training),
        "names": _build_names(samples, training=training, continued=continued, held_out=held_out, others=others),
        "loop_rate": compute_loop_rate([read_words(sample.text) for sample in samples]),
    }


def check_copied(report: CopyingReport | None, *, max_copied_words: int | None) -> None:
    """Fail where a sample copies more words in a row from the training text than may be.

    Args:
        report: as `build_copying_report` gives it.
        max_copied_words: the setting; None lets everything pass.

    Raises:
        CopyingError: a sample copies more. It is not quoted: an error may end in a log that others read.
        DataError: there is a limit, and nothing to hold it against.
    """
    if max_copied_words is None:
        return
    if report is None:
        raise DataError(
            "eval.max_copied_words is set, and there is no text to check: eval.continuations and eval.topics are 0, "
            "and the run's samples/after.txt holds none; raise one of them, or leave the setting out"
        )
    longest = report["training"]["longest"]
    if longest is not None and longest["words"] > max_copied_words:
        raise CopyingError(
            f"a sample copies {longest['words']} words in a row from {longest['document']}, and "
            f"eval.max_copied_words is {max_copied_words}; report.json quotes them; train for fewer steps or on "
            "more text, or allow more"
        )


def render_span(span: CopiedSpan) -> str:
    """Render for a sentence: how many words, from where, and the first of them."""
    words = span.quote.split()
    more = " …" if len(words) > QUOTED_WORDS else ""
    return f'{span.words} words in a row from {span.document} ("{" ".join(words[:QUOTED_WORDS])}{more}")'


def render_copying_table(report: CopyingReport) -> Table:
    """Render what `ghostpen test` prints below the perplexities."""
    table = Table(
        title=f"Words in a row shared with other text ({report['training']['samples']} samples)",
        caption=escape(f"{_render_names(report)} {_render_loops(report)}"),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("", "words", "longest", "mean", "in 5+", "in 8+", "in 13+"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, found in (
        ("samples, in training text", report["training"]),
        ("samples, in held-out text", report["held_out"]),
        ("real text, in training text", report["floor"]),
    ):
        if found is not None:
            shares = [f"{found[key]:.1%}" for key in ("coverage_5", "coverage_8", "coverage_13")]
            longest = found["longest"]["words"] if found["longest"] else 0
            table.add_row(name, f"{found['words']:,}", str(longest), f"{found['longest_mean']:.1f}", *shares)
    return table


def _render_names(report: CopyingReport) -> str:
    """Tell of names without telling them: what a test prints may end in a log that others read."""
    names = report["names"]
    if names is None:
        return "Names were not looked for: there is too little held-out text."
    floor = f"{names['floor']:.0%} of real unseen pieces"
    if names["share"] is None:
        return f"Names of the training works were not counted: {floor} seem to have such, too."
    return f"Names of the training works: in {names['share']:.0%} of the samples, in {floor}."


def _render_loops(report: CopyingReport) -> str:
    return f"Loops, {LOOP_WORDS} words that come again: in {report['loop_rate']:.0%} of the samples."


def _build_floor(
    samples: Sequence[Sample], *, real: Sequence[Section], training: Sequence[Section]
) -> CopyingJson | None:
    try:
        return _build_json(compute_floor(samples, real=real, sources=training))
    except NothingCountedError:  # no section is as long as a sample
        return None


def _build_names(
    samples: Sequence[Sample],
    *,
    training: Sequence[Section],
    continued: Sequence[Section],
    held_out: Sequence[Section],
    others: Sequence[Section],
) -> NameLeakJson | None:
    """Count names; those of the work that a sample goes on with are no leak."""
    names = find_names(
        (section.text for section in training), others=(section.text for section in [*others, *continued])
    )
    size = max(1, round(sum(count_words(sample.text) for sample in samples) / len(samples)))
    real = [piece.text for piece in cut_sections(held_out, words=size)]
    if not real:
        return None
    leak = compute_name_leak([(sample.text, sample.prompt) for sample in samples], names, real=real)
    return {
        "names": leak.names,
        "samples": leak.samples,
        "share": leak.share,
        "floor": leak.floor,
        "leaked": list(leak.leaked),
    }


def _build_json(copying: Copying) -> CopyingJson:
    return cast(CopyingJson, asdict(copying))
