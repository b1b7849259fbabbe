"""The prepared data on disk: one JSON row per section, one file per split.

Owns the row format. The `text` column makes each file readable as it is by `datasets.load_dataset("json")`
and by TRL's language-modelling trainer.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from ghostpen.data.ngrams import hash_words, read_words
from ghostpen.data.progress import TOLD_EVERY, Progress, ignore_progress
from ghostpen.errors import DataError

if TYPE_CHECKING:
    from ghostpen.data.ngrams import Hashes

AUTHOR_SPLITS = ("train", "val", "test")
CONTRAST_SPLITS = ("contrast_train", "contrast_val", "contrast_test")
SPLITS = AUTHOR_SPLITS + CONTRAST_SPLITS
PARAGRAPH_END = "\n\n"


class AnySection(Protocol):
    """A section, in memory (`Section`) or on the disk (`units.StoredSection`)."""

    @property
    def text(self) -> str: ...  # noqa: D102  # these are Section's own
    @property
    def author(self) -> str: ...  # noqa: D102
    @property
    def document(self) -> str: ...  # noqa: D102
    @property
    def section(self) -> int: ...  # noqa: D102
    @property
    def starts_document(self) -> bool: ...  # noqa: D102
    @property
    def ends_document(self) -> bool: ...  # noqa: D102
    @property
    def size_bytes(self) -> int: ...  # noqa: D102
    @property
    def words(self) -> int: ...  # noqa: D102
    @property
    def tokens(self) -> int | None: ...  # noqa: D102
    def hash_paragraphs(self) -> "list[Hashes]": ...  # noqa: D102
    def take_paragraphs(self, numbers: Sequence[int]) -> Self: ...  # noqa: D102


S = TypeVar("S", bound=AnySection)


@dataclass(frozen=True)
class Section:
    """One section (chapter) of one document.

    Args:
        section: its place in the document, from 0. A number that is missing was dropped, so two sections
            follow each other in the book only where their numbers do.
        starts_document: it begins with the document's first words.
        ends_document: it ends with the document's last words.
    """

    text: str
    author: str
    document: str
    section: int
    starts_document: bool
    ends_document: bool

    @property
    def size_bytes(self) -> int:
        """Return the length of the text in UTF-8 bytes."""
        return len(self.text.encode())

    @property
    def words(self) -> int:
        """Return how many words it has."""
        return len(self.text.split())

    @property
    def tokens(self) -> int | None:
        """Return how many tokens it has, where they were counted before."""
        return None

    def hash_paragraphs(self) -> "list[Hashes]":
        """Return each paragraph's words as hashes."""
        return [hash_words(read_words(paragraph)) for paragraph in self.text.split(PARAGRAPH_END)]

    def take_paragraphs(self, numbers: Sequence[int]) -> Self:
        """Return it with some of its paragraphs only; start and end go with those that carried their marks."""
        paragraphs = self.text.split(PARAGRAPH_END)
        return replace(
            self,
            text=PARAGRAPH_END.join(paragraphs[number] for number in numbers),
            starts_document=self.starts_document and numbers[0] == 0,
            ends_document=self.ends_document and numbers[-1] == len(paragraphs) - 1,
        )


class SplitFile(Iterable[Section]):
    """The sections of one split, read from its file each time they are gone through.

    Args:
        folder: what `ghostpen prepare --out` wrote.
        split: one of SPLITS.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Name the file.

        Raises:
            DataError: no split is called so.
        """
        if split not in SPLITS:
            raise DataError(f"no split is called {split!r}; there are: {', '.join(SPLITS)}")
        self._path, self._split = Path(folder) / f"{split}.jsonl", split

    def __iter__(self) -> Iterator[Section]:
        """Read them one by one.

        Raises:
            DataError: no such file; a row that is not a section (file:line).
        """
        try:
            with self._path.open("rb") as file:  # as text it would also be split at U+2028, inside a row
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield _read_row(line, f"{self._path}:{number}")
        except FileNotFoundError as error:
            option = " with --contrast" if self._split in CONTRAST_SPLITS else ""
            raise DataError(
                f"{self._path}: no such file; give a folder that `ghostpen prepare`{option} wrote"
            ) from error
        except OSError as error:
            raise DataError(f"{self._path}: can't be read ({error.strerror}); check its permissions") from error


def document_key(section: AnySection) -> str:
    """Return what tells a document from all others: two authors may both have written "Poems"."""
    return f"{section.author}/{section.document}"


def save_sections(sections: Sequence[AnySection], path: Path, *, progress: Progress = ignore_progress) -> None:
    """Write one row per section, in the given order; equal sections give equal bytes.

    Args:
        sections: of one split.
        path: the split's file.
        progress: is told how many are written.
    """
    names = [field.name for field in fields(Section)]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, section in enumerate(sections, start=1):
            row = {name: getattr(section, name) for name in names}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if number % TOLD_EVERY == 0 or number == len(sections):
                progress(number, len(sections))


def load_sections(folder: Path, split: str) -> list[Section]:
    """Read one split of prepared data into memory; see `SplitFile`.

    Raises:
        DataError: no such split or file; a row that is not a section (file:line).
    """
    return list(SplitFile(folder, split))


def _read_row(line: bytes, where: str) -> Section:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON in UTF-8 ({error}); run `ghostpen prepare` again") from error
    wanted = {field.name: field.type for field in fields(Section)}
    found = {name: type(value) for name, value in row.items()} if isinstance(row, dict) else {}
    if found != wanted:
        wrong = sorted(name for name in wanted | found if wanted.get(name) is not found.get(name))
        raise DataError(
            f"{where}: not a section ({', '.join(wrong)} missing, unknown or of the wrong type); "
            "run `ghostpen prepare` again"
        )
    return Section(**row)
