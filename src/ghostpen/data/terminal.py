"""What `ghostpen prepare` shows at a terminal, and asks there."""

import pydoc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table

from ghostpen.data.deduplication import Repeat
from ghostpen.data.prepare import PreparedData
from ghostpen.data.review import Review, render_diffs

_MOST_REPEATS_SHOWN = 10


def choose_column(file: str, columns: Sequence[str]) -> str:
    """Ask for the column that holds the text, on standard error."""
    for number, column in enumerate(columns, start=1):
        typer.echo(f"{number:3} {column}", err=True)
    while True:
        chosen: int = typer.prompt(f"Which column of {file} holds the text?", type=int, err=True)
        if 1 <= chosen <= len(columns):
            return columns[chosen - 1]


def render_repeats(repeats: Sequence[Repeat], *, where: Path | None = None) -> list[str]:
    """Return lines that say what went for what: all, or the first few and where the rest stands."""
    lines = [
        f"dropped: {_render_place(repeat.document, repeat.section)} is "
        + ("" if repeat.exact else f"nearly ({repeat.jaccard:.2f}) ")
        + _render_place(repeat.kept, repeat.kept_section)
        for repeat in repeats[: None if where is None else _MOST_REPEATS_SHOWN]
    ]
    more = len(repeats) - len(lines)
    return [*lines, *([f"dropped: {more:,} more, see {where}"] if more else [])]


def _render_place(document: str, section: int | None) -> str:
    return document if section is None else f"section {section} of {document}"


def _render_counts(dropped: Mapping[str, int], repaired: Mapping[str, int], masked: Mapping[str, int]) -> list[str]:
    counts = ((dropped, "dropped"), (repaired, "repaired"), (masked, "masked"))
    return [f"{rule}: {count:,} {what}" for group, what in counts for rule, count in sorted(group.items()) if count]


def ask_for_review(review: Review) -> bool:
    """Show what was dropped, as diffs, and ask whether the rest is to be written.

    Where nobody can be asked, everything is printed and the answer is no.

    Raises:
        KeyboardInterrupt: it was left with Ctrl-C, or Ctrl-D.
    """
    is_asked = sys.stdin.isatty() and sys.stdout.isatty()
    if is_asked:
        pydoc.pager("".join(f"{line}\n" for line in render_diffs(review)))
    else:
        for line in render_diffs(review):
            typer.echo(line)
    lines = [*render_repeats(review.repeats), *_render_counts(review.dropped, review.repaired, review.masked)]
    for line in lines or ["nothing was dropped"]:
        typer.echo(line)
    if is_asked:
        try:
            return typer.confirm(f"Write it to {review.out}?")
        except typer.Abort as error:  # what typer makes of Ctrl-C, which is no answer
            raise KeyboardInterrupt from error
    typer.echo(f"nothing was written to {review.out}: leave out --review to write", err=True)
    return False


def render_prepared(prepared: PreparedData) -> Table:
    """Return what was written, by split, and what was left out, repaired and masked, by rule."""
    manifest = prepared.manifest
    notes = _render_counts(manifest.dropped, manifest.repaired, manifest.masked)
    if manifest.within_document:
        notes.append(
            "too few documents: chapters of the longest are held out, which is an easier test than a whole work"
        )
    if manifest.newest_in_test:
        notes.append("the documents are dated: the newest are the test")
    table = Table(
        title=escape(f"{manifest.author} in {prepared.dir}"),
        title_justify="left",
        caption="\n".join(notes),
        caption_justify="left",
    )
    for heading in ("split", "documents", "sections", "words", "bytes"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, counts in manifest.splits.items():
        sizes = (counts.documents, counts.sections, counts.words, counts.size_bytes)
        table.add_row(split, *(f"{size:,}" for size in sizes))
    return table
