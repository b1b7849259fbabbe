"""What prepared data was made of, how, and what came out: `manifest.json`. It holds none of the text.

Owns the format. Paths are not recorded, only the last part of each source's name.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ghostpen.data.deduplication import Repeat
from ghostpen.data.pairs import PAIR_FILES
from ghostpen.data.sections import SPLITS
from ghostpen.errors import DataError

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
REPEATS_NAME = "duplicates.jsonl"  # names documents, and so it stays on this machine


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceRecord(_Record):
    """One SRC: its name without the path, and the fingerprint of all its texts."""

    name: str
    sha256: str
    size_bytes: int


class TokenizerRecord(_Record):
    """What tokens were counted with: its name, of a folder the last part, and the hash of its tokenizer.json."""

    name: str
    sha256: str


class DocumentCounts(_Record):
    """How much each document of a split holds, in the order of the split's file: names are private, numbers not."""

    words: list[int]
    size_bytes: list[int]
    tokens: list[int]


class SplitCounts(_Record):
    """How much one split holds; size_bytes counts the text in UTF-8, not the file."""

    documents: int
    sections: int
    words: int
    size_bytes: int
    tokens: int | None = None
    by_document: DocumentCounts | None = None


class Inputs(_Record):
    """All that decides the output: equal inputs give equal bytes.

    texts_sha256 covers the documents as they were read, and so every option of reading and redaction, without
    telling any. It is None for plain texts, of which the sources' fingerprints say as much. typography is that of the
    author's edition, or unified for all.
    """

    author: str
    sources: list[SourceRecord]
    contrast: list[SourceRecord]
    val_docs: str | None
    test_docs: str | None
    seed: int
    texts_sha256: str | None = None
    tokenizer: TokenizerRecord | None = None
    typography: Literal["keep", "unified"] = "keep"


class Manifest(_Record):
    """Record of one `ghostpen prepare`: `data_sha256` covers the jsonl files, `package_versions` what read the texts.

    `newest_in_test`: the author's documents are dated, and the newest are the test. `dropped`, `repaired` and
    `masked` count by rule.
    """

    format_version: int
    ghostpen_version: str
    inputs: Inputs
    within_document: bool
    contrast_within_document: bool
    newest_in_test: bool = False
    splits: dict[str, SplitCounts]
    dropped: dict[str, int]
    repaired: dict[str, int] = Field(default_factory=dict)
    masked: dict[str, int] = Field(default_factory=dict)
    data_sha256: str
    package_versions: dict[str, str] = Field(default_factory=dict)

    @property
    def author(self) -> str:
        """Return the author's name as it was given."""
        return self.inputs.author


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of prepared data.

    Raises:
        DataError: there is none, it can't be read, or it is of another format.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        return _parse_manifest(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give a folder that `ghostpen prepare` wrote") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check its permissions") from error


def list_prepared_files(folder: Path) -> dict[str, Path]:
    """List the files of prepared data by name, once they are known to be whole; briefs and rewrites with them.

    Raises:
        DataError: there is no prepared data, or its files are not the ones that were written.
    """
    check_unchanged(load_manifest(folder), folder)
    names = (MANIFEST_NAME, *(f"{split}.jsonl" for split in SPLITS), *PAIR_FILES.values())
    return {name: folder / name for name in names if (folder / name).is_file()}


def check_unchanged(manifest: Manifest, folder: Path) -> None:
    """Compare the files with the fingerprint in their manifest.

    Raises:
        DataError: they differ, or one can't be read.
    """
    try:
        unchanged = compute_data_sha256(folder) == manifest.data_sha256
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read ({error.strerror}); check its permissions") from error
    if not unchanged:
        raise DataError(f"{folder}: its files were changed after they were prepared; delete it and prepare again")


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest as indented JSON, a list of numbers on one line."""
    text = manifest.model_dump_json(indent=2, ensure_ascii=False) + "\n"
    text = re.sub(r"\[\n[\d,\s]+\]", lambda found: f"[{', '.join(found[0][1:-1].replace(',', ' ').split())}]", text)
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8", newline="\n")


def save_repeats(repeats: Iterable[Repeat], path: Path) -> None:
    """Write what went for what, a row each."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(asdict(repeat), ensure_ascii=False) + "\n" for repeat in repeats)


def compute_data_sha256(folder: Path) -> str:
    """Hash the names and contents of the splits that are there, in the order of SPLITS."""
    digest = hashlib.sha256()
    for split in SPLITS:
        path = folder / f"{split}.jsonl"
        if path.is_file():
            with path.open("rb") as file:
                digest.update(f"{split} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _parse_manifest(content: bytes, path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise DataError(
            f"{path}: {field}: {problem['msg']}; run `ghostpen prepare` again into a new folder"
        ) from error
    if manifest.format_version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format_version is {manifest.format_version}, this ghostpen reads {FORMAT_VERSION}; "
            "run `ghostpen prepare` again into a new folder"
        )
    return manifest
