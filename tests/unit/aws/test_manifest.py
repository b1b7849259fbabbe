"""A bundle's manifest: what is read is what was written, and everything else is refused with a reason."""

import json
import os
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.aws.manifest import BundleManifest, FileEntry, check_paths
from ghostpen.errors import CloudError

NOON = "2026-11-24T12:00:00+00:00"
ENTRY = FileEntry("adapter/a.txt", 3, "0" * 64)
MANIFEST = BundleManifest((ENTRY,), {"step": 5}, created_at=NOON)


def list_one(path: str, **changes: Any) -> list[dict[str, Any]]:
    return [{"path": path, "size_bytes": 3, "sha256": "0" * 64} | changes]


def test_manifest_written_and_read_is_the_same() -> None:
    assert BundleManifest.from_json(MANIFEST.to_json(), where="s3://b/a") == MANIFEST


def test_folder_depends_on_every_path_size_and_hash_and_on_nothing_else() -> None:
    others = [FileEntry("adapter/b.txt", 3, "0" * 64), FileEntry("adapter/a.txt", 4, "0" * 64)]
    others.append(FileEntry("adapter/a.txt", 3, "1" * 64))
    folders = {BundleManifest(files, {}, created_at="").folder for files in [(), *((entry,) for entry in others)]}

    assert len(folders | {MANIFEST.folder}) == 5
    assert BundleManifest((ENTRY,), {}, created_at="").folder == MANIFEST.folder


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": 2}, "format: Input should be 1"),
        ({"created_at": 5}, "created_at: Input should be a valid string"),
        ({"info": []}, "info: Input should be an object"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"files": {}}, "files: Input should be a valid array"),
        ({"files": list_one("a.txt", size_bytes="3")}, "files.0.size_bytes: Input should be a valid integer"),
        ({"files": list_one("a.txt", size_bytes=-1)}, "files.0.size_bytes: Input should be greater"),
        ({"files": list_one("a.txt", sha256="0")}, "files.0.sha256: String should match"),
        ({"files": list_one("b.txt")}, "its list of files is not the one that was pushed"),
        (
            {"files": list_one("../a.txt")},
            "'../a.txt' can't be a file of a bundle: its path has a part that is empty",
        ),
        ({"files": list_one("x/../../a.txt")}, "its path has a part that is empty"),
        ({"files": list_one("/etc/passwd")}, "'/etc/passwd' can't be a file of a bundle: its path is absolute"),
        ({"files": list_one("..\\a.txt")}, "its path has a backslash or a control character"),
        ({"files": list_one("a\0.txt")}, "its path has a backslash or a control character"),
        ({"files": list_one("a//b.txt")}, "its path has a part that is empty"),
        ({"files": list_one("")}, "its path has a part that is empty"),
        ({"files": list_one("é" * 401)}, "its path is longer than 800 bytes"),
        ({"files": list_one("a.txt") * 2}, "'a.txt' is listed twice"),
        ({"files": list_one("a") + list_one("a/b.txt")}, "'a' is listed as a file and as a folder of files"),
    ],
)
def test_manifest_that_is_not_valid_says_why(changes: dict[str, Any], problem: str) -> None:
    content = json.dumps(json.loads(MANIFEST.to_json()) | changes)

    with pytest.raises(CloudError) as caught:
        BundleManifest.from_json(content, where="s3://b/a")

    assert caught.value.message.startswith("s3://b/a/manifest.json is not a bundle's manifest (")
    assert problem in caught.value.message
    assert caught.value.message.endswith("so nothing of it was used; delete s3://b/a/ and push it again")


@pytest.mark.parametrize("field", ["format", "created_at", "folder", "info", "files"])
def test_manifest_that_lacks_a_field_is_refused(field: str) -> None:
    document = json.loads(MANIFEST.to_json())
    del document[field]

    with pytest.raises(CloudError, match=rf"\({field}: Field required\)"):
        BundleManifest.from_json(json.dumps(document), where="s3://b/a")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"[" * 100_000, b"null", b'{"format": 1'])
def test_manifest_that_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(CloudError, match=r"^s3://b/a/manifest.json is not a bundle's manifest \(the file: "):
        BundleManifest.from_json(content, where="s3://b/a")


def test_name_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(CloudError, match="can't be a file of a bundle: its name is not UTF-8"):
        check_paths([os.fsdecode(b"caf\xe9.txt")])


@given(st.lists(st.text(alphabet="a./\\\0é", max_size=8), max_size=4))
def test_paths_that_are_taken_stay_below_the_folder(paths: list[str]) -> None:
    try:
        check_paths(paths)
    except CloudError:
        return
    for path in paths:
        assert os.path.normpath(f"/x/y/{path}") == f"/x/y/{path}"
    assert len({PurePosixPath(path) for path in paths}) == len(paths)
