"""The folder that a prepare works in, and the texts that lie in a store meanwhile."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from ghostpen.data.stored import TextStore, open_store
from ghostpen.data.work import Work, open_work, remove_stale
from ghostpen.errors import DataError, Interrupted


@contextmanager
def interrupted_work(out: Path, key: str) -> Iterator[Work]:
    """Open a work, and leave it by Ctrl-C."""
    with pytest.raises(Interrupted) as said, open_work(out, key) as work:
        yield work
        raise KeyboardInterrupt
    assert f"the same command goes on from {work.dir}, which holds cleaned texts" in str(said.value)


def test_work_is_its_owners_alone_goes_with_its_end_and_leaves_no_parent(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with interrupted_work(out, "a" * 64) as work:
        assert (work.dir.parent, work.dir.name) == (out.parent, ".out.ghostpen-work")
        assert work.dir.stat().st_mode & 0o777 == 0o700
        (work.units / "unit.txt").write_text("kept", encoding="utf-8")
        (work.staged / "train.jsonl").write_text("half", encoding="utf-8")
    with open_work(out, "a" * 64) as work:
        assert (work.units / "unit.txt").read_text(encoding="utf-8") == "kept"
        assert list(work.staged.iterdir()) == []
    assert list(tmp_path.rglob("*")) == [out.parent]  # made by the first, which left something there
    out.parent.rmdir()
    with open_work(out, "a" * 64):
        pass
    assert list(tmp_path.iterdir()) == []


def test_work_of_other_inputs_is_emptied(tmp_path: Path) -> None:
    out = tmp_path / "my [texts]*"
    for key, expected in (("a" * 64, []), ("a" * 64, ["unit.txt"]), ("b" * 64, []), ("a" * 64, [])):
        with interrupted_work(out, key) as work:
            assert [path.name for path in work.units.iterdir()] == expected
            (work.units / "unit.txt").write_text("kept", encoding="utf-8")
    assert list(tmp_path.iterdir()) == [work.dir]


def test_work_is_refused_to_all_and_removed_by_none_as_long_as_somebody_has_it(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / ".another.ghostpen-work"
    other.mkdir()
    with interrupted_work(out, "a" * 64) as work:
        for key in ("a" * 64, "b" * 64):
            with pytest.raises(DataError, match="out: another ghostpen prepare is writing it"), open_work(out, key):
                pass
        remove_stale(out)
        assert work.staged.is_dir()
    assert work.dir.is_dir()
    remove_stale(out)
    remove_stale(out)
    assert list(tmp_path.iterdir()) == [other]


def test_work_that_cannot_be_begun_leaves_nothing(tmp_path: Path) -> None:
    work = tmp_path / ".out.ghostpen-work"
    (work / "units").mkdir(parents=True)
    (work / "key").mkdir()  # which is no file
    (work / "key" / "in it").write_text("", encoding="utf-8")
    with pytest.raises(IsADirectoryError), open_work(tmp_path / "out", "a" * 64):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "plain", "“é”\u2028\r\n\x00", "half \ud83d of one", "long " * 400_000])
def test_stored_text_is_read_as_it_was_wherever_it_lies(tmp_path: Path, text: str) -> None:
    with open_store(tmp_path / "deep" / "out") as on_disk:
        for store in (TextStore(BytesIO()), on_disk):
            stored = [store.add(one) for one in ("before", text, "after")]
            assert [one.read() for one in reversed(stored)] == ["after", text, "before"]
            assert stored[1].chars == len(text)
        assert list(tmp_path.iterdir()) == []  # the file has no name


def test_stored_text_beside_what_takes_no_file_lies_in_the_temporary_folder() -> None:
    with open_store(Path("/proc/none/out")) as store:  # not even root can make a file in /proc
        texts = ["long " * 400_000, "after"]
        stored = [store.add(text) for text in texts]
        assert [one.read() for one in stored] == texts


def test_prepare_on_a_full_disk_says_so_and_takes_no_text_for_unreadable(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in "abc":  # of which all that is written beside the store is far below the limit
        (texts / f"{name}.txt").write_text(f"{name} short one.\n", encoding="utf-8")
    (texts / "long.txt").write_text("many words " * 400_000, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ghostpen", "prepare", "texts", "--author", "A", "--out", "out"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 1024**2, 2 * 1024**2)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "error: the texts can't be put on the disk beside --out (File too large); free some room, or give another "
        "--out\n",
    )
    assert list(tmp_path.iterdir()) == [texts]
