"""What S3 holds comes back to a folder: data, results, and the newest checkpoint that is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostpen.aws.bundle import list_bundles, pull_bundle, read_bundle
from ghostpen.aws.runs import DATA
from ghostpen.aws.s3 import ObjectStore
from ghostpen.container.names import RunNames, order_checkpoints, read_checkpoint_step
from ghostpen.container.staging import CHECKPOINTS, find_best_step
from ghostpen.data.sections import SPLITS
from ghostpen.errors import BundleDamagedError, DataError
from ghostpen.training.checkpoints import SEAL, find_newest_checkpoint, is_whole, read_step

DATA_MANIFEST = "manifest.json"
# A training must not see the test texts; a test looks in the training texts for what was copied. First what must be.
READ_SPLITS = {
    "train": ("train", "val", "contrast_train", "contrast_val"),
    "test": ("test", "contrast_test", "train", "val", "contrast_train"),
}
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Restored:
    """What a training goes on from.

    Args:
        step: of the newest checkpoint; None if the training begins. known: checkpoints in the folder that S3 has, or
            that are not whole: they are not to be uploaded.
    """

    step: int | None
    known: tuple[Path, ...] = ()


def pull_data(store: ObjectStore, folder: Path, *, mode: str) -> frozenset[str]:
    """Bring the splits that a mode reads; returns them.

    Raises:
        DataError: there are no data at the place, or not those for the mode, or `folder` holds other data.
        CloudError: they can't be read, or are not what their manifest says.
    """
    manifest = read_bundle(store, DATA)
    if manifest is None:
        raise DataError(
            f"{store.location}/{DATA} holds no complete data; put them there with "
            f"`ghostpen data push DIR {store.location}`"
        )
    there = {entry.path for entry in manifest.files}
    here = {path.name for path in folder.glob("*.jsonl")}
    if stale := sorted(({f"{split}.jsonl" for split in SPLITS} & here) - there):
        raise DataError(f"{folder} holds {', '.join(stale)} of other data; name another folder with --work DIR")
    wanted = {DATA_MANIFEST, *(f"{split}.jsonl" for split in READ_SPLITS[mode])}
    if missing := sorted({DATA_MANIFEST, f"{READ_SPLITS[mode][0]}.jsonl"} - there):
        raise DataError(f"{store.location}/{DATA} holds no {' and no '.join(missing)}; push what `prepare` wrote")
    pull_bundle(store, DATA, folder, select=wanted.__contains__)
    return frozenset(split for split in READ_SPLITS[mode] if f"{split}.jsonl" in there)


def pull_results(store: ObjectStore, names: RunNames, *, role: str, folder: Path) -> bool:
    """Bring a finished training's folder; False where there is none.

    Raises:
        CloudError: it can't be read, or is not what its manifest says.
    """
    if read_bundle(store, names.results(role)) is None:
        return False
    pull_bundle(store, names.results(role), folder)
    return True


def restore_checkpoint(store: ObjectStore, names: RunNames, *, role: str, folder: Path, warn: Warn) -> Restored:
    """Bring the newest checkpoint that is whole, and the best one, where S3 is further than the folder.

    A bundle that is damaged is left out with a warning, as if it were not there.

    Raises:
        CloudError: S3 can't be read; then nothing is known about what is there.
    """
    place = names.checkpoints(role)
    there = order_checkpoints(list_bundles(store, place))
    here = find_newest_checkpoint(folder / CHECKPOINTS).newest
    step = read_step(here) if here else None
    damaged = set()
    for name in there:
        if step is not None and read_checkpoint_step(name) <= step:
            break
        if _pull_whole(store, f"{place}/{name}", folder=folder, step=read_checkpoint_step(name), warn=warn):
            step = read_checkpoint_step(name)
            break
        damaged.add(name)
    if step is not None and (best := find_best_step(_locate(folder, step))) is not None:
        damaged |= _pull_best(store, place, there=there, step=best, folder=folder, warn=warn)
    steps = {read_checkpoint_step(name) for name in there if name not in damaged}
    found = [path.parent for path in folder.glob(f"{CHECKPOINTS}/checkpoint-*/{SEAL}")]
    return Restored(step, tuple(path for path in found if read_step(path) in steps or not is_whole(path)))


def _locate(folder: Path, step: int) -> Path:
    return folder / CHECKPOINTS / f"checkpoint-{step}"


def _pull_whole(
    store: ObjectStore, name: str, *, folder: Path, step: int, warn: Warn, weights_alone: bool = False
) -> bool:
    checkpoint = _locate(folder, step)
    try:
        pull_bundle(store, name, folder, select=lambda path: not weights_alone or path.startswith(f"{CHECKPOINTS}/"))
        if is_whole(checkpoint):
            return True
        problem = "its files are not those that were sealed"
    except BundleDamagedError as error:
        problem = error.message
    warn(f"warning: {store.location}/{name} is not whole and is left out: {problem}")
    shutil.rmtree(checkpoint, ignore_errors=True)
    return False


def _pull_best(store: ObjectStore, place: str, *, there: list[str], step: int, folder: Path, warn: Warn) -> set[str]:
    """Bring the checkpoint whose weights the run keeps, if it ends without a better one; returns damaged ones."""
    damaged: set[str] = set()
    if is_whole(_locate(folder, step)):
        return damaged
    for name in (name for name in there if read_checkpoint_step(name) == step):
        if _pull_whole(store, f"{place}/{name}", folder=folder, step=step, warn=warn, weights_alone=True):
            break
        damaged.add(name)
    return damaged
