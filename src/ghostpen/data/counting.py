"""How many words, bytes and tokens prepared text has, by split and document, and by which versions.

Owns which tokenizer counts. The embedded one is always there; no other is fetched unless a person names it.
"""

import hashlib
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from ghostpen.data.manifest import DocumentCounts, SplitCounts, TokenizerRecord
from ghostpen.data.sections import Section
from ghostpen.errors import DataError
from ghostpen.model.location import EMBEDDED_PREFIX, resolve_model

DEFAULT_TOKENIZER = "embedded:tiny"
_FILE = "tokenizer.json"
_TOGETHER = 64  # sections whose tokens are in memory at a time
# What decides how a file is read, and what it counts.
PACKAGES = (
    "beautifulsoup4",
    "charset-normalizer",
    "ftfy",
    "ijson",
    "lxml",
    "mammoth",
    "markdownify",
    "pypdfium2",
    "quotequail",
    "tokenizers",
)


@dataclass(frozen=True)
class TokenCounter:
    """A tokenizer, and what a manifest says of it."""

    record: TokenizerRecord
    tokenizer: Any  # tokenizers.Tokenizer

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, with nothing added at its ends."""
        counts: list[int] = []
        for start in range(0, len(texts), _TOGETHER):
            encoded = self.tokenizer.encode_batch_fast(texts[start : start + _TOGETHER], add_special_tokens=False)
            counts += [len(encoding) for encoding in encoded]
        return counts


def load_token_counter(name: str = DEFAULT_TOKENIZER) -> TokenCounter:
    """Load a tokenizer.

    Args:
        name: "embedded:tiny", a folder with a tokenizer.json in it or that file, or a Hugging Face id, which is
            fetched if it isn't in the cache.

    Raises:
        DataError: it isn't there, or is none.
    """
    path = Path(name).expanduser()
    if name.startswith(EMBEDDED_PREFIX):
        return _load(Path(resolve_model(name)) / _FILE, name)
    if path.is_dir():
        return _load(path / _FILE, path.resolve().name)
    if path.is_file():
        return _load(path, path.resolve().parent.name)
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return _load(_fetch(name), name)
    raise DataError(
        f"--tokenizer {name}: no such folder; give one with a {_FILE}, a Hugging Face id or embedded:tiny"
    )


def count_split(sections: Sequence[Section], counter: TokenCounter) -> SplitCounts:
    """Count a split, and each of its documents, in the order of the split's file.

    Args:
        sections: of the split, each document's together.
    """
    tokens = iter(counter.count([section.text for section in sections]))
    rows = list(_count_documents(sections, tokens))
    return SplitCounts(
        documents=len(rows),
        sections=len(sections),
        words=sum(row[0] for row in rows),
        size_bytes=sum(row[1] for row in rows),
        tokens=sum(row[2] for row in rows),
        by_document=DocumentCounts(
            words=[row[0] for row in rows], size_bytes=[row[1] for row in rows], tokens=[row[2] for row in rows]
        ),
    )


def read_versions() -> dict[str, str]:
    """Read the versions of what decides how files are read and counted."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def _count_documents(sections: Sequence[Section], tokens: Iterator[int]) -> Iterator[tuple[int, int, int]]:
    for _, group in groupby(sections, key=lambda section: (section.author, section.document)):
        rows = [(len(section.text.split()), section.size_bytes, next(tokens)) for section in group]
        yield sum(row[0] for row in rows), sum(row[1] for row in rows), sum(row[2] for row in rows)


def _fetch(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(name, _FILE))
    except (OSError, ValueError, HfHubHTTPError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise DataError(f"--tokenizer {name}: can't be fetched: {first_line}") from error


@cache
def _load(path: Path, name: str) -> TokenCounter:
    from tokenizers import Tokenizer

    try:
        content = path.read_bytes()
        tokenizer = Tokenizer.from_buffer(content)
    except OSError as error:
        raise DataError(f"--tokenizer: {path}: {error.strerror}; give a folder with a {_FILE} in it") from error
    except Exception as error:  # tokenizers raises nothing narrower (0.23)
        raise DataError(f"--tokenizer: {path}: no tokenizer of the tokenizers library: {error}") from error
    record = TokenizerRecord(name=name, sha256=hashlib.sha256(content).hexdigest())
    return TokenCounter(record, tokenizer)
