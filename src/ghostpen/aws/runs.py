"""Where in S3 the data and the runs lie, below the setting storage.uri, and how a run's results come back here.

Owns the names of the bundles that `ghostpen pull` reads. Must not know what is in them, but for the names below.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ghostpen.aws.bundle import list_bundles, pull_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore, S3Location, parse_location
from ghostpen.aws.transfer import Progress, hash_file
from ghostpen.errors import CloudError

DATA = "data"
RUN_MANIFEST = "manifest.json"  # a run's own, in its folder: by it, other verbs know a run
LOG = "log.txt"
CONTROL = "control"


@dataclass(frozen=True)
class PulledRun:
    """What was brought, in words for a person, and where it lies."""

    folder: Path
    parts: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """A bundle, or the files of it that `select` takes, and the folder they go to."""

    title: str
    bundle: str
    folder: Path
    select: Callable[[str], bool] | None = None


def parse_data_location(uri: str) -> S3Location:
    """Read where storage.uri points, from it or from the place of its data: s3://BUCKET/PREFIX[/data].

    Raises:
        CloudError: it is no place in S3.
    """
    location = parse_location(uri)
    if location.prefix == DATA or location.prefix.endswith(f"/{DATA}"):
        return replace(location, prefix=location.prefix.removesuffix(DATA).rstrip("/"))
    return location


def locate_run(run_id: str) -> str:
    """Give what all names of a run's bundles begin with.

    Raises:
        CloudError: it is no run id.
    """
    if not re.fullmatch(r"[a-z0-9-]{1,64}", run_id):
        raise CloudError(f"{run_id[:100]!r} is not the id of a run: it has 1 to 64 letters a-z, digits and hyphens")
    return f"runs/{run_id}"


def pull_run(
    store: ObjectStore, run_id: str, folder: Path, *, progress: Callable[[str], Progress] | None = None
) -> PulledRun:
    """Bring a finished run's folder here, with its control, its newest test and the newest attempt's log.

    The run's own manifest comes last: a pull that was cut off leaves no folder that looks like a run.

    Args:
        progress: is told the title of each part, and gives what is told its bytes.

    Raises:
        CloudError: the run is not there or has no results yet (its log is brought all the same), `folder` holds
            another run, or what `pull_bundle` raises.
    """
    place = locate_run(run_id)
    tests, attempts = (list_bundles(store, f"{place}/{kind}") for kind in ("tests", "attempts"))
    results = list_bundles(store, f"{place}/results")
    if "author" in results:
        _check_free(store, f"{place}/results/author", folder)
    parts = _plan_parts(place, folder, results=results, tests=tests, attempts=attempts)
    for part in parts:
        told = progress(part.title) if progress is not None else None
        pull_bundle(store, part.bundle, part.folder, select=part.select, progress=told)
    if "author" not in results:
        raise _describe_unfinished(store, place, folder, attempts=attempts)
    return PulledRun(folder, tuple(dict.fromkeys(part.title for part in parts)))


def _plan_parts(
    place: str, folder: Path, *, results: list[str], tests: list[str], attempts: list[str]
) -> list[_Part]:
    """List what is brought, in order."""
    parts = []
    if attempts:
        title = f"the log of attempt {attempts[-1]}"
        parts.append(_Part(title, f"{place}/attempts/{attempts[-1]}", folder, lambda path: path == LOG))
    if "author" not in results:
        return parts
    if tests:
        parts.append(_Part(f"test {tests[-1]}", f"{place}/tests/{tests[-1]}", folder))
    if CONTROL in results:
        parts += _plan_run("the control", f"{place}/results/{CONTROL}", folder / CONTROL)
    return parts + _plan_run("the author's adapter", f"{place}/results/author", folder)


def _plan_run(title: str, bundle: str, folder: Path) -> list[_Part]:
    return [
        _Part(title, bundle, folder, lambda path: path != RUN_MANIFEST),
        _Part(title, bundle, folder, lambda path: path == RUN_MANIFEST),
    ]


def _check_free(store: ObjectStore, bundle: str, folder: Path) -> None:
    """Refuse to mix two runs in one folder."""
    path = folder / RUN_MANIFEST
    manifest = read_bundle(store, bundle)
    if manifest is None or not path.exists():
        return
    if hash_file(path).sha256 not in {entry.sha256 for entry in manifest.files if entry.path == RUN_MANIFEST}:
        raise CloudError(f"{folder} holds another run, which was left alone; name another folder with --out DIR")


def _describe_unfinished(store: ObjectStore, place: str, folder: Path, *, attempts: list[str]) -> CloudError:
    where = f"s3://{store.location.bucket}/{store.location.locate(place)}"
    if not attempts:
        return CloudError(
            f"{where} holds no results, and no attempt has ended there; check the id and --from, or wait"
        )
    return CloudError(
        f"{where} holds no results of the author's adapter after attempt {attempts[-1]}, whose log is now in "
        f"{folder / LOG}; start the run again with the same id to go on"
    )
