"""A bundle's `manifest.json`: the list of its files with size and hash, and the proof that all of them are there.

Owns the format, and which names a bundle may hold. Must not call S3.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ghostpen.errors import BundleDamagedError, CloudError

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1
MAX_NAME_BYTES = 800  # S3 takes keys of 1,024 bytes, prefix and all


@dataclass(frozen=True)
class FileEntry:
    """One file: its path with slashes, below the bundle's folder."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class BundleManifest:
    """All files, in the order of their paths, and what the pusher wanted readers to know.

    Raises:
        CloudError: a path that would leave the folder, or that can't stand beside another one.
    """

    files: tuple[FileEntry, ...]
    info: Mapping[str, Any]
    created_at: str  # UTC, ISO 8601

    def __post_init__(self) -> None:
        check_paths(entry.path for entry in self.files)

    @property
    def folder(self) -> str:
        """Name the folder of the files, which changes with every bit of them: what a key holds is never replaced."""
        lines = "".join(f"{entry.path}\0{entry.size_bytes}\0{entry.sha256}\n" for entry in self.files)
        return f"files/{hashlib.sha256(lines.encode()).hexdigest()[:16]}"

    @property
    def size_bytes(self) -> int:
        """Sum up the files."""
        return sum(entry.size_bytes for entry in self.files)

    def to_json(self) -> str:
        """Render `manifest.json`."""
        files = [{"path": f.path, "size_bytes": f.size_bytes, "sha256": f.sha256} for f in self.files]
        head = {"format": FORMAT_VERSION, "created_at": self.created_at, "folder": self.folder}
        return json.dumps({**head, "info": dict(self.info), "files": files}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: bytes | str, *, where: str) -> BundleManifest:
        """Read what `to_json` rendered; `where` is the bundle's place, for the message.

        Raises:
            BundleDamagedError: it is not JSON, lacks or adds a field, or names what no bundle may hold.
        """
        try:
            document = _Document.model_validate_json(content)
            entries = tuple(FileEntry(file.path, file.size_bytes, file.sha256) for file in document.files)
            manifest = cls(entries, document.info, document.created_at)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"]) or "the file"
            raise _refuse(where, f"{field}: {problem['msg']}") from error
        except CloudError as error:
            raise _refuse(where, error.message) from error
        if manifest.folder != document.folder:
            raise _refuse(where, "its list of files is not the one that was pushed")
        return manifest


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _File(_Record):
    path: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Document(_Record):
    format: Literal[1]
    created_at: str
    folder: str
    info: dict[str, Any]
    files: list[_File]


def check_paths(paths: Iterable[str]) -> None:
    """Refuse what would be written outside of a folder, or could not be written beside the others.

    Raises:
        CloudError: with the first such path.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        if (problem := _find_problem(path)) is not None:
            raise CloudError(f"{path[:200]!r} can't be a file of a bundle: {problem}")
        if path in seen:
            raise CloudError(f"{path[:200]!r} is listed twice")
        seen.add(path)
        folders.update(str(parent) for parent in PurePosixPath(path).parents)
    if both := sorted(seen & folders):
        raise CloudError(f"{both[0][:200]!r} is listed as a file and as a folder of files")


def _find_problem(path: str) -> str | None:
    parts = path.split("/")
    if path.startswith("/"):
        return "its path is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return 'its path has a part that is empty, "." or ".."'
    if "\\" in path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        return "its path has a backslash or a control character"
    try:
        size_bytes = len(path.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return None if size_bytes <= MAX_NAME_BYTES else f"its path is longer than {MAX_NAME_BYTES} bytes"


def _refuse(where: str, problem: str) -> BundleDamagedError:
    return BundleDamagedError(
        f"{where}/{MANIFEST_NAME} is not a bundle's manifest ({problem}), so nothing of it was used; delete "
        f"{where}/ and push it again"
    )
