import resource
from pathlib import Path

import pytest

from ghostpen.evaluation.writing import PartFile, count_batches


def test_part_file_holds_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    part = PartFile(path, key="k")
    part.add(("base", "texts", 0), [{"text": "one\u2028line"}])
    part.add(("base", "windows", 0), [])
    again = PartFile(path, key="k")
    assert len(again) == 2
    assert again.get(("base", "texts", 0)) == [{"text": "one\u2028line"}]
    assert again.get(("base", "windows", 0)) == []
    assert again.get(("author", "texts", 0)) is None


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_part_file_without_the_end_of_a_line_goes_on_before_it(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "part.jsonl"
    part = PartFile(path, key="k")
    part.add(("base", "texts", 0), ["é"])
    part.add(("base", "texts", 1), ["second"])
    path.write_bytes(path.read_bytes()[:-cut])
    again = PartFile(path, key="k")
    assert (len(again), again.get(("base", "texts", 0)), again.get(("base", "texts", 1))) == (1, ["é"], None)
    again.add(("base", "texts", 1), ["second"])
    assert len(PartFile(path, key="k")) == 2


@pytest.mark.parametrize("line", [b"{\n", b"\0\0\0\n", b'"text"\n', b'{"model": "base"}\n', b'"\xff"\n', b"[]\n"])
def test_part_file_with_a_line_of_something_else_goes_on_before_it(tmp_path: Path, line: bytes) -> None:
    """As where the machine went down: the file has got longer, and what was written has not all got there."""
    path = tmp_path / "part.jsonl"
    part = PartFile(path, key="k")
    part.add(("base", "texts", 0), ["é"])
    whole = path.read_bytes()
    part.add(("base", "texts", 1), ["second"])
    path.write_bytes(whole + line + path.read_bytes()[len(whole) :])
    again = PartFile(path, key="k")
    assert (len(again), again.get(("base", "texts", 0))) == (1, ["é"])
    assert path.read_bytes() == whole


def test_part_file_is_mended_on_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """What can't be written can't be lost: the file is cut, not written anew."""
    path = tmp_path / "part.jsonl"
    PartFile(path, key="k").add(("base", "texts", 0), ["é"])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"model": "ba')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        again = PartFile(path, key="k")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (len(again), path.read_bytes()) == (1, whole)


def test_part_file_of_another_key_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    PartFile(path, key="k").add(("base", "texts", 0), ["old"])
    other = PartFile(path, key="kk")
    assert (len(other), other.get(("base", "texts", 0))) == (0, None)
    assert len(PartFile(path, key="k")) == 0  # and the old one is gone


def test_part_file_is_removed(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "part.jsonl", key="k")
    part.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("items", "size", "batches"), [(0, 4, 0), (1, 4, 1), (4, 4, 1), (5, 4, 2)])
def test_count_batches_counts_a_smaller_last_one(items: int, size: int, batches: int) -> None:
    assert count_batches(items, size) == batches
