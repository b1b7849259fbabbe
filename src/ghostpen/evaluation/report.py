"""The report of a test: what was measured, and the one sentence that it supports.

Owns how report.json comes from scores, its finding and verdict, and the table of what models lose on texts; its
shape is in `report_shape`. Must not know models: it is given scores.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from ghostpen.errors import DataError
from ghostpen.evaluation.copying_report import CopyingReport
from ghostpen.evaluation.report_shape import (
    ContrastReport,
    Finding,
    IntervalJson,
    ModelReport,
    PartReport,
    PromptReport,
    Protocol,
    Report,
    TextReport,
)
from ghostpen.evaluation.specificity import (
    CONFIDENCE_LEVEL,
    MIN_SECTIONS,
    MODEL_LABELS,
    SCORED_LABELS,
    Interval,
    ModelLabel,
    SectionScores,
    Specificity,
    check_aligned,
    compute_bits,
    compute_gain,
    compute_specificity,
)
from ghostpen.evaluation.style_shape import StyleReport
from ghostpen.evaluation.written_report import WrittenReport
from ghostpen.files import write_text_atomically
from ghostpen.score import Score, sum_scores

FORMAT_VERSION = 2
MAX_EXPONENT = 700.0  # of a float; a word perplexity beyond says nothing more


def build_report(
    author_scores: SectionScores,
    *,
    others_scores: SectionScores,
    author: str,
    author_parts: Sequence[str],
    others_parts: Sequence[str],
    author_words: Sequence[int],
    others_words: Sequence[int],
    protocol: Protocol,
    contrast: ContrastReport | None = None,
    prompt: PromptReport | None = None,
    copying: CopyingReport | None = None,
    tokenizer_sha256: str | None = None,
    written: WrittenReport | None = None,
    style: StyleReport | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Report:
    """Build the report from the scores of base, control and author's adapter on both test splits.

    Args:
        author_scores: on the author's held-out sections: base, control and author, and prompted if there is one.
        others_scores: on the other authors' held-out sections, by the same models.
        author: the author's name, as it is to be printed.
        author_parts: the document of each of the author's sections.
        others_parts: the author of each of the other sections.
        author_words: the words of each of the author's sections.
        others_words: the words of each of the other sections.
        protocol: what else must be the same for this report to be compared with another.
        contrast: how well the gain tells the author's pieces from others'.
        prompt: what the prompted base was shown; None where there is none.
        copying: what the adapter's samples copy; None where there is none to look at.
        tokenizer_sha256: of the tokenizer that the perplexities are by.
        written: how each model writes; None where nothing was written.
        style: what was measured of that; likewise.
        resamples: bootstrap draws.
        seed: of the bootstrap, not of the training.

    Raises:
        DataError: a model's scores or a part's name are missing, or are not of the same sections.
        NothingCountedError: there is no section, or one without a counted token.
    """
    specificity = compute_specificity(author_scores, others_scores, resamples=resamples, seed=seed)
    finding = find_specificity(specificity)
    return {
        "format_version": FORMAT_VERSION,
        "author": author,
        "finding": finding,
        "verdict": render_verdict(specificity, author=author),
        "specificity": {
            "g_a": _build_interval_json(specificity.g_a),
            "g_o": _build_interval_json(specificity.g_o),
            "s": _build_interval_json(specificity.s),
            "confidence_level": CONFIDENCE_LEVEL,
            "resamples": resamples,
            "seed": seed,
        },
        "author_test": _build_text_report(
            author_scores,
            parts=author_parts,
            words=author_words,
            text="the author's test split",
            resamples=resamples,
            seed=seed,
        ),  # fmt: skip
        "others_test": _build_text_report(
            others_scores,
            parts=others_parts,
            words=others_words,
            text="the other authors' test split",
            resamples=resamples,
            seed=seed,
        ),  # fmt: skip
        "contrast": contrast,
        "prompt": prompt,
        "copying": copying,
        "written": written,
        "style": style,
        "protocol": protocol,
        "tokenizer_sha256": tokenizer_sha256,
    }


def find_specificity(specificity: Specificity) -> Finding:
    """Name what the intervals allow to be said; S above 0 is not enough without G_A above 0.

    S is also above 0 when the adapter merely got worse at other authors.
    """
    s, g_a = specificity.s, specificity.g_a
    if s.low is None or s.high is None or g_a.low is None:
        return "too_little_text"
    if s.high < 0:
        return "less_than_others"
    if s.low <= 0:
        return "unclear"
    return "specific" if g_a.low > 0 else "others_got_worse"


def render_verdict(specificity: Specificity, *, author: str) -> str:
    """Render the finding as one sentence that carries its uncertainty."""
    s, g_a = render_interval(specificity.s), render_interval(specificity.g_a)
    s_only, a_only, o_only = (
        f"{interval.estimate:+.3f}" for interval in (specificity.s, specificity.g_a, specificity.g_o)
    )
    match find_specificity(specificity):
        case "specific":
            return (
                f"Writes like {author}: on unseen text the adapter saves {a_only} bits per byte over its "
                f"control on {author} and {o_only} on other authors; the difference is S = {s}."
            )
        case "unclear":
            return f"No evidence that it writes like {author}: S = {s}, and the interval includes 0."
        case "others_got_worse":
            return (
                f"No evidence that it writes like {author}: S = {s}, but only because other authors got "
                f"worse; on {author} the gain over the control is {g_a}."
            )
        case "less_than_others":
            return (
                f"Does not write like {author}: over its control the adapter gained less on {author} than on "
                f"other authors, S = {s}."
            )
        case "too_little_text":
            return (
                f"Too little text to say whether it writes like {author}: S = {s_only} bits per byte, and an "
                f"interval needs {MIN_SECTIONS} held-out sections of {author} and as many of other authors."
            )


def render_interval(interval: Interval) -> str:
    """Render as "+0.036 bits per byte (95 % interval +0.031 to +0.041)", or say that there is no interval."""
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:+.3f} bits per byte (too few sections for an interval)"
    bounds = f"{interval.low:+.3f} to {interval.high:+.3f}"
    return f"{interval.estimate:+.3f} bits per byte ({CONFIDENCE_LEVEL * 100:.0f} % interval {bounds})"


def render_table(report: Report) -> Table:
    """Render the table that `ghostpen test` prints; it fits into 80 columns for names up to 20 letters."""
    table = Table(
        title=escape(f"Bits per byte on held-out text, lower is better ({report['author']})"),
        caption=escape(report["verdict"]),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,  # the box has a blank between columns; more would not fit
    )
    labels = list_labels(report["author_test"]["models"])
    table.add_column("held-out text")
    for label in labels:
        table.add_column(label, justify="right")
    table.add_column("G: author over control", justify="right")
    gains = report["specificity"]
    for name, text, symbol, gain in (
        (report["author"], report["author_test"], "A", gains["g_a"]),
        ("other authors", report["others_test"], "O", gains["g_o"]),
    ):
        models = [text["models"][label] for label in labels]
        bits = [f"{model['bits_per_byte']:.3f}" for model in models]
        table.add_row(escape(f"{name} ({symbol})"), *bits, _render_bounds(gain), style="bold")
        table.add_row("  as perplexity", *(f"{model['perplexity']:.2f}" for model in models), style="dim")
        table.add_row("  of a word", *(f"{model['word_perplexity']:.1f}" for model in models), style="dim")
        for part in text["parts"]:
            bits = [f"{part['bits_per_byte'][label]:.3f}" for label in labels]
            table.add_row(escape(f"  {part['name']}"), *bits, f"{part['gain']:+.3f}")
        table.add_section()
    blanks = [""] * len(labels)
    table.add_row("S = G_A - G_O", *blanks, _render_bounds(gains["s"]), style="bold")
    if report["contrast"] is not None and report["contrast"]["auc"] is not None:
        table.add_row("tells the author", *blanks, f"AUC {_render_bounds(report['contrast']['auc'])[1:]}")
    return table


def write_report(report: Report, path: Path) -> None:
    """Write report.json atomically; it is there whole or not at all.

    Raises:
        OSError: the folder is missing or cannot be written to.
        ValueError: a number is not finite.
    """
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text_atomically(text, path)


def _build_text_report(
    scores: SectionScores, *, parts: Sequence[str], words: Sequence[int], text: str, resamples: int, seed: int
) -> TextReport:
    labels = list_labels(scores)
    check_aligned(scores, text=text, models=labels)
    if len(parts) != len(scores["base"]):
        raise DataError(
            f"{text}: {len(scores['base'])} sections but {len(parts)} part names; name each section's part"
        )
    whole = sum_scores(scores["base"])
    return {
        "sections": len(parts),
        "tokens": whole.tokens,
        "words": sum(words),
        "size_bytes": whole.size_bytes,
        "models": {
            label: _build_model_report(scores, label=label, words=sum(words), resamples=resamples, seed=seed)
            for label in labels
        },
        "parts": [
            _build_part_report(name, {label: _choose(scores[label], parts, name) for label in labels})
            for name in dict.fromkeys(parts)
        ],
    }


def list_labels(scores: Iterable[ModelLabel]) -> list[ModelLabel]:
    """List the models that there are scores of, with those that there must be, in their order."""
    given = {*scores, *MODEL_LABELS}
    return [label for label in SCORED_LABELS if label in given]


def _build_model_report(
    scores: SectionScores, *, label: ModelLabel, words: int, resamples: int, seed: int
) -> ModelReport:
    whole = sum_scores(scores[label])
    gain = compute_gain(scores, reference="base", model=label, resamples=resamples, seed=seed)
    return {
        "perplexity": whole.perplexity,
        "word_perplexity": math.exp(min(whole.loss_nats / max(words, 1), MAX_EXPONENT)),
        "bits_per_byte": whole.bits_per_byte,
        "bits_per_byte_bounds": _build_interval_json(compute_bits(scores[label], resamples=resamples, seed=seed)),
        "gain_over_base": _build_interval_json(gain),
    }


def _build_part_report(name: str, scores: SectionScores) -> PartReport:
    wholes = {label: sum_scores(listed) for label, listed in scores.items()}
    return {
        "name": name,
        "sections": len(scores["base"]),
        "tokens": wholes["base"].tokens,
        "size_bytes": wholes["base"].size_bytes,
        "perplexity": {label: whole.perplexity for label, whole in wholes.items()},
        "bits_per_byte": {label: whole.bits_per_byte for label, whole in wholes.items()},
        "gain": wholes["control"].bits_per_byte - wholes["author"].bits_per_byte,
    }


def _choose(scores: Sequence[Score], parts: Sequence[str], name: str) -> list[Score]:
    return [score for score, part in zip(scores, parts, strict=True) if part == name]


def _build_interval_json(interval: Interval) -> IntervalJson:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _render_bounds(interval: IntervalJson) -> str:
    if interval["low"] is None or interval["high"] is None:
        return f"{interval['estimate']:+.3f} (no interval)"
    return f"{interval['estimate']:+.3f} [{interval['low']:+.3f}, {interval['high']:+.3f}]"
