"""Files to and from S3: in parallel, in parts, with boto3's transfer manager; checked, and tried again.

Owns how a file travels: nothing half-written gets a name that anyone reads, in S3 or on the disk.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ghostpen.aws.errors import NOT_THERE, get_code, list_failures, retry_passing, translate_failure
from ghostpen.aws.manifest import FileEntry
from ghostpen.aws.s3 import ObjectStore
from ghostpen.errors import BundleDamagedError, CloudError

PART_BYTES = 8 * 2**20  # of a file of that size or more; boto3's own default
REQUESTS_AT_ONCE = 10
FILES_AT_ONCE = 8  # so many small ones, and so many threads that hash
BLOCK_BYTES = 2**20


class Progress(Protocol):
    """Be told how far a transfer is; calls come from several threads, one at a time."""

    def __call__(self, bytes_done: int, bytes_total: int) -> None:
        """Take in both sums, over all files; `bytes_done` falls when a part has to be sent again."""


@dataclass(frozen=True)
class LocalFile:
    """A file as it was when it was hashed."""

    path: Path
    size_bytes: int
    sha256: str
    crc32: str  # as S3 writes it, to check what it got
    modified_ns: int


def hash_files(files: Mapping[str, Path]) -> dict[str, LocalFile]:
    """Hash files, several at once.

    Raises:
        CloudError: one can't be read.
    """
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return dict(zip(files, pool.map(hash_file, files.values()), strict=True))


def hash_file(path: Path) -> LocalFile:
    """Hash one file.

    Raises:
        CloudError: it can't be read.
    """
    sha256, crc32, size_bytes = hashlib.sha256(), 0, 0
    try:
        with path.open("rb") as file:
            modified_ns = os.fstat(file.fileno()).st_mtime_ns
            while block := file.read(BLOCK_BYTES):
                sha256.update(block)
                crc32 = zlib.crc32(block, crc32)
                size_bytes += len(block)
    except OSError as error:
        raise CloudError(f"{path}: can't be read ({error.strerror}); nothing was made of it") from error
    crc32_text = base64.b64encode(crc32.to_bytes(4, "big")).decode()
    return LocalFile(path, size_bytes, sha256.hexdigest(), crc32_text, modified_ns)


def upload_files(
    store: ObjectStore,
    files: Mapping[str, LocalFile],
    *,
    progress: Progress | None,
    deadline_s: float,
    tag: str | None = None,
) -> None:
    """Upload files to the keys that they stand under, each object with `tag` (KEY=VALUE).

    Raises:
        CloudError: a file has changed since it was hashed, a refusal of S3, no answer, the deadline.
    """
    counter = _Counter(progress, sum(file.size_bytes for file in files.values()))
    with _open_transfers(store, files, deadline_s=deadline_s) as transfers:
        transfers.run([partial(_upload_file, transfers, key, file, counter, tag) for key, file in files.items()])


def download_files(
    store: ObjectStore,
    files: Mapping[str, FileEntry],
    folder: Path,
    *,
    progress: Progress | None,
    deadline_s: float,
) -> None:
    """Download the keys into `folder`; a file that is there and matches is left alone.

    Raises:
        CloudError: a file is not what its entry says or can't be written, a refusal of S3, no answer, the deadline.
    """
    counter = _Counter(progress, sum(entry.size_bytes for entry in files.values()))
    jobs = [(key, entry, folder, counter) for key, entry in files.items()]
    with _open_transfers(store, files, deadline_s=deadline_s) as transfers:
        transfers.run([partial(_download_file, transfers, *job) for job in jobs])


def _upload_file(transfers: _Transfers, key: str, file: LocalFile, counter: _Counter, tag: str | None) -> None:
    # S3 compares the checksum with the whole of what it got, and keeps nothing where they differ.
    extra = {"ChecksumCRC32": file.crc32} | ({"Tagging": tag} if tag else {})

    def upload() -> None:
        with counter.count_attempt() as attempt:
            transfers.manager.upload(str(file.path), transfers.bucket, key, extra, [attempt]).result()

    try:
        transfers.retry(upload)
    except list_failures() as error:
        _check_unchanged(file)
        raise translate_failure(error, bucket=transfers.bucket, key=key) from error
    except OSError as error:
        raise CloudError(f"{file.path}: can't be read ({error.strerror}); the push is not complete") from error
    _check_unchanged(file)


def _check_unchanged(file: LocalFile) -> None:
    try:
        now = file.path.stat()
    except OSError as error:
        raise CloudError(f"{file.path}: can't be read ({error.strerror}); the push is not complete") from error
    if (now.st_size, now.st_mtime_ns) != (file.size_bytes, file.modified_ns):
        raise CloudError(f"{file.path} was changed while it was pushed; push again when nothing writes to it")


class _DamagedError(Exception):
    """What came is not what the manifest names."""

    def __init__(self, found: LocalFile) -> None:
        super().__init__(found)
        self.found = found


def _download_file(transfers: _Transfers, key: str, entry: FileEntry, folder: Path, counter: _Counter) -> None:
    """Bring one file in place, or leave nothing."""
    path = folder / entry.path
    # The hash keeps it apart from a file of the bundle that is itself what an atomic write left, such as .NAME.part.
    part = path.with_name(f".{path.name}.{entry.sha256[:8]}.part")
    try:
        if path.is_file() and path.stat().st_size == entry.size_bytes and hash_file(path).sha256 == entry.sha256:
            counter.add(entry.size_bytes)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(transfers, key, part, entry, counter)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CloudError(
            f"{path}: can't be written ({error.strerror}); make room, or mend the folder, and pull again: the files "
            "that are complete stay"
        ) from error


def _fetch(transfers: _Transfers, key: str, part: Path, entry: FileEntry, counter: _Counter) -> None:
    """Download one file and check it; a second time, where what came was damaged."""

    def fetch() -> None:
        with counter.count_attempt() as attempt:
            with part.open("wb") as file:
                transfers.manager.download(transfers.bucket, key, file, None, [attempt]).result()
            found = hash_file(part)
            if (found.size_bytes, found.sha256) != (entry.size_bytes, entry.sha256):
                raise _DamagedError(found)

    place = f"s3://{transfers.bucket}/{key}"
    try:
        try:
            transfers.retry(fetch)
        except _DamagedError:
            transfers.retry(fetch)
    except _DamagedError as error:
        raise BundleDamagedError(
            f"{place} is not the file that its manifest names: expected {entry.size_bytes} bytes with sha256 "
            f"{entry.sha256}, found {error.found.size_bytes} with {error.found.sha256}; nothing of it was kept"
        ) from error
    except list_failures() as error:
        if get_code(error) in NOT_THERE:
            raise BundleDamagedError(
                f"{place} is not there, although its bundle's manifest names it; delete the bundle and push it again"
            ) from error
        raise translate_failure(error, bucket=transfers.bucket, key=key) from error


class _Counter:
    """Add up the bytes of all files, and take back those of an attempt that failed."""

    def __init__(self, progress: Progress | None, bytes_total: int) -> None:
        self._progress = progress
        self._bytes_total = bytes_total
        self._bytes_done = 0
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._bytes_done += size_bytes
            if self._progress is not None:
                self._progress(self._bytes_done, self._bytes_total)

    @contextmanager
    def count_attempt(self) -> Iterator[_Attempt]:
        attempt = _Attempt(self)
        try:
            yield attempt
        except BaseException:
            self.add(-attempt.bytes_done)
            raise


class _Attempt:
    """What s3transfer calls a subscriber: is told of every piece that went over."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter
        self.bytes_done = 0

    def on_progress(self, bytes_transferred: int, **_: Any) -> None:
        self.bytes_done += bytes_transferred
        self._counter.add(bytes_transferred)


