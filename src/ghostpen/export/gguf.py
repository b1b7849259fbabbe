"""A merged checkpoint as a GGUF file, by llama.cpp's own converter; and Ollama's Modelfile around it.

The converter is not part of this project: it is found, run as a process of its own with a deadline, and what it
said last is passed on when it fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ghostpen.errors import ExportError

CONVERTER = "convert_hf_to_gguf.py"
GGUF = "model.gguf"
MODELFILE = "Modelfile"
_LAST_LINES = 1


def find_converter(folder: Path | None) -> list[str]:
    """Find llama.cpp's converter: in `folder`, or else on the PATH.

    Raises:
        ExportError: it is in neither.
    """
    if folder is not None:
        if not (folder / CONVERTER).is_file():
            raise ExportError(
                f"{folder} holds no {CONVERTER}; name a checkout of llama.cpp with --llama-cpp DIR or LLAMA_CPP_DIR"
            )
        # This Python has the torch and transformers that the converter wants; it brings its own gguf package.
        return [sys.executable, str(folder / CONVERTER)]
    if found := shutil.which(CONVERTER):
        return [found]
    raise ExportError(
        f"GGUF files are made by llama.cpp's {CONVERTER}, which is not on the PATH; get it with `git clone --depth 1 "
        "https://github.com/ggml-org/llama.cpp` and name the folder with --llama-cpp DIR or LLAMA_CPP_DIR"
    )


def find_ollama() -> str:
    """Find the ollama program.

    Raises:
        ExportError: it is not on the PATH.
    """
    if found := shutil.which("ollama"):
        return found
    raise ExportError("ollama is not on the PATH; install it, or leave --create out and run the printed line later")


def write_gguf(
    converter: Sequence[str], *, merged: Path, path: Path, outtype: str, deadline_s: float,
    on_line: Callable[[str], None],
) -> None:  # fmt: skip
    """Convert a merged checkpoint.

    Args:
        outtype: what the converter's --outtype takes, such as "auto", "bf16" or "q8_0".
        on_line: is given every line that the converter writes.

    Raises:
        ExportError: it fails, or is not done in time.
    """
    command = [*converter, "--outfile", str(path), "--outtype", outtype, str(merged)]
    run_program(command, name=CONVERTER, deadline_s=deadline_s, on_line=on_line)
    if not path.is_file():
        raise ExportError(f"{CONVERTER} ended well and wrote no {path.name}; is it llama.cpp's own?")


def run_program(
    command: Sequence[str],
    *,
    name: str,
    deadline_s: float,
    on_line: Callable[[str], None],
    folder: Path | None = None,
) -> None:
    """Run a program to its end, and hand on what it writes line by line.

    Raises:
        ExportError: it can't be started, fails, or is not done in time.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=folder,
            start_new_session=True,  # so that all it starts can be ended with it
        )
    except OSError as error:
        raise ExportError(f"{command[0]} can't be started: {error.strerror}") from error
    last: deque[str] = deque(maxlen=_LAST_LINES)
    late = threading.Event()

    def end_late() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(deadline_s, end_late)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.strip():
                last.append(text)
                on_line(text)
        process.wait()
    finally:  # Ctrl-C ends it, too
        timer.cancel()
        _kill(process)
        process.stdout.close()  # type: ignore[union-attr]
    if late.is_set():
        raise ExportError(f"{name} was not done after {deadline_s:g} seconds and was ended; raise --deadline-s")
    if process.returncode != 0:
        said = " / ".join(last) or "nothing"
        raise ExportError(f"{name} failed with exit code {process.returncode}; it said last: {said}")


def render_modelfile(*, chat_share: float) -> str:
    """Render Ollama's Modelfile, with the sampling of `ghostpen write`.

    Without chats in training, a prompt is the beginning of a text, behind the token that every text starts with:
    the GGUF of a gpt-oss says that none is put there by itself. With chats, no TEMPLATE is given, and Ollama takes
    the chat template in the GGUF file, which is the base model's own Harmony.
    """
    lines = [f"FROM ./{GGUF}"]
    if chat_share == 0:
        lines.append('TEMPLATE """<|startoftext|>{{ .Prompt }}{{ .Response }}"""')
    lines += [
        "PARAMETER temperature 0.9",
        "PARAMETER top_p 0.95",
        "PARAMETER top_k 0",
        "PARAMETER repeat_penalty 1.0",
        'PARAMETER stop "<|endoftext|>"',
        'PARAMETER stop "<|return|>"',
    ]
    return "\n".join(lines) + "\n"


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
