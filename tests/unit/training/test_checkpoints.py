from pathlib import Path

import pytest

from ghostpen.training.checkpoints import TOKENS_SEEN, find_newest_checkpoint, read_step


def write_checkpoint(folder: Path, name: str, *, whole: bool = True) -> Path:
    (folder / name).mkdir()
    if whole:
        (folder / name / TOKENS_SEEN).write_text('{"tokens_seen": 1}')
    return folder / name


def test_newest_checkpoint_is_the_highest_step_not_the_last_in_the_alphabet(tmp_path: Path) -> None:
    for step in (20, 100, 3):
        write_checkpoint(tmp_path, f"checkpoint-{step}")

    newest = find_newest_checkpoint(tmp_path)

    assert newest is not None
    assert (newest.name, read_step(newest)) == ("checkpoint-100", 100)


def test_newest_checkpoint_is_a_whole_one(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path, "checkpoint-20")
    write_checkpoint(tmp_path, "checkpoint-40", whole=False)
    write_checkpoint(tmp_path, "checkpoint-60.part")

    assert find_newest_checkpoint(tmp_path) == whole


def test_newest_checkpoint_where_there_is_none_is_none(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "checkpoint-20", whole=False)

    assert find_newest_checkpoint(tmp_path) is None
    assert find_newest_checkpoint(tmp_path / "missing") is None


def test_read_step_of_another_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not named checkpoint-N"):
        read_step(Path("checkpoint-last"))