class _StoppedError(Exception):
    """Another file has failed, or the deadline has passed: not an error to show."""


class _Wanted:
    """Count who waits for which key through which client: several transfers may, each with a hook on its requests."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, client: Any, keys: Collection[str]) -> None:
        with self._lock:
            self._counts.update((id(client), key) for key in keys)

    def remove(self, client: Any, keys: Collection[str]) -> None:
        with self._lock:
            for key in keys:
                self._counts[id(client), key] -= 1
                if not self._counts[id(client), key]:
                    del self._counts[id(client), key]

    def holds(self, client: Any, key: str) -> bool:
        with self._lock:
            return (id(client), key) in self._counts


_WANTED = _Wanted()


class _Transfers:
    """Run jobs that use one transfer manager, until all are done or the first one fails."""

    def __init__(self, store: ObjectStore, manager: Any, keys: Collection[str], *, deadline_s: float) -> None:
        self.manager = manager
        self.bucket = store.location.bucket
        self._store = store
        self._keys = keys
        self._deadline_s = deadline_s
        self._stopped = threading.Event()

    def run(self, jobs: Sequence[Callable[[], None]]) -> None:
        _WANTED.add(self._store.client, self._keys)
        pool = ThreadPoolExecutor(FILES_AT_ONCE)
        try:
            with self.manager:  # which cancels what is in flight where the block ends with an error
                try:
                    futures = [pool.submit(job) for job in jobs]
                    done, pending = wait(futures, timeout=self._deadline_s, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    if pending:
                        raise CloudError(
                            f"{self._store.location} took longer than {self._deadline_s:g} seconds; what is complete "
                            "stays: do the same again to go on from there"
                        )
                finally:
                    _WANTED.remove(self._store.client, self._keys)
                    self._stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
        finally:
            pool.shutdown()

    def retry(self, call: Callable[[], None]) -> None:
        retry_passing(call, sleep=self._pause, limit_s=self._deadline_s)

    def _pause(self, pause_s: float) -> None:
        self._store.sleep(pause_s)
        if self._stopped.is_set():
            raise _StoppedError

    def refuse_request(self, request: Any, **_: Any) -> None:
        """Keep botocore from trying on when nobody waits any more; an upload's parts are still taken back."""
        if not self._stopped.is_set() or request.method == "DELETE":
            return
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.url).path)  # the bucket is in it, or in the host
        key = path[1:].removeprefix(f"{self.bucket}/")
        if key in self._keys and not _WANTED.holds(self._store.client, key):  # others use the same client
            raise _StoppedError


@contextmanager
def _open_transfers(store: ObjectStore, keys: Collection[str], *, deadline_s: float) -> Iterator[_Transfers]:
    """Make boto3's transfer manager; not the one of the CRT, which would choose part sizes and retries itself."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    config = TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=REQUESTS_AT_ONCE,
        preferred_transfer_client="classic",
    )
    manager = create_transfer_manager(store.client, config)
    transfers = _Transfers(store, manager, keys, deadline_s=deadline_s)
    store.client.meta.events.register("before-send.s3", transfers.refuse_request)
    try:
        yield transfers
    finally:
        store.client.meta.events.unregister("before-send.s3", transfers.refuse_request)
