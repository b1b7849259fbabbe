import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ghostpen.files import lock_file, write_bytes_atomically, write_text_atomically

# Takes a lock, makes a file that must not be there, and takes both away, again and again.
TAKES_TURNS = """
import sys
from pathlib import Path
from ghostpen.files import lock_file

lock, mine = Path(sys.argv[1], "lock"), Path(sys.argv[1], "mine")
taken = 0
while taken < 2_000:
    with lock_file(lock) as held:
        if held is not None:
            mine.touch(exist_ok=False)
            mine.unlink()
            lock.unlink()
            taken += 1
"""


def test_write_text_keeps_letters_and_line_breaks(tmp_path: Path) -> None:
    write_text_atomically("Brontë\r\n\n", tmp_path / "a.txt")

    assert (tmp_path / "a.txt").read_bytes() == b"Bront\xc3\xab\r\n\n"


def test_write_bytes_replaces_what_stood_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a long old content")
    write_bytes_atomically(b"new", tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_write_bytes_has_the_content_on_the_disk_before_it_takes_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    synced = []

    def sync(descriptor: int) -> None:
        where = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((where, where.read_bytes() if where.is_file() else None, path.read_bytes()))

    write_bytes_atomically(b"new", path, fsync=sync)

    assert synced == [(tmp_path / ".a.part", b"new", b"old"), (tmp_path, None, b"new")]


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_write_bytes_where_the_disk_cannot_wait_goes_on_and_where_it_fails_does_not(
    tmp_path: Path, number: int, raised: bool
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError) if raised else contextlib.nullcontext():
        write_bytes_atomically(b"new", path, fsync=fail)

    assert path.read_bytes() == (b"old" if raised else b"new")
    assert [found.name for found in tmp_path.iterdir()] == ["a"]


def test_write_bytes_that_cannot_be_put_in_place_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()  # a file cannot replace a folder

    with pytest.raises(OSError):
        write_bytes_atomically(b"new", tmp_path / "a")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_write_bytes_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes_atomically(b"new", tmp_path / "missing" / "a")


def test_lock_is_held_by_one_and_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with lock_file(path) as mine, lock_file(path) as other:
            assert (mine is None, other) == (False, None)
    assert path.stat().st_mode & 0o777 == 0o600


def test_lock_whose_file_is_deleted_and_made_anew_is_never_held_by_two(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKES_TURNS, str(tmp_path)]
    both = [subprocess.Popen(command, env={"PYTHONPATH": ":".join(sys.path)}, stderr=subprocess.PIPE) for _ in "ab"]
    assert [(process.communicate(timeout=120)[1], process.returncode) for process in both] == [(b"", 0)] * 2
