from pathlib import Path

import pytest

from ghostpen.training.checkpoints import (
    FoundCheckpoint,
    find_newest_checkpoint,
    is_whole,
    read_step,
    read_tokens_seen,
    seal_checkpoint,
)


def write_checkpoint(folder: Path, name: str, *, sealed: bool = True) -> Path:
    checkpoint = folder / name
    checkpoint.mkdir()
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights")
    if sealed:
        seal_checkpoint(checkpoint, tokens_seen=12)
    return checkpoint


def test_newest_checkpoint_is_the_highest_step_not_the_last_in_the_alphabet(tmp_path: Path) -> None:
    for step in (20, 100, 3):
        write_checkpoint(tmp_path, f"checkpoint-{step}")

    found = find_newest_checkpoint(tmp_path)

    assert found == FoundCheckpoint(tmp_path / "checkpoint-100", ())
    assert found.newest is not None
    assert read_step(found.newest) == 100


def test_newest_checkpoint_is_a_whole_one_and_the_damaged_are_named(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path, "checkpoint-20")
    changed = write_checkpoint(tmp_path, "checkpoint-40")
    (changed / "optimizer.pt").write_bytes(b"momentz")
    unsealed = write_checkpoint(tmp_path, "checkpoint-60", sealed=False)
    write_checkpoint(tmp_path, "checkpoint-80.part")

    assert find_newest_checkpoint(tmp_path) == FoundCheckpoint(whole, (unsealed, changed))


def test_newest_checkpoint_where_there_is_none_is_none(tmp_path: Path) -> None:
    unsealed = write_checkpoint(tmp_path, "checkpoint-20", sealed=False)

    assert find_newest_checkpoint(tmp_path) == FoundCheckpoint(None, (unsealed,))
    assert find_newest_checkpoint(tmp_path / "missing") == FoundCheckpoint(None, ())


def test_checkpoint_with_a_lost_file_is_not_whole(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, "checkpoint-20")
    assert is_whole(checkpoint)
    (checkpoint / "optimizer.pt").unlink()
    assert not is_whole(checkpoint)


@pytest.mark.parametrize("seal", ["", "[]", "{}", '{"sha256": 1}', "\xff"])
def test_checkpoint_with_a_torn_seal_is_not_whole(tmp_path: Path, seal: str) -> None:
    checkpoint = write_checkpoint(tmp_path, "checkpoint-20")
    (checkpoint / "seal.json").write_text(seal, encoding="latin-1")
    assert not is_whole(checkpoint)


def test_seal_keeps_the_count_of_tokens(tmp_path: Path) -> None:
    assert read_tokens_seen(write_checkpoint(tmp_path, "checkpoint-20")) == 12


def test_read_step_of_another_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not named checkpoint-N"):
        read_step(Path("checkpoint-last"))
