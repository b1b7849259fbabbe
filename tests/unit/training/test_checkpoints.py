import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ghostpen.training.checkpoints import (
    FoundCheckpoint,
    delete_old_checkpoints,
    explain_disk_error,
    find_newest_checkpoint,
    is_whole,
    read_progress,
    read_step,
    seal_checkpoint,
)


def write_checkpoint(folder: Path, name: str, *, sealed: bool = True) -> Path:
    checkpoint = folder / name
    checkpoint.mkdir()
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights")
    if sealed:
        seal_checkpoint(checkpoint, progress={"tokens_seen": 12})
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


def test_seal_comes_to_the_disk_after_all_that_it_speaks_of(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, "checkpoint-20", sealed=False)
    before_the_seal, after_it = [], []

    def sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        (after_it if (checkpoint / "seal.json").exists() else before_the_seal).append(path)

    seal_checkpoint(checkpoint, progress={}, fsync=sync)

    files = [checkpoint / name for name in ("adapter_model.safetensors", "optimizer.pt")]
    assert before_the_seal == [*files, checkpoint, tmp_path, checkpoint / ".seal.json.part"]
    assert after_it == [checkpoint]


def test_seal_keeps_what_is_to_be_remembered(tmp_path: Path) -> None:
    assert read_progress(write_checkpoint(tmp_path, "checkpoint-20")) == {"tokens_seen": 12}


@pytest.mark.parametrize(
    ("keep", "best_step", "left"),
    [(2, None, {30, 40}), (2, 10, {10, 30, 40}), (1, 40, {40}), (1, 30, {30, 40}), (9, 10, {10, 20, 30, 40})],
)
def test_old_checkpoints_go_but_the_best_stays(
    tmp_path: Path, keep: int, best_step: int | None, left: set[int]
) -> None:
    for step in (10, 20, 30, 40):
        write_checkpoint(tmp_path, f"checkpoint-{step}")
    (tmp_path / "checkpoint-notes").mkdir()

    delete_old_checkpoints(tmp_path, newest_step=40, keep=keep, best_step=best_step)

    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{step}" for step in left} | {
        "checkpoint-notes"
    }


def test_a_checkpoint_without_seal_counts_for_none(tmp_path: Path) -> None:
    for step in (10, 20):
        write_checkpoint(tmp_path, f"checkpoint-{step}")
    write_checkpoint(tmp_path, "checkpoint-30", sealed=False)

    delete_old_checkpoints(tmp_path, newest_step=20, keep=1, best_step=None)

    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-20"}


def test_damaged_checkpoint_that_a_resume_left_out_does_not_displace_those_that_follow(tmp_path: Path) -> None:
    best = write_checkpoint(tmp_path, "checkpoint-20")
    damaged = write_checkpoint(tmp_path, "checkpoint-80")
    (damaged / "optimizer.pt").write_bytes(b"momentz")
    assert find_newest_checkpoint(tmp_path).newest == best  # from which the training goes on

    for step in (30, 40, 50):
        newest = write_checkpoint(tmp_path, f"checkpoint-{step}")
        delete_old_checkpoints(tmp_path, newest_step=step, keep=1, best_step=20)

        assert find_newest_checkpoint(tmp_path) == FoundCheckpoint(newest, ())
        assert {path.name for path in tmp_path.iterdir()} == {best.name, newest.name}


def test_disk_errors_are_told_from_others() -> None:
    assert explain_disk_error(OSError(errno.ENOSPC, "full")) == "No space left on device"
    assert explain_disk_error(FileNotFoundError(errno.ENOENT, "gone")) is None
    assert explain_disk_error(RuntimeError("size mismatch")) is None
    assert explain_disk_error(ValueError("PytorchStreamWriter")) is None


# Each library writes 1 MB where a file may have 100 kB: as near to a full disk as a test comes without a disk.
TOO_LARGE = """
import pickle, resource, signal, sys, torch
from safetensors.torch import save_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from ghostpen.training.checkpoints import explain_disk_error
tensor = torch.zeros(250_000)
for write in (
    lambda: torch.save(tensor, sys.argv[1] + "/a.pt"),
    lambda: save_file({"a": tensor}, sys.argv[1] + "/a.safetensors"),
    lambda: open(sys.argv[1] + "/a.bin", "wb").write(bytes(10**6)),
):
    try:
        write()
    except Exception as error:
        print(explain_disk_error(error))
    else:
        print("written")
"""


def test_disk_errors_of_every_library_that_writes_a_checkpoint_are_known(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TOO_LARGE, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["the file could not be written", "File too large", "File too large"], done


def test_read_step_of_another_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not named checkpoint-N"):
        read_step(Path("checkpoint-last"))
