from pathlib import Path

import pytest

from ghostpen.files import write_bytes_atomically, write_text_atomically


def test_write_text_keeps_letters_and_line_breaks(tmp_path: Path) -> None:
    write_text_atomically("Brontë\r\n\n", tmp_path / "a.txt")

    assert (tmp_path / "a.txt").read_bytes() == b"Bront\xc3\xab\r\n\n"


def test_write_bytes_replaces_what_stood_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a long old content")
    write_bytes_atomically(b"new", tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_write_bytes_that_cannot_be_put_in_place_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()  # a file cannot replace a folder

    with pytest.raises(OSError):
        write_bytes_atomically(b"new", tmp_path / "a")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_write_bytes_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes_atomically(b"new", tmp_path / "missing" / "a")
