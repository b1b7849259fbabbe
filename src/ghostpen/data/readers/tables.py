"""JSON lines, CSV and Parquet, through `datasets`: each row is a document.

Read as a stream, because `datasets` would else copy private texts into its cache. `datasets.load_dataset` is not
called: even for a file on this disk it tells Hugging Face's server that it was.
"""

import csv
import logging
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ghostpen.data.readers.markup import parse_date
from ghostpen.data.readers.passages import Passage, Reading, Sender, SourceFile, UnreadableError
from ghostpen.data.readers.plain import guess_encoding
from ghostpen.errors import DataError

TEXT_COLUMN = "text"
DATE_COLUMNS = ("date", "created_at", "created", "published", "timestamp")
SENDER_COLUMNS = ("author", "sender", "from", "username")
LARGEST_ROW_GROUP_BYTES = 2 * 1024**3  # of Parquet, unpacked: it is read in one piece
_SAMPLE_ROWS = 100
_HEAD_BYTES = 256 * 1024
_MOST_COLUMNS_SHOWN = 10


def read_table(file: SourceFile, kind: str, reading: Reading) -> Iterator[Passage]:
    """Yield the rows of a table.

    Args:
        file: the table.
        kind: "jsonl", "csv" or "parquet".
        reading: names the column of text, or asks for it.

    Raises:
        DataError: nobody said which of several columns holds the text.
        UnreadableError: broken, too large, or without a column of text.
    """
    import datasets

    logging.getLogger("datasets.packaged_modules").setLevel(
        logging.CRITICAL
    )  # it would print the error that is raised
    try:
        with tempfile.TemporaryDirectory(prefix="ghostpen-") as folder:
            # datasets takes a path for a pattern, and a * or [ in a folder's name for part of it.
            link = Path(folder) / f"table.{kind}"
            link.symlink_to(file.local.resolve())
            yield from _read_rows(iter(_open_table(link, kind)), file, reading)
    except (ValueError, OSError, NotImplementedError, datasets.exceptions.DatasetsError) as error:
        raise UnreadableError(f"a broken {kind} file; write it again") from error


def _open_table(path: Path, kind: str) -> Any:
    from datasets import Features, IterableDataset, Value

    cache = str(path.parent)  # it writes a lock there, even where it copies nothing
    if kind == "jsonl":
        return IterableDataset.from_json(str(path), cache_dir=cache)
    if kind == "parquet":
        _check_row_groups(path)
        return IterableDataset.from_parquet(str(path), cache_dir=cache)
    encoding, separator, columns = _read_csv_head(path)
    return IterableDataset.from_csv(
        str(path),
        cache_dir=cache,
        features=Features({column: Value("string") for column in columns}),  # else "007" and "1e5" become numbers
        keep_default_na=False,  # else "NA" and "null" become nothing
        sep=separator,
        encoding=encoding,
    )


def _read_csv_head(path: Path) -> tuple[str, str, list[str]]:
    """Return a CSV file's encoding, separator and columns."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    encoding = guess_encoding(head)
    lines = head.decode(encoding, errors="ignore").splitlines()
    first = next((line for line in lines if line.strip()), "")
    separator = max((",", ";", "\t", "|"), key=first.count)
    columns = next(csv.reader(lines, delimiter=separator), [])
    if len(set(columns)) < len(columns) or not all(columns):
        raise UnreadableError("a CSV file without a heading that names each column once")
    return encoding, separator, columns


def _check_row_groups(path: Path) -> None:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(path)
    for number in range(metadata.num_row_groups):
        if metadata.row_group(number).total_byte_size > LARGEST_ROW_GROUP_BYTES:
            raise UnreadableError("a row group unpacks to more than 2 GiB; write it again in smaller ones")


def _read_rows(rows: Iterator[dict[str, Any]], file: SourceFile, reading: Reading) -> Iterator[Passage]:
    sample = list(islice(rows, _SAMPLE_ROWS))
    if not sample:
        raise UnreadableError("a table without rows")
    columns = list(sample[0])
    text_column = _choose_text_column(columns, sample, file, reading)
    date_column = _find_column(DATE_COLUMNS, columns)
    sender_column = _find_column(SENDER_COLUMNS, columns)
    for number, row in enumerate(chain(sample, rows)):
        text = row.get(text_column)
        sender = Sender(name=str(row[sender_column])) if sender_column and row.get(sender_column) else None
        if not isinstance(text, str) or not text.strip():
            reading.left_out["empty_rows"] += 1
        elif sender and not reading.wants(sender):
            reading.left_out["messages_by_others"] += 1
        else:
            written = _read_date(row.get(date_column)) if date_column else None
            yield Passage(
                text, f"{file.path.stem}-{number}", sender=sender, written=written, wrapped=True, headings=True
            )


def _choose_text_column(
    columns: Sequence[str], sample: Sequence[dict[str, Any]], file: SourceFile, reading: Reading
) -> str:
    """Return the column that somebody named, the one called text, or the only one with words in it."""
    for named in reading.text_columns:
        if named in columns:
            return named
    likely = [column for column in columns if _holds_words([row.get(column) for row in sample])]
    if found := _find_column((TEXT_COLUMN,), columns):
        return found
    if len(likely) == 1:
        return likely[0]
    if not likely:
        raise UnreadableError("no column of text")
    if reading.choose_column is not None:
        return reading.choose_column(file.origin, likely)
    shown = ", ".join(likely[:_MOST_COLUMNS_SHOWN]) + (", …" if len(likely) > _MOST_COLUMNS_SHOWN else "")
    raise DataError(f"{file.origin}: which column holds the text? Name it with --text-column; there are: {shown}")


def _holds_words(values: Sequence[object]) -> bool:
    """Say whether at least half of a column's values are several words."""
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    words = [text for text in texts if len(text.split()) > 1 and any(character.isalpha() for character in text)]
    return bool(texts) and len(words) >= len(texts) / 2


def _find_column(names: Sequence[str], columns: Sequence[str]) -> str | None:
    by_name = {column.strip().casefold(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _read_date(value: object) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else parse_date(str(value))
