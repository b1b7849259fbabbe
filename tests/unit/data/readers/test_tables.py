"""JSON lines, CSV and Parquet, written by Python's json and csv and by pyarrow."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ghostpen.data.readers.passages import Reading, Sender, SourceFile, UnreadableError
from ghostpen.data.readers.tables import read_table
from ghostpen.errors import DataError

MakeFile = Callable[[Path], SourceFile]

# datasets 4.8 leaves a CSV file that it read to the garbage collection.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")


def test_jsonl_row_is_a_document_with_date_and_sender(tmp_path: Path, make_file: MakeFile, reading: Reading) -> None:
    rows = [
        {"text": "It was day.", "date": "2024-01-02T10:00:00", "author": "Ann", "n": 1},
        {"text": "  ", "date": None, "author": "Ann", "n": 2},
        {"text": "It was night.", "date": None, "author": "Bob", "n": 3},
    ]
    (tmp_path / "my [odd] *name.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_table(make_file(tmp_path / "my [odd] *name.jsonl"), "jsonl", reading)
    assert (first.text, first.written, first.sender) == ("It was day.", date(2024, 1, 2), Sender("Ann"))
    assert (second.name, second.written, second.sender) == ("my [odd] *name-2", None, Sender("Bob"))
    assert reading.left_out == {"empty_rows": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_is_read_in_the_encoding_and_with_the_separator_that_it_has(
    tmp_path: Path, make_file: MakeFile, reading: Reading, encoding: str, separator: str
) -> None:
    rows = [["id", "body"], ["007", '"Er sagte ""für, mich; das"""'], ["8", "NA"], ["9", '"zwei\nZeilen Öl"']]
    (tmp_path / "a.csv").write_bytes("\n".join(separator.join(row) for row in rows).encode(encoding))
    texts = [passage.text for passage in read_table(make_file(tmp_path / "a.csv"), "csv", reading)]
    assert texts == ['Er sagte "für, mich; das"', "NA", "zwei\nZeilen Öl"]


def test_parquet_is_read_with_its_dates(tmp_path: Path, make_file: MakeFile, reading: Reading) -> None:
    table = pyarrow.table({"body": ["one day", "two days"], "created_at": [datetime(2024, 1, 2), None]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    passages = list(read_table(make_file(tmp_path / "a.parquet"), "parquet", reading))
    assert [(passage.text, passage.written) for passage in passages] == [
        ("one day", date(2024, 1, 2)),
        ("two days", None),
    ]


# Which column


def write_rows(folder: Path, rows: Sequence[dict[str, object]]) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TWO_COLUMNS = [{"title": "A fine day", "body": "It was day.", "id": "x1", "url": "https://example.org/a"}]


def test_text_column_is_the_one_called_so_or_the_only_one_with_words(
    tmp_path: Path, make_file: MakeFile, reading: Reading
) -> None:
    path = write_rows(tmp_path, [{"Text": "one", "title": "A fine day", "body": "It was day."}])
    assert [passage.text for passage in read_table(make_file(path), "jsonl", reading)] == ["one"]
    path = write_rows(tmp_path, [{"id": "x1", "n": 3, "url": "https://example.org", "note": "It was day."}])
    assert [passage.text for passage in read_table(make_file(path), "jsonl", reading)] == ["It was day."]


def test_text_column_that_is_not_clear_is_asked_for_with_the_columns(
    tmp_path: Path, make_file: MakeFile, reading: Reading
) -> None:
    path = write_rows(tmp_path, TWO_COLUMNS)
    with pytest.raises(
        DataError, match=r"which column holds the text\? Name it with --text-column; .*: title, body$"
    ):
        list(read_table(make_file(path), "jsonl", reading))


def test_text_column_that_is_named_is_taken(tmp_path: Path, make_file: MakeFile, reading: Reading) -> None:
    path = write_rows(tmp_path, TWO_COLUMNS)
    named = replace(reading, text_columns=("content", "title"))
    assert [passage.text for passage in read_table(make_file(path), "jsonl", named)] == ["A fine day"]


def test_text_column_is_asked_of_the_person_where_there_is_one(
    tmp_path: Path, make_file: MakeFile, reading: Reading
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def choose(file: str, columns: Sequence[str]) -> str:
        asked.append((file, list(columns)))
        return columns[1]

    path = write_rows(tmp_path, TWO_COLUMNS)
    rows = list(read_table(make_file(path), "jsonl", replace(reading, choose_column=choose)))
    assert [passage.text for passage in rows] == ["It was day."]
    assert asked == [(str(path), ["title", "body"])]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": broken\n', "a broken jsonl file"),
        ("a.jsonl", b'{"n": 1}\n', "no column of text"),
        ("a.parquet", b"PAR1 and no more", "a broken parquet file"),
        ("a.csv", b"a,a\n1,2\n", "without a heading that names each column once"),
        ("a.csv", b"id,text\n", "a table without rows"),
    ],
)
def test_table_that_cannot_be_read_says_why(
    tmp_path: Path, make_file: MakeFile, reading: Reading, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        list(read_table(make_file(tmp_path / name), name.rpartition(".")[2], reading))


def test_table_is_read_without_network_and_without_a_copy_in_a_cache(
    tmp_path: Path, make_file: MakeFile, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sockets that leave this machine are refused by tests/conftest.py; online, datasets would not hold back.
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = write_rows(tmp_path, [{"text": "one"}])
    assert len(list(read_table(make_file(path), "jsonl", reading))) == 1
    assert not (tmp_path / "cache").exists()
