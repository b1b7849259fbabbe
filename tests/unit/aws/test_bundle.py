"""Bundles against moto's server: whole or not there, never overwritten, brought back to the bit."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ghostpen.aws.bundle import list_bundles, pull_bundle, push_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.transfer import PART_BYTES
from ghostpen.errors import BundleExistsError, CloudError

CONTENTS = {
    "config.json": b"{}",
    "adapter/weights.bin": b"\x00\x01" * 500,
    "empty.txt": b"",
    "sam ples/ä+1.md": b"Emma",
}


def write_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def list_keys(store: ObjectStore) -> list[str]:
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.location.bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def test_bundle_pushed_and_pulled_is_the_same_to_the_bit(store: ObjectStore, tmp_path: Path) -> None:
    pushed = push_bundle(store, "runs/a", write_files(tmp_path / "here", CONTENTS), info={"step": 5})

    pulled = pull_bundle(store, "runs/a", tmp_path / "there")

    assert pulled == pushed == read_bundle(store, "runs/a")
    assert read_files(tmp_path / "there") == CONTENTS
    assert pulled.info == {"step": 5}
    assert {entry.path: (entry.size_bytes, entry.sha256) for entry in pulled.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()
    }


def test_bundle_of_many_parts_is_the_same_to_the_bit(store: ObjectStore, tmp_path: Path) -> None:
    content = hashlib.shake_128(b"weights").digest(2 * PART_BYTES + 1)
    push_bundle(
        store, "a", write_files(tmp_path / "here", {"w.bin": content, "one.bin": content[:PART_BYTES]}), info={}
    )

    pull_bundle(store, "a", tmp_path / "there")

    assert read_files(tmp_path / "there") == {"w.bin": content, "one.bin": content[:PART_BYTES]}
    key = next(key for key in list_keys(store) if key.endswith("w.bin"))
    assert store.client.head_object(Bucket="models", Key=key)["ETag"].endswith('-3"')  # S3's mark of three parts


def test_manifest_in_s3_names_every_file_and_says_where_they_lie(store: ObjectStore, tmp_path: Path) -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    files = write_files(tmp_path, {"b.txt": b"two", "a.txt": b"one"})
    push_bundle(store, "data", files, info={"author": "Jane"}, now=lambda: noon)

    document = json.loads(store.read_object("data/manifest.json") or b"")
    assert (document["format"], document["created_at"], document["info"]) == (
        1,
        "2026-11-24T12:00:00+00:00",
        {"author": "Jane"},
    )
    assert document["files"] == [
        {"path": "a.txt", "size_bytes": 3, "sha256": hashlib.sha256(b"one").hexdigest()},
        {"path": "b.txt", "size_bytes": 3, "sha256": hashlib.sha256(b"two").hexdigest()},
    ]
    folder = f"ghost/pen/data/{document['folder']}"
    assert list_keys(store) == [f"{folder}/a.txt", f"{folder}/b.txt", "ghost/pen/data/manifest.json"]


def test_same_files_pushed_again_are_nothing_to_do(store: ObjectStore, tmp_path: Path) -> None:
    files = write_files(tmp_path, CONTENTS)
    first = push_bundle(store, "a", files, info={"attempt": 1})
    moments = [entry["LastModified"] for entry in store.client.list_objects_v2(Bucket="models")["Contents"]]

    assert push_bundle(store, "a", files, info={"attempt": 2}) == first
    assert first.info == {"attempt": 1}
    assert [entry["LastModified"] for entry in store.client.list_objects_v2(Bucket="models")["Contents"]] == moments


def test_other_files_are_refused_and_the_first_stay_whole(store: ObjectStore, tmp_path: Path) -> None:
    push_bundle(store, "a", write_files(tmp_path / "one", {"a.txt": b"one"}), info={})

    with pytest.raises(BundleExistsError) as caught:
        push_bundle(store, "a", write_files(tmp_path / "two", {"a.txt": b"two"}), info={})

    assert caught.value.message.startswith("s3://models/ghost/pen/a holds other files, pushed 20")
    assert "aws s3 rm --recursive s3://models/ghost/pen/a/" in caught.value.message
    pull_bundle(store, "a", tmp_path / "there")
    assert read_files(tmp_path / "there") == {"a.txt": b"one"}


def test_prefix_without_a_manifest_is_no_bundle(store: ObjectStore, tmp_path: Path) -> None:
    store.write_object("a/files/0123456789abcdef/a.txt", b"one")

    assert read_bundle(store, "a") is None
    with pytest.raises(CloudError, match=r"^s3://models/ghost/pen/a holds no complete bundle \(no manifest.json\)"):
        pull_bundle(store, "a", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_pull_takes_the_selected_files_only(store: ObjectStore, tmp_path: Path) -> None:
    push_bundle(store, "a", write_files(tmp_path / "here", CONTENTS), info={})

    pull_bundle(store, "a", tmp_path / "there", select=lambda path: path.startswith("adapter/"))

    assert list(read_files(tmp_path / "there")) == ["adapter/weights.bin"]


def test_pull_leaves_what_matches_and_mends_what_does_not(store: ObjectStore, tmp_path: Path) -> None:
    push_bundle(store, "a", write_files(tmp_path / "here", {"a.txt": b"one", "b.txt": b"two"}), info={})
    there = write_files(tmp_path / "there", {"a.txt": b"one", "b.txt": b"owt", "mine.txt": b"kept"})
    kept = there["a.txt"].stat().st_ino

    pull_bundle(store, "a", tmp_path / "there")

    assert read_files(tmp_path / "there") == {"a.txt": b"one", "b.txt": b"two", "mine.txt": b"kept"}
    assert there["a.txt"].stat().st_ino == kept


def test_file_that_is_called_like_an_unfinished_one_takes_no_other_s_place(
    store: ObjectStore, tmp_path: Path
) -> None:
    contents = {"a.txt": b"one" * 1000, ".a.txt.part": b"o", "..a.txt.part.part": b"oo"}
    push_bundle(store, "a", write_files(tmp_path / "here", contents), info={})

    pull_bundle(store, "a", tmp_path / "there")

    assert read_files(tmp_path / "there") == contents


def test_progress_ends_with_all_bytes(store: ObjectStore, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    files = write_files(tmp_path / "here", CONTENTS)
    push_bundle(store, "a", files, info={}, progress=lambda done, total: told.append((done, total)))
    pull_bundle(store, "a", tmp_path / "there", progress=lambda done, total: told.append((done, total)))

    # 2 + 1,000 + 0 + 4 bytes, up and down
    assert max(told[: len(told) // 2]) == (1006, 1006)
    assert told[-1] == (1006, 1006)


def test_bundles_are_listed_with_numbers_as_numbers(store: ObjectStore, tmp_path: Path) -> None:
    files = write_files(tmp_path, {"manifest.json": b"a run's own", "x/manifest.json": b"deeper"})
    for step in (10, 2):
        push_bundle(store, f"runs/a/checkpoint-{step}", files, info={})
    store.write_object("runs/a/checkpoint-3/files/0/weights", b"not complete")

    assert list_bundles(store, "runs/a") == ["checkpoint-2", "checkpoint-10"]
    assert list_bundles(store, "runs") == []


def test_object_is_written_once_only_if_asked(store: ObjectStore) -> None:
    assert store.write_object("status.json", b"1")
    assert store.write_object("status.json", b"2")
    assert not store.write_object("status.json", b"3", only_if_absent=True)
    assert store.read_object("status.json") == b"2"
