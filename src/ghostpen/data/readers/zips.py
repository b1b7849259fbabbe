"""Zip archives from strangers: what may be opened, and how much of it.

Nothing is ever written under a name that an archive gives.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ghostpen.data.readers.passages import UnreadableError

LARGEST_UNPACKED_BYTES = 512 * 1024**2  # of a book or a Word document, pictures included
LARGEST_ENTRY_BYTES = 64 * 1024**2  # of one chapter, or of a Word document's text
MOST_ENTRIES = 200_000
# Deflate makes 1,032 bytes of one at most. Text packs 2 to 10 times, and a log of equal lines some 100 times.
MOST_RATIO = 200
_RATIO_FROM_BYTES = 16 * 1024**2  # a smaller entry does no harm, however well it packs
_ENCRYPTED = 0x1


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose entries are no more than they claim to be.

    Raises:
        UnreadableError: it is broken, encrypted, or made to fill a disk.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive.infolist())
            yield archive
    except RuntimeError as error:  # zipfile's word for a password
        raise UnreadableError("encrypted; unpack it, or save it without a password") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UnreadableError("a broken zip archive; get it again from where it came from") from error


def read_entry(archive: zipfile.ZipFile, name: str, *, most_bytes: int = LARGEST_ENTRY_BYTES) -> bytes:
    """Return one entry.

    Raises:
        UnreadableError: it is not there, or too large.
    """
    try:
        entry = archive.getinfo(name)
    except KeyError as error:
        raise UnreadableError("incomplete: a part that it refers to is missing") from error
    if entry.file_size > most_bytes:
        raise UnreadableError(f"a part of it unpacks to more than {most_bytes // 1024**2:,} MiB")
    return archive.read(entry)  # no more than file_size bytes, whatever the data unpack to


def is_safe_name(name: str) -> bool:
    """Say whether an entry's name stays below the archive's root."""
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0] and "\0" not in name


def check_unpacked_size(archive: zipfile.ZipFile) -> None:
    """Refuse a book or a document that would unpack to more than LARGEST_UNPACKED_BYTES.

    Raises:
        UnreadableError: it would.
    """
    if sum(entry.file_size for entry in archive.infolist()) > LARGEST_UNPACKED_BYTES:
        raise UnreadableError(f"unpacks to more than {LARGEST_UNPACKED_BYTES // 1024**2:,} MiB")


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_ENTRIES:
        raise UnreadableError(f"holds more than {MOST_ENTRIES:,} files; unpack it and give the folder")
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED:
            raise UnreadableError("encrypted; unpack it, or save it without a password")
        if entry.file_size > max(_RATIO_FROM_BYTES, MOST_RATIO * entry.compress_size):
            raise UnreadableError(
                f"packed more than {MOST_RATIO} times, as no text is; if you trust it, unpack it and give the folder"
            )
