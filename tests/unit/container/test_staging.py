import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from ghostpen.container.staging import CheckpointWatch, StagedCheckpoint


def write_checkpoint(folder: Path, step: int, *, seal: bool = True, best_step: int | None = 2) -> Path:
    checkpoint = folder / f"checkpoints/checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter.bin").write_text(f"weights {step}")
    if seal:
        write_seal(checkpoint, best_step)
    return checkpoint


def write_seal(checkpoint: Path, best_step: int | None = 2) -> None:
    digest = hashlib.sha256((checkpoint / "adapter.bin").read_bytes()).hexdigest()
    seal = {"progress": {"course": {"best_step": best_step}}, "sha256": {"adapter.bin": digest}}
    (checkpoint / "seal.json").write_text(json.dumps(seal))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    (made / "samples").mkdir(parents=True)
    (made / "samples/step-0.txt").write_text("a sample")
    (made / "wandb/offline-run-1").mkdir(parents=True)
    (made / "wandb/offline-run-1/run-1.wandb").write_text("rows")
    (made / "wandb/latest-run").symlink_to("offline-run-1")
    (made / "control/checkpoints/checkpoint-9").mkdir(parents=True)
    (made / "control/checkpoints/checkpoint-9/seal.json").write_text("{}")
    (made / "adapter").mkdir()
    (made / "adapter/adapter.bin").write_text("of before")
    (made / "metrics.jsonl").write_text('{"step": 1}\n')
    (made / ".manifest.json.part").write_text("half of a man")
    return made


def watch(folder: Path, *, known: tuple[Path, ...] = (), warnings: list[str] | None = None) -> CheckpointWatch:
    warn = pytest.fail if warnings is None else warnings.append
    return CheckpointWatch(folder, role="author", staging=folder.parent / "staged", known=known, warn=warn)


def test_checkpoint_is_found_once_when_it_is_sealed_and_with_what_lies_beside_it(folder: Path) -> None:
    watching = watch(folder)
    checkpoint = write_checkpoint(folder, 4, seal=False)
    assert watching.find() == []
    write_seal(checkpoint)
    (found,) = watching.find()
    assert (found.role, found.step, found.best_step) == ("author", 4, 2)
    assert set(found.list_files()) == {
        "checkpoints/checkpoint-4/adapter.bin",
        "checkpoints/checkpoint-4/seal.json",
        "metrics.jsonl",
        "samples/step-0.txt",
        "wandb/offline-run-1/run-1.wandb",
    }
    assert watching.find() == []


def test_what_was_set_aside_outlives_deletion_and_does_not_grow(folder: Path) -> None:
    checkpoint = write_checkpoint(folder, 4)
    (found,) = watch(folder).find()
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 2}\n')
    shutil.rmtree(checkpoint)
    files = found.list_files()
    assert files["checkpoints/checkpoint-4/adapter.bin"].read_text() == "weights 4"
    assert files["metrics.jsonl"].read_text() == '{"step": 1}\n'


def test_weights_are_linked_and_not_copied(folder: Path) -> None:
    checkpoint = write_checkpoint(folder, 4)
    (found,) = watch(folder).find()
    staged = found.list_files()["checkpoints/checkpoint-4/adapter.bin"]
    assert staged.stat().st_ino == (checkpoint / "adapter.bin").stat().st_ino


def test_several_are_found_oldest_first(folder: Path) -> None:
    for step in (10, 9, 2):
        write_checkpoint(folder, step)
    assert [found.step for found in watch(folder).find()] == [2, 9, 10]


def test_known_one_is_found_again_only_when_it_is_written_anew(folder: Path) -> None:
    checkpoint = write_checkpoint(folder, 4)
    os.utime(checkpoint / "seal.json", ns=(1, 1))
    watching = watch(folder, known=(checkpoint,))
    assert watching.find() == []
    shutil.rmtree(checkpoint)
    write_checkpoint(folder, 4)
    assert [found.step for found in watching.find()] == [4]


def test_one_that_is_being_deleted_is_left_out(folder: Path) -> None:
    checkpoint = write_checkpoint(folder, 4)
    (checkpoint / "adapter.bin").unlink()  # rmtree has come this far
    watching = watch(folder)
    assert watching.find() == []
    assert [path for path in (folder.parent / "staged").rglob("*") if path.is_file()] == []


def test_one_that_the_disk_refuses_is_said_once(folder: Path) -> None:
    write_checkpoint(folder, 4)
    warnings: list[str] = []
    watching = watch(folder, warnings=warnings)
    (folder.parent / "staged").write_text("a file where a folder is to be")
    assert watching.find() == []
    assert watching.find() == []
    reason = os.strerror(errno.ENOTDIR)
    assert warnings == [
        f"warning: {folder}/checkpoints/checkpoint-4 can't be set aside for its upload: {reason}; the next one may"
    ]
    (folder.parent / "staged").unlink()
    write_checkpoint(folder, 6)
    found: list[StagedCheckpoint] = watching.find()
    assert [staged.step for staged in found] == [6]
