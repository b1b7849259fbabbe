"""What a run has left in S3: whether it is whole, and the figure that a person wants to see first.

Owns which bundles a finished run has. Does not download what is in them, but for two small files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ghostpen.aws.bundle import list_bundles, read_bundle
from ghostpen.aws.handover import Mode
from ghostpen.aws.manifest import MANIFEST_NAME, BundleManifest
from ghostpen.aws.s3 import ObjectStore
from ghostpen.errors import CloudError, ResultsMissingError

DATA = "data"
CONTRAST_FILE = "contrast_train.jsonl"  # with it, a control is trained, too
ROLES = ("author", "control")


@dataclass(frozen=True)
class Results:
    """What was found, in words for a summary."""

    bundles: tuple[str, ...]
    perplexity: float | None  # of the author's held-out text; None where it is not in the results
    verdict: str = ""  # of a test


def name_results(run_id: str, role: str) -> str:
    """Name the bundle of a finished training, below storage.uri."""
    return f"runs/{run_id}/results/{role}"


def list_tests(store: ObjectStore, run_id: str) -> tuple[str, ...]:
    """List the reports of a run's tests.

    Raises:
        CloudError: S3 refuses, or does not answer.
    """
    return tuple(list_bundles(store, f"runs/{run_id}/tests"))


def has_results(store: ObjectStore, run_id: str, *, control: bool) -> bool:
    """Say whether a run's training has finished, by its bundles' manifests.

    Raises:
        CloudError: S3 refuses or does not answer, or a manifest is not valid.
    """
    return all(read_bundle(store, name_results(run_id, role)) is not None for role in _list_roles(control))


def has_begun(store: ObjectStore, run_id: str) -> bool:
    """Say whether anything is there that a run's settings have made: results, or a checkpoint to go on from.

    Raises:
        CloudError: S3 refuses, or does not answer.
    """
    return any(list_bundles(store, f"runs/{run_id}/{place}") for place in ("results", *ROLES))


def verify_results(
    store: ObjectStore, run_id: str, *, mode: Mode, control: bool, tests_before: tuple[str, ...]
) -> Results:
    """Check that all that a run of this mode leaves is in S3, each file with the size that its manifest says.

    Raises:
        ResultsMissingError: something is not, or is not whole.
        CloudError: S3 refuses, or does not answer.
    """
    if mode == "train":
        names = [name_results(run_id, role) for role in _list_roles(control)]
    else:
        new = [name for name in list_tests(store, run_id) if name not in tests_before]
        names = [f"runs/{run_id}/tests/{new[-1]}"] if new else []
    if not names:
        raise ResultsMissingError(
            f"{store.location}/runs/{run_id}/tests holds no new report, although the container left well; its log is "
            f"in {store.location}/runs/{run_id}/attempts"
        )
    manifests = [_verify_bundle(store, name) for name in names]
    if mode == "train":
        return Results(tuple(names), _read_trained_perplexity(store, names[0], manifests[0]))
    report = _read_json(store, names[0], manifests[0], "report.json")
    perplexity = _look_up(report, "author_test", "models", "author", "perplexity")
    return Results(tuple(names), _as_number(perplexity), str(_look_up(report, "verdict") or ""))


def _list_roles(control: bool) -> tuple[str, ...]:
    return ROLES if control else ROLES[:1]


def _verify_bundle(store: ObjectStore, name: str) -> BundleManifest:
    place = f"{store.location}/{name}"
    again = "delete it and deploy again with the same --run-id, which goes on from the newest checkpoint"
    content = store.read_object(f"{name}/{MANIFEST_NAME}")
    if content is None:
        raise ResultsMissingError(
            f"{place} holds no complete bundle, although the container left well; its log is in "
            f"{store.location}/{name.partition('/results')[0]}/attempts; {again}"
        )
    try:
        manifest = BundleManifest.from_json(content, where=place)
    except CloudError as error:
        raise ResultsMissingError(error.message) from error
    there = store.list_objects(f"{name}/{manifest.folder}")
    wrong = [entry for entry in manifest.files if there.get(entry.path) != entry.size_bytes]
    if wrong:
        found = there.get(wrong[0].path, "none")
        raise ResultsMissingError(
            f"{place}: {len(wrong)} of {len(manifest.files)} files are not as its manifest says, such as "
            f"{wrong[0].path}: {wrong[0].size_bytes} bytes, found {found}; {again}"
        )
    return manifest


def _read_trained_perplexity(store: ObjectStore, name: str, manifest: BundleManifest) -> float | None:
    """Read the perplexity on the author's validation text at the step whose adapter was kept."""
    run = _read_json(store, name, manifest, "manifest.json")
    step = _look_up(run, "best", "step")
    rows = _read_lines(_read(store, name, manifest, "metrics.jsonl"))
    measured = [row for row in rows if row.get("split") == "val" and (step is None or row.get("step") == step)]
    return _as_number(measured[-1].get("perplexity")) if measured else None


def _read(store: ObjectStore, name: str, manifest: BundleManifest, path: str) -> bytes:
    known = any(entry.path == path for entry in manifest.files)
    return (store.read_object(f"{name}/{manifest.folder}/{path}") or b"") if known else b""


def _read_json(store: ObjectStore, name: str, manifest: BundleManifest, path: str) -> Any:
    rows = _read_lines(_read(store, name, manifest, path).replace(b"\n", b" "))
    return rows[0] if rows else None


def _read_lines(content: bytes) -> list[dict[str, Any]]:
    """Read lines of JSON; what is none says nothing, and is no reason to call a finished run failed."""
    rows = []
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _look_up(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
