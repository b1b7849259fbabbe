"""Read the texts a person points at: a file, a folder, or `embedded:NAME`, a zip that ships with ghostpen.

Owns which files are documents, their names, their authors and their encoding. Must not change the text
beyond decoding it: that is cleaning's work.
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from ghostpen.errors import DataError

TEXT_SUFFIXES = (".txt", ".md")
EMBEDDED_PREFIX = "embedded:"
SPLIT_FOLDERS = ("train", "val", "test")


@dataclass(frozen=True)
class Document:
    """One work by one author, as it was read.

    Args:
        id: slug of the file's stem; unique for its author.
        author: as `--author` says, or for contrast texts the name of the folder.
        text: the decoded text, not cleaned.
        origin: the file as a person would look for it; for messages only, never written out.
        split: "train", "val" or "test" where a leading folder of that name or a glob fixes it, else None.
    """

    id: str
    author: str
    text: str
    origin: str
    split: str | None = None


@dataclass(frozen=True)
class Source:
    """What one SRC argument held: its fingerprint, its documents, and how many files were passed over."""

    name: str
    sha256: str
    size_bytes: int
    documents: tuple[Document, ...]
    files_of_other_types: int = 0
    empty_files: int = 0


@dataclass(frozen=True)
class _Member:
    path: PurePosixPath  # below the source's root
    origin: str
    content: bytes


def read_source(source: str | Path, *, author: str | None) -> Source:
    """Read every .txt and .md of one source, in the order of their names.

    Hidden files and folders are passed over, and so are files of other types (they are counted).

    Args:
        source: a file, a folder (read with everything below it), or `embedded:NAME`.
        author: whose texts these are; None for contrast texts, where the folder names the author.

    Raises:
        DataError: the source is missing, unreadable, without text or not UTF-8.
    """
    members, root_name, others = _read_members(str(source))
    texts = [(member, _decode(member)) for member in members]
    kept = tuple(
        _build_document(member, text, author=author, root_name=root_name) for member, text in texts if text.strip()
    )
    if not kept:
        raise DataError(f"{source}: no text in it; give a .txt or .md file, or a folder that holds some")
    return Source(
        name=str(source) if str(source).startswith(EMBEDDED_PREFIX) else Path(source).resolve().name,
        sha256=_compute_sha256(members),
        size_bytes=sum(len(member.content) for member in members),
        documents=kept,
        files_of_other_types=others,
        empty_files=len(members) - len(kept),
    )


def read_sources(sources: Sequence[str | Path], *, author: str | None) -> list[Source]:
    """Read several sources, and refuse two documents of one author under the same id.

    Raises:
        DataError: as `read_source`; two files of one author have the same name.
    """
    read = [read_source(source, author=author) for source in sources]
    seen: dict[tuple[str, str], str] = {}
    for document in (document for source in read for document in source.documents):
        key = (document.author, document.id)
        if key in seen:
            raise DataError(
                f"{document.origin}: same document id, {document.id!r}, as {seen[key]}; rename one of them"
            )
        seen[key] = document.origin
    return read


def fix_splits(documents: Sequence[Document], *, val_docs: str | None, test_docs: str | None) -> list[Document]:
    """Set the split of each document of one author whose id or file name matches; a glob overrules a folder.

    Raises:
        DataError: a glob matches no document, or both globs match the same one.
    """
    fixed: dict[str, str] = {}
    for option, glob, split in (("--val-docs", val_docs, "val"), ("--test-docs", test_docs, "test")):
        if glob is None:
            continue
        matches = [d.id for d in documents if fnmatchcase(d.id, glob) or fnmatchcase(Path(d.origin).name, glob)]
        if not matches:
            ids = ", ".join(document.id for document in documents[:8])
            more = ", …" if len(documents) > 8 else ""
            raise DataError(f"{option} {glob!r} matches no document; there are: {ids}{more}")
        if both := [name for name in matches if name in fixed]:
            raise DataError(f"document {both[0]!r} matches --val-docs and --test-docs; make the globs disjoint")
        fixed |= dict.fromkeys(matches, split)
    return [replace(document, split=fixed.get(document.id, document.split)) for document in documents]


def slugify(name: str) -> str:
    """Lower-case a name and turn everything but letters and digits into single hyphens."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")


def _read_members(source: str) -> tuple[list[_Member], str, int]:
    """Return the text files, the author's name where no folder gives one, and the number of other files."""
    if source.startswith(EMBEDDED_PREFIX):
        name = source.removeprefix(EMBEDDED_PREFIX)
        return _read_zip(_find_embedded(name).read_bytes(), source), name, 0
    path = Path(source)
    try:
        if path.is_dir():
            files = list(_walk(path))
            texts = [file for file in files if file.suffix.lower() in TEXT_SUFFIXES]
            members = [_Member(_below(file, path), str(file), file.read_bytes()) for file in texts]
            return members, path.resolve().name, len(files) - len(texts)
        if path.is_file() and path.suffix.lower() not in TEXT_SUFFIXES:
            raise DataError(f"{source}: only .txt and .md files are read; save the text as one of them")
        return [_Member(PurePosixPath(path.name), source, path.read_bytes())], path.resolve().parent.name, 0
    except FileNotFoundError as error:
        raise DataError(
            f"{source}: no such file or folder; give a .txt or .md file, a folder, or embedded:NAME"
        ) from error
    except OSError as error:
        name = error.filename or source
        raise DataError(f"{name}: can't be read ({error.strerror}); check its permissions") from error


def _walk(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*"), key=lambda file: file.relative_to(folder).as_posix()):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file


def _below(file: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(file.relative_to(folder).as_posix())


def _find_embedded(name: str) -> Traversable:
    texts = resources.files("ghostpen") / "assets" / "texts"
    found = texts / f"{name}.zip"
    if re.fullmatch(r"[\w-]+", name) and found.is_file():
        return found
    known = sorted(entry.name.removesuffix(".zip") for entry in texts.iterdir()) if texts.is_dir() else []
    choices = ", ".join(EMBEDDED_PREFIX + known_name for known_name in known) or "none in this installation"
    raise DataError(f"{EMBEDDED_PREFIX}{name}: no such embedded text; there are: {choices}")


def _read_zip(content: bytes, source: str) -> list[_Member]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = sorted(name for name in archive.namelist() if PurePosixPath(name).suffix in TEXT_SUFFIXES)
        return [_Member(PurePosixPath(name), f"{source}/{name}", archive.read(name)) for name in names]


def _decode(member: _Member) -> str:
    try:
        return member.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = member.content.count(b"\n", 0, error.start) + 1
        byte = member.content[error.start]
        raise DataError(
            f"{member.origin}:{line}: not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8, "
            "for example with: iconv -f WINDOWS-1252 -t UTF-8"
        ) from error


def _build_document(member: _Member, text: str, *, author: str | None, root_name: str) -> Document:
    folders = list(member.path.parts[:-1])
    split = folders.pop(0) if folders and folders[0] in SPLIT_FOLDERS else None
    owner = author if author is not None else slugify(folders[0] if folders else root_name)
    name = slugify(member.path.stem) or "text"
    return Document(id=name, author=owner, text=text, origin=member.origin, split=split)


def _compute_sha256(members: Sequence[_Member]) -> str:
    """Hash names and contents: a moved or repacked source keeps its fingerprint, a renamed file does not."""
    digest = hashlib.sha256()
    for member in members:
        digest.update(f"{member.path}\0{hashlib.sha256(member.content).hexdigest()}\n".encode())
    return digest.hexdigest()
