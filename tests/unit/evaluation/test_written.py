from dataclasses import replace
from pathlib import Path

import pytest

from ghostpen.errors import DataError
from ghostpen.evaluation.written import Written, read_written, write_written

ONE = Written("author", "continuation", "It was", " late.\u2028\nShe", "early.", "Emma", 3, 7, 0.8, False)


def test_texts_come_back_as_they_were_written(tmp_path: Path) -> None:
    texts = [ONE, replace(ONE, model="base", kind="topic", real=None, document=None, section=None, ended=True)]
    write_written(texts, tmp_path / "written.jsonl")
    assert read_written(tmp_path / "written.jsonl") == texts


def test_no_file_is_no_text(tmp_path: Path) -> None:
    assert read_written(tmp_path / "written.jsonl") == []


@pytest.mark.parametrize("line", ["{", '{"model": "author"}', "[]", '"text"'])
def test_line_of_something_else_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "written.jsonl"
    write_written([ONE], path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"written\.jsonl:2 is no written text"):
        read_written(path)
