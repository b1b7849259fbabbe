"""Bundles: folders in S3 that are there whole or not at all.

A bundle NAME is `NAME/manifest.json` and the files that it lists, below `NAME/files/CONTENT/`, where CONTENT is
the fingerprint of the whole list. The manifest is written last, and only where there is none. So pushes of
different files never share a key, whoever comes first wins, and what was left by a push that was cut off is taken
up by the next one with the same files, and is in nobody's way otherwise. Must not know what the files are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ghostpen.aws.manifest import MANIFEST_NAME, BundleManifest, FileEntry
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.transfer import Progress, download_files, hash_files, upload_files
from ghostpen.errors import BundleExistsError, CloudError

__all__ = ["BundleManifest", "FileEntry", "list_bundles", "pull_bundle", "push_bundle", "read_bundle"]

DEADLINE_S = 6 * 3600.0  # of one push or pull: 40 GB over 20 Mbit/s take less


def push_bundle(
    store: ObjectStore,
    name: str,
    files: Mapping[str, Path],
    *,
    info: Mapping[str, Any],
    progress: Progress | None = None,
    deadline_s: float = DEADLINE_S,
    tag: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BundleManifest:
    """Upload files under their names in `files`, what is already there left out, and then the manifest.

    Where a complete bundle of the same files stands, nothing is done, and its manifest is returned: `info` and
    `created_at` are then those of the first push.

    Args:
        info: what readers are to know of it, as JSON. progress: see transfer.Progress; called from any thread.
        tag: KEY=VALUE on every object of it, for a bucket's lifecycle rules, which can't tell names apart.
        deadline_s: of the files' transfer. It ends up to 50 seconds later where S3 is silent just then: a call
            that has begun is waited for (READ_TIMEOUT_S, and botocore's pause).

    Raises:
        BundleExistsError: a complete bundle of other files stands there; nothing of it was changed.
        CloudError: a name that no bundle may hold, a file that can't be read or changes meanwhile, a refusal of
            S3, no answer, or not done at the deadline. The same push again goes on from there.
    """
    found = read_bundle(store, name)
    local = hash_files(files)
    entries = tuple(FileEntry(path, file.size_bytes, file.sha256) for path, file in sorted(local.items()))
    manifest = BundleManifest(entries, info, created_at=now().isoformat(timespec="seconds"))
    if found is not None:
        return _check_same(found, manifest, store=store, name=name)
    there = store.list_objects(f"{name}/{manifest.folder}")
    keys = {path: store.location.locate(f"{name}/{manifest.folder}/{path}") for path in local}
    missing = {keys[path]: file for path, file in local.items() if there.get(path) != file.size_bytes}
    upload_files(store, missing, progress=progress, deadline_s=deadline_s, tag=tag)
    content = manifest.to_json().encode()
    if store.write_object(f"{name}/{MANIFEST_NAME}", content, only_if_absent=True, tag=tag):
        return manifest
    found = read_bundle(store, name)
    if found is None:
        raise CloudError(f"{_locate(store, name)}: its manifest was deleted while it was pushed; push it again")
    return _check_same(found, manifest, store=store, name=name)


def read_bundle(store: ObjectStore, name: str) -> BundleManifest | None:
    """Read a bundle's manifest; None where there is none, and so no complete bundle.

    Raises:
        BundleDamagedError: it is not valid.
        CloudError: it can't be read.
    """
    content = store.read_object(f"{name}/{MANIFEST_NAME}")
    return None if content is None else BundleManifest.from_json(content, where=_locate(store, name))


def pull_bundle(
    store: ObjectStore,
    name: str,
    folder: Path,
    *,
    select: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
    deadline_s: float = DEADLINE_S,
) -> BundleManifest:
    """Download a bundle's files, or those that `select` takes, into `folder`; those that match are left alone.

    Every file is downloaded beside its place, checked against the manifest and then renamed: what stands in
    `folder` under a name of the bundle is the old file or the whole new one.

    Raises:
        BundleDamagedError: the manifest is not valid, or a file is missing or not what the manifest says.
        CloudError: there is no complete bundle, a file can't be written, a refusal of S3, no answer, or not done at
            the deadline. The same pull again goes on from there.
    """
    manifest = read_bundle(store, name)
    if manifest is None:
        raise CloudError(f"{_locate(store, name)} holds no complete bundle (no {MANIFEST_NAME}); push it first")
    wanted = [entry for entry in manifest.files if select is None or select(entry.path)]
    keys = {store.location.locate(f"{name}/{manifest.folder}/{entry.path}"): entry for entry in wanted}
    download_files(store, keys, folder, progress=progress, deadline_s=deadline_s)
    return manifest


def list_bundles(store: ObjectStore, name: str) -> list[str]:
    """List the complete bundles one level below `name`: checkpoint-2 comes before checkpoint-10.

    Raises:
        CloudError: a refusal of S3, or no answer.
    """
    matches = (re.fullmatch(rf"([^/]+)/{re.escape(MANIFEST_NAME)}", key) for key in store.list_objects(name))
    return sorted((match[1] for match in matches if match), key=_read_numbers)


def _read_numbers(name: str) -> list[tuple[int, str]]:
    """Give a key to sort by, in which numbers count as numbers."""
    return [(int(part), "") if number % 2 else (0, part) for number, part in enumerate(re.split(r"([0-9]+)", name))]


def _check_same(found: BundleManifest, wanted: BundleManifest, *, store: ObjectStore, name: str) -> BundleManifest:
    if found.files == wanted.files:
        return found
    place = _locate(store, name)
    raise BundleExistsError(
        f"{place} holds other files, pushed {found.created_at}, and they were left alone: a bundle is never "
        f"overwritten; push to another place, or delete it first (aws s3 rm --recursive {place}/)"
    )


def _locate(store: ObjectStore, name: str) -> str:
    return f"s3://{store.location.bucket}/{store.location.locate(name)}"
