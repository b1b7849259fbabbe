"""Several processes for one training on one machine: started together, ended together.

Owns how many there are, which part of an optimiser step each one takes, and what a person sees of them: the
output of the first, one error, one exit code. Must not import torch, except to count GPUs when asked for
"auto". What the processes say to each other is `ranks`' matter.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from ghostpen.config import TrainConfig
from ghostpen.errors import ConfigError
from ghostpen.processes import end_with_parent

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# From the first process's end to SIGTERM for the others: they leave together, and after an error the first may
# still be closing its tracker.
END_TIMEOUT_S = 30.0
# From SIGTERM to SIGKILL: a process that waits for a dead one inside NCCL runs no handler.
KILL_TIMEOUT_S = 10.0
_SPLITTING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")  # set by `accelerate launch`


@dataclass(frozen=True)
class Place:
    """Which of the processes of a training this is; a launcher says it in the environment."""

    rank: int
    local_rank: int  # among those on this machine
    size: int


@dataclass(frozen=True)
class Batches:
    """What one process computes of an optimiser step."""

    size: int  # sequences in one forward pass
    accumulation: int  # forward passes in one optimiser step


@dataclass(frozen=True)
class Outcome:
    """How the processes ended, taken as one."""

    exit_code: int
    stderr: str


def read_place(environ: Mapping[str, str]) -> Place | None:
    """Read what torchrun, `accelerate launch` or `launch_processes` set; None for a process started alone.

    Raises:
        ConfigError: a variable is missing or no number, or the model would be split over the processes.
    """
    for name in _SPLITTING:
        if environ.get(name, "false").lower() in ("true", "1"):
            raise ConfigError(
                f"{name} is set: the processes would each hold a part of the model, and ghostpen measures and saves "
                "whole ones; launch without FSDP and DeepSpeed"
            )
    if environ.get("WORLD_SIZE", "1") == "1":
        return None
    try:
        place = Place(int(environ["RANK"]), int(environ["LOCAL_RANK"]), int(environ["WORLD_SIZE"]))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"WORLD_SIZE is {environ['WORLD_SIZE']}, but RANK, LOCAL_RANK and WORLD_SIZE are not all numbers: "
            "start several processes with --processes N, torchrun or accelerate launch"
        ) from error
    return place


def plan_batches(train: TrainConfig, *, processes: int) -> Batches:
    """Deal the sequences of an optimiser step out evenly: the step is the same for any number of processes.

    No forward pass is larger than train.batch_size, so that one which fits alone fits here.

    Raises:
        ConfigError: they can't be dealt out evenly.
    """
    step = train.batch_size * train.gradient_accumulation
    if step % processes:
        raise ConfigError(
            f"train.batch_size {train.batch_size} * train.gradient_accumulation {train.gradient_accumulation} = "
            f"{step} sequences a step can't be dealt out evenly to {processes} processes; change one of the three"
        )
    share = step // processes
    size = max(size for size in range(1, min(train.batch_size, share) + 1) if share % size == 0)
    return Batches(size=size, accumulation=share // size)


def plan_processes(
    wanted: str | None, *, train: TrainConfig, place: Place | None, count_gpus: Callable[[], int]
) -> int:
    """Decide how many processes train.

    Args:
        wanted: a number, "auto" for as many as there are GPUs and a step can be dealt out to, None for one.
        place: None if this process was started alone.

    Raises:
        ConfigError: not a number above 0, not the number that a launcher started, or one that a step can't be
            dealt out to.
    """
    if wanted is not None and wanted != "auto" and not (wanted.isdecimal() and int(wanted) > 0):
        raise ConfigError(f'--processes is "{wanted}"; write a number of processes, or auto for one a GPU')
    if place is not None:
        if wanted not in (None, "auto", str(place.size)):
            raise ConfigError(
                f"--processes is {wanted}, but a launcher has started {place.size} processes (WORLD_SIZE); leave "
                "--processes out"
            )
        processes = place.size
    elif wanted == "auto":
        step = train.batch_size * train.gradient_accumulation
        processes = max(count for count in range(1, max(count_gpus(), 1) + 1) if step % count == 0)
    else:
        processes = int(wanted or 1)
    plan_batches(train, processes=processes)
    return processes


def count_gpus() -> int:
    """Count the GPUs that are visible to this process; 0 on a CPU."""
    import torch

    return int(torch.cuda.device_count())


def launch_processes(
    command: Sequence[str],
    *,
    processes: int,
    environ: Mapping[str, str],
    end_timeout_s: float = END_TIMEOUT_S,
    kill_timeout_s: float = KILL_TIMEOUT_S,
) -> Outcome:
    """Run `command` in several processes at once, until all have ended.

    The first writes to this process's standard output, the others' is dropped. Standard error is kept back:
    when one fails the others fail of it, and only the cause is handed back. SIGINT and SIGTERM are passed on to
    all. If this process dies, the kernel sends them SIGTERM.

    Returns:
        The first error that a process wrote as a line `error: ...`, with its exit code; else what the first to
        fail wrote. 128 + N for a process that signal N ended.
    """
    started: list[subprocess.Popen[bytes]] = []
    received: list[int] = []

    def forward(number: int, _frame: Any) -> None:
        received.append(number)
        for process in started:
            process.send_signal(number)

    with contextlib.ExitStack() as stack:
        errors = [stack.enter_context(TemporaryFile()) for _ in range(processes)]
        previous = {number: signal.signal(number, forward) for number in SIGNALS}
        try:
            variables = _render_variables(environ, processes=processes)
            for rank, error in enumerate(errors):
                place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                started.append(_start(command, environ=variables | place, is_first=rank == 0, stderr=error))
                if received:
                    started[-1].send_signal(received[0])
            order = _wait_for_all(started, end_timeout_s=end_timeout_s, kill_timeout_s=kill_timeout_s)
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait(timeout=kill_timeout_s)
            for number, handler in previous.items():
                signal.signal(number, handler)
        texts = [_read(error) for error in errors]
    return _judge([process.returncode for process in started], texts, order=order, received=received)


def _render_variables(environ: Mapping[str, str], *, processes: int) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    return {"OMP_NUM_THREADS": str(threads)} | dict(environ) | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }  # fmt: skip


def _start(
    command: Sequence[str], *, environ: Mapping[str, str], is_first: bool, stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    if is_first:
        sys.stdout.flush()
    return subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=None if is_first else subprocess.DEVNULL,
        stderr=stderr,
        process_group=0,  # or a terminal's Ctrl-C would come twice: from the terminal, and passed on
        preexec_fn=end_with_parent(signal.SIGTERM),
    )


def _wait_for_all(
    started: Sequence[subprocess.Popen[bytes]], *, end_timeout_s: float, kill_timeout_s: float
) -> list[int]:
    """Wait for the end of all; once one has ended, the others get a deadline. Returns the order of the ends."""
    order: list[int] = []
    deadline_s, escalation = None, [(signal.SIGTERM, kill_timeout_s), (signal.SIGKILL, kill_timeout_s)]
    with contextlib.ExitStack() as stack:
        running = {stack.enter_context(_open_pidfd(process)): rank for rank, process in enumerate(started)}
        while running:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            ready, _, _ = select.select(list(running), [], [], left_s)
            for descriptor in ready:
                rank = running.pop(descriptor)
                started[rank].wait(timeout=kill_timeout_s)
                order.append(rank)
            if order and deadline_s is None:
                deadline_s = time.monotonic() + end_timeout_s
            elif running and not ready and escalation:
                number, wait_s = escalation.pop(0)
                for rank in running.values():
                    started[rank].send_signal(number)
                deadline_s = time.monotonic() + wait_s
            elif running and not ready:
                raise TimeoutError(f"processes {sorted(running.values())} do not end on SIGKILL")
    return order


@contextlib.contextmanager
def _open_pidfd(process: subprocess.Popen[bytes]) -> Iterator[int]:
    descriptor = os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _judge(codes: Sequence[int], texts: Sequence[str], *, order: Sequence[int], received: Sequence[int]) -> Outcome:
    failed = [rank for rank in order if codes[rank] != 0]
    if not failed:
        return Outcome(0, texts[0])
    lines = {rank: [line for line in texts[rank].splitlines() if line.startswith("error: ")] for rank in failed}
    told = [rank for rank in failed if lines[rank]]
    if received and not told:  # stopped before a process could say so
        return Outcome(128 + received[0], "error: interrupted\n")
    rank = 0 if 0 in told else (told or failed)[0]
    code = codes[rank] if codes[rank] > 0 else 128 - codes[rank]
    if told:
        return Outcome(code, f"{lines[rank][-1]}\n")
    if not texts[rank].strip():
        how = f"exit code {code}" if codes[rank] > 0 else signal.Signals(-codes[rank]).name
        reason = "; the machine may have run out of memory" if codes[rank] == -signal.SIGKILL else ""
        return Outcome(code, f"error: process {rank} of {len(codes)} ended with {how} and no word of why{reason}\n")
    return Outcome(code, texts[rank])
