"""The prepared data on disk: one JSON row per section, one file per split.

Owns the row format. The `text` column makes each file readable as it is by `datasets.load_dataset("json")`
and by TRL's language-modelling trainer.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ghostpen.errors import DataError

AUTHOR_SPLITS = ("train", "val", "test")
CONTRAST_SPLITS = ("contrast_train", "contrast_val", "contrast_test")
SPLITS = AUTHOR_SPLITS + CONTRAST_SPLITS


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


def document_key(section: Section) -> str:
    """Return what tells a document from all others: two authors may both have written "Poems"."""
    return f"{section.author}/{section.document}"


def save_sections(sections: Iterable[Section], path: Path) -> None:
    """Write one row per section, in the given order; equal sections give equal bytes."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(asdict(section), ensure_ascii=False) + "\n" for section in sections)


def load_sections(folder: Path, split: str) -> list[Section]:
    """Read one split of prepared data.

    Args:
        folder: what `ghostpen prepare --out` wrote.
        split: one of SPLITS.

    Raises:
        DataError: no such split or file; a row that is not a section (file:line).
    """
    if split not in SPLITS:
        raise DataError(f"no split is called {split!r}; there are: {', '.join(SPLITS)}")
    path = Path(folder) / f"{split}.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")  # splitlines() would also split at U+2028, inside a text
    except FileNotFoundError as error:
        option = " with --contrast" if split in CONTRAST_SPLITS else ""
        raise DataError(f"{path}: no such file; give a folder that `ghostpen prepare`{option} wrote") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check its permissions") from error
    return [_read_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


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
