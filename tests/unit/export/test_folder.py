"""An export's folder: whole or not there, and never over what is somebody else's."""

import json
import re
from pathlib import Path

import pytest

from ghostpen.errors import ExportError
from ghostpen.export.folder import check_replaceable, check_room, is_same_export, render_size, write_export

INPUTS = {"target": "adapter", "adapter_sha256": "a"}


def write_one(folder: Path, text: str = "weights", inputs: dict[str, str] = INPUTS) -> None:
    with write_export(folder, inputs) as part:
        (part / "sub").mkdir()
        (part / "sub/model.bin").write_text(text)


def test_export_written_is_recognised_by_its_inputs(tmp_path: Path) -> None:
    write_one(tmp_path / "out")
    assert is_same_export(tmp_path / "out", INPUTS)
    assert not is_same_export(tmp_path / "out", INPUTS | {"adapter_sha256": "b"})
    assert not is_same_export(tmp_path / "nowhere", INPUTS)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_with_a_file_gone_or_cut_is_not_the_same(tmp_path: Path) -> None:
    write_one(tmp_path / "out")
    (tmp_path / "out/sub/model.bin").write_text("weight")
    assert not is_same_export(tmp_path / "out", INPUTS)
    (tmp_path / "out/sub/model.bin").unlink()
    assert not is_same_export(tmp_path / "out", INPUTS)


def test_export_replaces_an_older_export_whole(tmp_path: Path) -> None:
    write_one(tmp_path / "out")
    (tmp_path / "out/sub/model.bin").rename(tmp_path / "out/sub/old.bin")
    write_one(tmp_path / "out", text="new", inputs=INPUTS | {"adapter_sha256": "b"})
    assert {path.name for path in (tmp_path / "out").rglob("*")} == {"export.json", "sub", "model.bin"}
    assert (tmp_path / "out/sub/model.bin").read_text() == "new"


def test_export_that_fails_leaves_the_older_one_and_nothing_of_itself(tmp_path: Path) -> None:
    write_one(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), write_export(tmp_path / "out", {"target": "merged"}) as part:
        (part / "half.bin").write_text("half")
        raise KeyboardInterrupt
    assert is_same_export(tmp_path / "out", INPUTS)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_that_is_free_or_an_export_may_be_replaced(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty")
    write_one(tmp_path / "out")
    check_replaceable(tmp_path / "out")
    # What a killed export left: its seal has no sizes yet.
    part = tmp_path / "killed.part"
    part.mkdir()
    (part / "export.json").write_text(json.dumps({"inputs": INPUTS, "size_bytes": {}}))
    (part / "half.bin").write_text("half")
    check_replaceable(tmp_path / "killed")


@pytest.mark.parametrize("name", ["out", "theirs", "file", "link", "parted"])
def test_folder_with_files_of_others_is_refused(tmp_path: Path, name: str) -> None:
    write_one(tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("mine")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/export.json").write_text('{"inputs": 1}')
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    (tmp_path / "parted.part").mkdir()
    (tmp_path / "parted.part/notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=re.escape(str(tmp_path / name)) + ".*--out DIR"):
        check_replaceable(tmp_path / name)


def test_room_that_is_missing_is_said_in_numbers(tmp_path: Path) -> None:
    check_room(1_000, free_bytes=1_000, folder=tmp_path, what="--to merged")
    with pytest.raises(ExportError, match=r"--to merged takes 41.8 GB of disk, and .* has 999 MB free"):
        check_room(41_800_000_000, free_bytes=999_000_000, folder=tmp_path, what="--to merged")


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (36_334_208, "36.3 MB"),
        (999_600, "1 MB"),
        (41_829_000_000, "41.8 GB"),
        (240e12, "240 TB"),
    ],
)
def test_size_has_three_digits(size_bytes: float, expected: str) -> None:
    assert render_size(size_bytes) == expected
