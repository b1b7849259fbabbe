"""Find the files of a source: a file, a folder with all below it, a zip archive, or texts that ship with ghostpen.

Owns which files are looked at, what they are called and where their bytes lie while they are read. Must not know what
is in them, archives apart.
"""

import re
import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from ghostpen.data.readers.passages import SourceFile
from ghostpen.data.readers.zips import is_safe_name, open_zip
from ghostpen.errors import DataError

EMBEDDED_PREFIX = "embedded:"
_SPARE_BYTES = 1024**3  # of disk, to be left beside a file that is unpacked for as long as it is read
# Not worth unpacking: an archive of posts or chats is mostly pictures and films.
_MEDIA = {
    *(".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".svg", ".thumb", ".tgs", ".vcf"),
    *(".mp4", ".mov", ".webm", ".mkv", ".avi", ".mp3", ".m4a", ".ogg", ".opus", ".wav", ".aac"),
}


@dataclass(frozen=True)
class FoundFile:
    """A file to look at, or one that must not be: then with the reason. `siblings` are the names in its folder."""

    file: SourceFile
    refused: str | None = None
    siblings: frozenset[str] = frozenset()


def find_files(source: str) -> tuple[Iterator[FoundFile], str]:
    """Return the files of a source in the order of their names, and the author's name where no folder gives one.

    Hidden files are passed over, and so are links that lead out of a folder. A file of an archive lies on the disk
    only until the next one is asked for.

    Args:
        source: as a person gave it.

    Raises:
        DataError: there is no such source, or it can't be read.
    """
    if source.startswith(EMBEDDED_PREFIX):
        name = source.removeprefix(EMBEDDED_PREFIX)
        return _walk_embedded(_find_embedded(name), source), name
    path = Path(source)
    try:
        if path.is_dir():
            return iter(list(_walk_folder(path))), path.resolve().name
        if not path.exists():
            raise DataError(f"{source}: no such file or folder; give a text, a folder of them, or embedded:NAME")
        if not path.is_file():
            raise DataError(f"{source}: neither a file nor a folder; give a text, or a folder of them")
        path.open("rb").close()
        return iter([FoundFile(SourceFile(PurePosixPath(path.name), source, path))]), path.resolve().parent.name
    except OSError as error:
        name = error.filename or source
        raise DataError(f"{name}: can't be read ({error.strerror}); check its permissions") from error


def walk_archive(archive_file: SourceFile, *, below: PurePosixPath) -> Iterator[FoundFile]:
    """Yield the files of a zip archive, each unpacked for as long as it is looked at.

    Args:
        archive_file: the archive.
        below: the folder that it stands for.

    Raises:
        UnreadableError: the archive is broken, encrypted or made to fill a disk.
    """
    with open_zip(archive_file.local) as archive, tempfile.TemporaryDirectory(prefix="ghostpen-") as folder:
        siblings = _group_names(PurePosixPath(name) for name in archive.namelist())
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            is_safe = is_safe_name(entry.filename)
            if entry.is_dir() or (is_safe and _is_hidden(PurePosixPath(entry.filename))):
                continue
            # Never the entry's own name: it may lead anywhere.
            local = Path(folder) / f"entry{PurePosixPath(entry.filename).suffix[:16]}"
            if not is_safe:
                path = below / "entry"
                yield FoundFile(
                    SourceFile(path, f"{archive_file.origin}: an entry", local), "its name leads elsewhere"
                )
                continue
            path = below / entry.filename
            file = SourceFile(path, f"{archive_file.origin}/{entry.filename}", local)
            if path.suffix.lower() in _MEDIA:
                local.touch()
                yield FoundFile(file)
            elif entry.file_size + _SPARE_BYTES > shutil.disk_usage(folder).free:
                yield FoundFile(file, f"no room to unpack it in {tempfile.gettempdir()}; set TMPDIR, or unpack it")
            else:
                yield _unpack(archive, entry, file, siblings[PurePosixPath(entry.filename).parent])
            local.unlink(missing_ok=True)


def _unpack(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: SourceFile, siblings: frozenset[str]
) -> FoundFile:
    try:
        with archive.open(entry) as packed, file.local.open("wb") as local:
            shutil.copyfileobj(packed, local, 1024**2)  # ends after file_size bytes, whatever the data unpack to
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        return FoundFile(file, f"broken within its archive ({type(error).__name__}); get it again")
    return FoundFile(file, siblings=siblings)


def _walk_folder(folder: Path) -> Iterator[FoundFile]:
    root = folder.resolve()
    paths = {PurePosixPath(path.relative_to(folder).as_posix()): path for path in folder.rglob("*")}
    siblings = _group_names(paths)
    for below, path in sorted(paths.items(), key=lambda item: item[0].as_posix()):
        if _is_hidden(below) or not path.is_file():
            continue
        leads_out = path.is_symlink() and not path.resolve().is_relative_to(root)
        refused = "a link that leads out of the folder; give the file itself" if leads_out else None
        yield FoundFile(SourceFile(below, _render_path(path), path), refused, siblings[below.parent])


def _render_path(path: Path) -> str:
    """Return a path that can be printed, even where the file's name is in no encoding."""
    return str(path).encode(errors="replace").decode()


def _group_names(paths: Iterable[PurePosixPath]) -> dict[PurePosixPath, frozenset[str]]:
    """Return the names in each folder."""
    names: defaultdict[PurePosixPath, set[str]] = defaultdict(set)
    for path in paths:
        names[path.parent].add(path.name)
    return {folder: frozenset(group) for folder, group in names.items()}


def _walk_embedded(found: Traversable, source: str) -> Iterator[FoundFile]:
    with resources.as_file(found) as local:
        yield from walk_archive(SourceFile(PurePosixPath(), source, local), below=PurePosixPath())


def _find_embedded(name: str) -> Traversable:
    texts = resources.files("ghostpen") / "assets" / "texts"
    found = texts / f"{name}.zip"
    if re.fullmatch(r"[\w-]+", name) and found.is_file():
        return found
    known = sorted(entry.name.removesuffix(".zip") for entry in texts.iterdir()) if texts.is_dir() else []
    choices = ", ".join(EMBEDDED_PREFIX + known_name for known_name in known) or "none in this installation"
    raise DataError(f"{EMBEDDED_PREFIX}{name}: no such embedded text; there are: {choices}")


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
