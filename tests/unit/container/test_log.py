import io
import threading
from pathlib import Path

import pytest

from ghostpen.container.log import Log


def test_line_goes_to_file_and_terminal_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path / "log.txt", secrets=["hunter22hunter"]) as log:
        log.write("the key is hunter22hunter!")
        log.note("https://me:pass@host, in the file alone")
    assert capsys.readouterr().out == "the key is ***!\n"
    assert (tmp_path / "log.txt").read_text() == "the key is ***!\nhttps://***@host, in the file alone\n"


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_terminal_that_was_closed_stops_nothing(tmp_path: Path) -> None:
    with Log(tmp_path / "log.txt", secrets=()) as log:
        log.write("one", to=Closed())
        log.write("two", to=Closed())
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"


def test_full_disk_ends_the_file_and_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Log(Path("/dev/full"), secrets=()) as log:
        log.write("one")
        log.write("two")
    assert capsys.readouterr().out == "warning: /dev/full ends here: No space left on device\none\ntwo\n"


def test_lines_of_several_threads_stay_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path / "log.txt", secrets=()) as log:
        threads = [
            threading.Thread(target=lambda letter=letter: [log.write(letter * 50) for _ in range(200)])
            for letter in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for text in (capsys.readouterr().out, (tmp_path / "log.txt").read_text()):
        assert sorted(text.splitlines()) == sorted(letter * 50 for letter in "abcd" for _ in range(200))


def test_line_after_the_end_goes_to_the_terminal_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path / "log.txt", secrets=()) as log:
        pass
    log.write("late")
    assert capsys.readouterr().out == "late\n"
    assert (tmp_path / "log.txt").read_text() == ""
