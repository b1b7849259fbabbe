"""Make the units of many documents on all cores, and show how far it is.

Owns the processes. The units come in the order of the documents, whatever the number of processes.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.counting import TokenCounter, load_counter_file
from ghostpen.data.progress import Progress
from ghostpen.data.units import MadeUnit, RawText, make_unit
from ghostpen.errors import DataError
from ghostpen.processes import end_with_parent

_LEAST_CHARS = 16 * 1024**2  # fewer are cleaned sooner than other processes have started
_CHUNK_CHARS = 1024**2
_CHUNKS_AHEAD = 2  # a process, so that none waits and few texts are held twice


class CleaningKilled(DataError):
    """Say that a process that cleans was killed: the next run goes on from what they had made."""


@dataclass(frozen=True)
class _Job:
    folder: Path
    unified: bool
    tokenizer: Path
    tokenizer_name: str


def choose_processes(chars: int) -> int:
    """Choose how many processes clean so many characters: one a core, or this one alone."""
    return len(os.sched_getaffinity(0)) if chars >= _LEAST_CHARS else 1


def make_units(
    texts: Iterable[RawText],
    folder: Path,
    *,
    unified: bool,
    counter: TokenCounter,
    total: int,
    progress: Progress,
    processes: int,
) -> Generator[MadeUnit]:
    """Yield the units of some texts, in order; a text is asked for not long before its unit is given.

    Args:
        texts: in any number.
        folder: see `units.make_unit`, likewise unified and counter.
        unified: see folder.
        counter: see folder.
        total: characters of all.
        progress: is told after each unit.
        processes: how many to use; 1 is this one, which starts no other.

    Raises:
        CleaningKilled: one of the processes was.
    """
    done = 0
    chunks = _cut_chunks(texts)
    units: Generator[MadeUnit]
    if processes == 1:
        units = (make_unit(chunk, folder, unified=unified, counter=counter) for chunk in chunks)
    else:
        units = _make_in_pool(chunks, _Job(folder, unified, counter.path, counter.record.name), processes)
    with closing(units):  # whatever ends this one: none writes into the folder any more
        for unit in units:
            done += unit.raw_chars
            progress(done, total)
            yield unit


def _make_in_pool(chunks: Iterable[list[RawText]], job: _Job, processes: int) -> Generator[MadeUnit]:
    # Not forked: the progress bar has a thread.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[MadeUnit]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(os.getpid(),)) as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(_make, chunk, job))
                if len(waiting) > processes * _CHUNKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise CleaningKilled(
                "a process that cleans texts was killed; free some memory, then run the same command: it goes on"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _cut_chunks(texts: Iterable[RawText]) -> Iterator[list[RawText]]:
    chunk: list[RawText] = []
    chars = 0
    for text in texts:
        chunk.append(text)
        chars += len(text.text)
        if chars >= _CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _make(chunk: Sequence[RawText], job: _Job) -> MadeUnit:
    counter = load_counter_file(job.tokenizer, job.tokenizer_name)
    return make_unit(chunk, job.folder, unified=job.unified, counter=counter)


def _begin(parent: int) -> None:
    """Prepare a process: one thread, no ear for Ctrl-C, which a terminal sends to all, and no life of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update({"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"})
    end_with_parent(signal.SIGKILL)()
    if os.getppid() != parent:
        os._exit(1)
