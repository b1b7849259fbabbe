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
