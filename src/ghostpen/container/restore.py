"""What a run left in S3 comes back to a folder: data, results, and the newest checkpoint that is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ghostpen.aws.bundle import list_bundles, pull_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.container.names import DATA, RunNames, order_checkpoints, read_checkpoint_step
from ghostpen.container.uploads import CHECKPOINTS
from ghostpen.errors import CloudError, DataError
from ghostpen.training.checkpoints import find_newest_checkpoint, is_whole, read_progress, read_step

# A training must not see the test texts, and a test needs no other ones.
SPLITS = {
    "train": ("train", "val", "contrast_train", "contrast_val"),
    "test": ("test", "contrast_test"),
}


def pull_data(store: ObjectStore, folder: Path, *, mode: str) -> frozenset[str]:
    """Bring the splits that a mode reads; returns the names of their files.

    Raises:
        DataError: there are no data at the place, or not those for the mode.
        CloudError: they can't be read, or are not what their manifest says.
    """
    names = {"manifest.json", *(f"{split}.jsonl" for split in SPLITS[mode])}
    if read_bundle(store, DATA) is None:
        raise DataError(
            f"{store.location}/{DATA} holds no complete data; put them there with "
            f"`ghostpen data push DIR {store.location}/{DATA}`"
        )
    manifest = pull_bundle(store, DATA, folder, select=names.__contains__)
    found = names & {entry.path for entry in manifest.files}
    if missing := sorted({"manifest.json", f"{SPLITS[mode][0]}.jsonl"} - found):
        raise DataError(
            f"{store.location}/{DATA} holds no {' and no '.join(missing)}; prepare the data, and push them "
            "to another place"
        )
    return frozenset(found)


def pull_results(store: ObjectStore, names: RunNames, *, role: str, folder: Path) -> bool:
    """Bring a finished training's folder; False where there is none.

    Raises:
        CloudError: it can't be read, or is not what its manifest says.
    """
    if read_bundle(store, names.results(role)) is None:
        return False
    pull_bundle(store, names.results(role), folder)
    return True


def restore_checkpoint(
    store: ObjectStore, names: RunNames, *, role: str, folder: Path, warn: Callable[[str], None]
) -> int | None:
    """Bring the newest checkpoint that is whole, and the best one, where S3 is further than the folder.

    Returns:
        The step that a training goes on from; None if it begins.

    Raises:
        CloudError: S3 can't be read.
    """
    place = names.checkpoints(role)
    here = find_newest_checkpoint(folder / CHECKPOINTS).newest
    step_here = read_step(here) if here else None
    there = order_checkpoints(list_bundles(store, place))
    for name in there:
        step = read_checkpoint_step(name) or 0
        if step_here is not None and step <= step_here:
            break
        checkpoint = folder / CHECKPOINTS / f"checkpoint-{step}"
        if _pull_whole(store, f"{place}/{name}", folder=folder, checkpoint=checkpoint, warn=warn):
            _pull_best(store, place, there=there, folder=folder, checkpoint=checkpoint, warn=warn)
            return step
    return step_here


def _pull_whole(
    store: ObjectStore, name: str, *, folder: Path, checkpoint: Path, warn: Callable[[str], None]
) -> bool:
    try:
        pull_bundle(store, name, folder)
        if is_whole(checkpoint):
            return True
        problem = "its files are not those that were sealed"
    except CloudError as error:
        read_bundle(store, DATA)  # S3 itself does not answer: then this is no reason to take an older one
        problem = error.message
    warn(f"warning: {store.location}/{name} is not whole and is left out: {problem}")
    shutil.rmtree(checkpoint, ignore_errors=True)
    return False


def _pull_best(
    store: ObjectStore, place: str, *, there: list[str], folder: Path, checkpoint: Path, warn: Callable[[str], None]
) -> None:
    """Bring the checkpoint whose weights the run keeps, if it ends without a better one."""
    best = read_progress(checkpoint).get("course", {}).get("best_step")
    if best is None or best == read_step(checkpoint):
        return
    for name in there:
        if read_checkpoint_step(name) != best:
            continue
        try:
            pull_bundle(store, f"{place}/{name}", folder, select=lambda path: path.startswith(f"{CHECKPOINTS}/"))
            return
        except CloudError as error:
            warn(f"warning: {store.location}/{place}/{name}, the best one, can't be brought: {error.message}")
