"""The simulated container's bundles against the real writer and the real reader."""

from datetime import UTC, datetime
from pathlib import Path

from tests.stand_ins.aws.bundles import render_bundle
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.in_process import InProcessDoor, find_door
from tests.unit.stand_ins.conftest import OpenSimulator

from ghostpen.aws.bundle import list_bundles, pull_bundle, push_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore, S3Location

BUCKET, WHEN = "runs-bucket", datetime(2026, 11, 24, 12, tzinfo=UTC)
FILES = {"metrics.jsonl": b'{"step": 1}\n', "adapter/weights.bin": bytes(range(256)), "empty": b""}
INFO = {"run_id": "emma"}


def open_store(door: InProcessDoor) -> ObjectStore:
    return ObjectStore(door.client("s3"), S3Location(BUCKET, "book"))


def put_rendered(simulator: Simulator, name: str) -> dict[str, bytes]:
    rendered = render_bundle(FILES, info=INFO, created_at=WHEN.isoformat(timespec="seconds"))
    for key, content in rendered.items():
        simulator.buckets.write(BUCKET, f"book/{name}/{key}", content)
    return rendered


def test_real_reader_takes_the_simulated_container_s_bundle(
    open_simulator: OpenSimulator, door: InProcessDoor, tmp_path: Path
) -> None:
    put_rendered(open_simulator(), "runs/emma/results/author")
    store = open_store(door)

    manifest = read_bundle(store, "runs/emma/results/author")
    assert manifest is not None
    assert {entry.path: entry.size_bytes for entry in manifest.files} == {
        "metrics.jsonl": 12, "adapter/weights.bin": 256, "empty": 0,
    }  # fmt: skip
    assert list_bundles(store, "runs/emma/results") == ["author"]
    pull_bundle(store, "runs/emma/results/author", tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


def test_real_writer_leaves_the_same_objects(open_simulator: OpenSimulator, tmp_path: Path) -> None:
    rendered = put_rendered(simulator := open_simulator(), "by-stand-in")
    local = {}
    for name, content in FILES.items():
        local[name] = tmp_path / name
        local[name].parent.mkdir(exist_ok=True)
        local[name].write_bytes(content)
    push_bundle(open_store(find_door("owner")), "by-writer", local, info=INFO, now=lambda: WHEN)

    prefix = "book/by-writer/"
    written = {key: simulator.buckets.read(BUCKET, key) for key in simulator.buckets.objects[BUCKET]}
    pushed = {key.removeprefix(prefix): content for key, content in written.items() if key.startswith(prefix)}
    assert pushed == rendered
