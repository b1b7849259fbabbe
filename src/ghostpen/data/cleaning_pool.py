"""Clean many documents on all cores, and show how far it is.

Owns the processes. The results come in the order of the documents, whatever the number of processes.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ghostpen.data.cleaning import CleanedDocument, clean_document
from ghostpen.data.progress import Progress
from ghostpen.errors import DataError

_LEAST_CHARS = 16 * 1024**2  # fewer are cleaned sooner than other processes have started
_CHUNK_CHARS = 1024**2
_CHUNKS_AHEAD = 2  # a process, so that none waits and few texts are held twice


@dataclass(frozen=True)
class RawText:
    """A text to clean; see `cleaning.clean_document`."""

    text: str
    wrapped: bool
    headings: bool


def clean_documents(
    texts: Iterable[RawText], *, total: int, progress: Progress, processes: int | None = None
) -> Iterator[CleanedDocument]:
    """Yield each text's sections, in order; a text is asked for not long before its sections are given.

    Args:
        texts: in any number.
        total: characters of all.
        progress: is told after each chunk.
        processes: how many to clean with; None is one a core, or this one alone for little text.

    Raises:
        DataError: one of the processes was killed.
    """
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if total >= _LEAST_CHARS else 1
    done = 0
    results = map(_clean_chunk, _cut_chunks(texts)) if processes == 1 else _clean_in_pool(texts, processes)
    for cleaned, chars in results:
        yield from cleaned
        done += chars
        progress(done, total)


def _clean_in_pool(texts: Iterable[RawText], processes: int) -> Iterator[tuple[list[CleanedDocument], int]]:
    # Not forked: the progress bar has a thread.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[tuple[list[CleanedDocument], int]]] = deque()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_ignore_interrupt) as pool:
        try:
            for chunk in _cut_chunks(texts):
                waiting.append(pool.submit(_clean_chunk, chunk))
                if len(waiting) > processes * _CHUNKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that cleans texts was killed; free some memory, or prepare fewer texts at once"
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


def _clean_chunk(chunk: Sequence[RawText]) -> tuple[list[CleanedDocument], int]:
    cleaned = [clean_document(text.text, wrapped=text.wrapped, headings=text.headings) for text in chunk]
    return cleaned, sum(len(text.text) for text in chunk)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that started the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
