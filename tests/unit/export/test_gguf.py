"""Around llama.cpp's converter and ollama: found or one line, run with a deadline, ended with all it started."""

import os
import re
import sys
import time
from pathlib import Path

import pytest

from ghostpen.errors import ExportError
from ghostpen.export.gguf import find_converter, find_ollama, render_modelfile, run_program, write_gguf

STAND_INS = Path(__file__).parents[2] / "stand_ins"


def test_converter_in_a_named_folder_runs_on_this_python() -> None:
    script = str(STAND_INS / "llama_cpp/convert_hf_to_gguf.py")
    assert find_converter(STAND_INS / "llama_cpp") == [sys.executable, script]


def test_converter_on_the_path_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "convert_hf_to_gguf.py"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_converter(None) == [str(program)]


def test_programs_that_are_missing_are_one_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"git clone .* --llama-cpp DIR or LLAMA_CPP_DIR"):
        find_converter(None)
    with pytest.raises(ExportError, match=re.escape(f"{tmp_path} holds no convert_hf_to_gguf.py")):
        find_converter(tmp_path)
    with pytest.raises(ExportError, match="ollama is not on the PATH"):
        find_ollama()


def test_program_s_lines_are_handed_on_as_they_come() -> None:
    lines: list[str] = []
    code = "import sys; print('one', flush=True); print(' two\\rthree\\n', file=sys.stderr)"
    run_program([sys.executable, "-c", code], name="it", deadline_s=60, on_line=lines.append)
    assert lines == ["one", "two", "three"]  # a progress bar's carriage return ends a line, too


def test_program_that_fails_is_quoted(tmp_path: Path) -> None:
    code = "print('loading'); raise NotImplementedError('no such tokenizer')"
    with pytest.raises(ExportError, match="it failed with exit code 1; it said last: NotImplementedError: no such"):
        run_program([sys.executable, "-c", code], name="it", deadline_s=60, on_line=lambda _: None)
    with pytest.raises(ExportError, match="exit code 7; it said last: nothing"):
        run_program(["sh", "-c", "exit 7"], name="it", deadline_s=60, on_line=lambda _: None)
    with pytest.raises(ExportError, match="can't be started: No such file"):
        run_program([str(tmp_path / "nothing")], name="it", deadline_s=60, on_line=lambda _: None)


def test_program_past_its_deadline_is_ended_with_its_children(tmp_path: Path) -> None:
    began_s = time.monotonic()
    notes = tmp_path / "child"
    command = ["sh", "-c", f"sleep 600 & echo $! > {notes}; wait"]
    with pytest.raises(ExportError, match="it was not done after 0.5 seconds and was ended; raise --deadline-s"):
        run_program(command, name="it", deadline_s=0.5, on_line=lambda _: None)
    assert time.monotonic() - began_s < 60
    child = int(notes.read_text())
    state = Path(f"/proc/{child}/stat")
    while state.exists() and state.read_text().split()[2] != "Z":  # dead, if nobody has collected it yet
        assert time.monotonic() - began_s < 60
        time.sleep(0.01)


def test_program_is_ended_when_its_reader_fails(tmp_path: Path) -> None:
    notes = tmp_path / "process"

    def fail(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_program(
            ["sh", "-c", f"echo $$ > {notes}; echo begun; sleep 600"], name="it", deadline_s=600, on_line=fail
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int(notes.read_text()), 0)


def test_converter_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"wrote no model\.gguf"):
        write_gguf(
            ["true"],
            merged=tmp_path,
            path=tmp_path / "model.gguf",
            outtype="auto",
            deadline_s=60,
            on_line=lambda _: None,
        )


def test_modelfile_of_running_text_puts_the_start_before_the_prompt() -> None:
    assert render_modelfile(chat_share=0).splitlines() == [
        "FROM ./model.gguf",
        'TEMPLATE """<|startoftext|>{{ .Prompt }}{{ .Response }}"""',
        "PARAMETER temperature 0.9",
        "PARAMETER top_p 0.95",
        "PARAMETER top_k 0",
        "PARAMETER repeat_penalty 1.0",
        'PARAMETER stop "<|endoftext|>"',
        'PARAMETER stop "<|return|>"',
    ]


def test_modelfile_of_chats_leaves_the_template_to_the_gguf() -> None:
    lines = render_modelfile(chat_share=0.5).splitlines()
    assert lines[0] == "FROM ./model.gguf"
    assert not any(line.startswith("TEMPLATE") for line in lines)
