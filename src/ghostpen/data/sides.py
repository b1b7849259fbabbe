"""Clean the documents of both sides, and hand on their sections: the author's, and the others'.

Owns which section and which print comes from which document.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.cleaning_pool import choose_processes, make_units
from ghostpen.data.counting import TokenCounter
from ghostpen.data.deduplication import KnownPrints
from ghostpen.data.documents import Document, document_id
from ghostpen.data.duplicates import Prints, join_prints
from ghostpen.data.progress import ShowProgress
from ghostpen.data.units import MadeUnit, RawText, StoredSection


@dataclass(frozen=True)
class CleanedTexts:
    """The sections of all documents, the author's and the others', and what was counted on the way."""

    sections: tuple[list[StoredSection], list[StoredSection]]
    known: KnownPrints
    dropped: Counter[str]
    repaired: Counter[str]


def clean_sides(
    sides: Sequence[Sequence[Document]],
    folder: Path,
    *,
    unified: bool,
    counter: TokenCounter,
    show_progress: ShowProgress,
) -> CleanedTexts:
    """Clean the documents of both sides, as far as an earlier run has not.

    Args:
        sides: the author's documents and the others'.
        folder: see `units.make_unit`, likewise unified and counter.
        unified: see folder.
        counter: see folder.
        show_progress: shows a bar for a title.

    Raises:
        CleaningKilled: a process was; what was cleaned lies in the folder.
    """
    parts: list[Prints] = []
    rows: dict[str | tuple[str, int], int] = {}
    dropped: Counter[str] = Counter()
    repaired: Counter[str] = Counter()
    sections: tuple[list[StoredSection], list[StoredSection]] = ([], [])
    for documents, found in zip(sides, sections, strict=True):
        texts = (RawText(document.text, document.wrapped, document.headings) for document in documents)
        total = sum(document.stored.chars for document in documents)
        waiting = iter(documents)
        with (
            show_progress() as show,
            closing(
                make_units(
                    texts,
                    folder,
                    unified=unified,
                    counter=counter,
                    total=total,
                    progress=show("cleaning"),
                    processes=choose_processes(total),
                )
            ) as units,
        ):
            for made in units:
                found += _list_sections(made, waiting, rows, first_row=sum(map(len, parts)))
                parts.append(made.prints)
                dropped.update(made.dropped)
                dropped["empty_documents"] += made.sections.count(0)
                repaired["typography"] += made.unified
    return CleanedTexts(sections, KnownPrints(join_prints(parts), rows), dropped, repaired)


def _list_sections(
    made: MadeUnit, documents: Iterator[Document], rows: dict[str | tuple[str, int], int], *, first_row: int
) -> Iterator[StoredSection]:
    """Yield a unit's sections, and note the rows of its prints."""
    place, row = 0, first_row
    for count in made.sections:
        document = next(documents)
        key = document_id(document)
        for number in range(count):
            yield StoredSection(
                made.unit, place + number, document.author, document.id, number, number == 0, number == count - 1
            )
        if count:
            rows[key] = rows[key, 0] = row
            row += 1
        if count > 1:
            rows.update({(key, number): row + number for number in range(count)})
            row += count
        place += count
