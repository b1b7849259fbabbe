"""How many words, bytes and tokens prepared text has, by split and document, and by which versions.

Owns which tokenizer counts. The embedded one is always there; no other is fetched unless a person names it.
"""

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from ghostpen.data.manifest import DocumentCounts, SplitCounts, TokenizerRecord
from ghostpen.data.sections import AnySection
from ghostpen.errors import DataError
from ghostpen.model.location import resolve_model

DEFAULT_TOKENIZER = "embedded:tiny"
_FILE = "tokenizer.json"
_CHOICE = f"give one with a {_FILE} in it, a Hugging Face id or {DEFAULT_TOKENIZER}"
_TOGETHER = 64  # texts whose tokens are in memory at a time
_MOST_KNOWN = 2**19  # words: about 60 MB
_BLANK_IN_WORDS = re.compile(r"(?<=\S) (?=\S)")
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# Of these none lets a blank stand within a token or at its end, but as one of several blanks.
_CUTTING = (
    [_GPT2],
    [
        {"type": "Split", "pattern": {"Regex": _O200K}, "behavior": "Isolated", "invert": False},
        _GPT2 | {"use_regex": False},
    ],
)
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
    """A tokenizer, and what a manifest says of it.

    Args:
        path: the tokenizer's file.
        cuts_at_blanks: a blank between two words always begins a token, so that a text has as many tokens as its
            words, each with the blank before it; most words have been counted before.
    """

    record: TokenizerRecord
    path: Path
    tokenizer: Any  # tokenizers.Tokenizer
    cuts_at_blanks: bool
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, with nothing added at its ends.

        Raises:
            DataError: the tokenizer doesn't take a text, as one without a token for what it doesn't know.
        """
        return [self._count_words(text) for text in texts] if self.cuts_at_blanks else self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(texts), _TOGETHER):
            try:
                encoded = self.tokenizer.encode_batch_fast(texts[start : start + _TOGETHER], add_special_tokens=False)
            except Exception as error:  # tokenizers raises nothing narrower (0.23)
                raise DataError(
                    f"--tokenizer {self.record.name}: can't count these texts: {error}; give another one"
                ) from error
            counts += [len(encoding) for encoding in encoded]
        return counts

    def _count_words(self, text: str) -> int:
        first, *words = text.split(" ")
        try:
            return self._encode([first])[0] + sum(map(self._known.__getitem__, words))
        except KeyError:
            # The others are cut out of texts with several blanks in a row, too, which are never known as words.
            first, *words = _BLANK_IN_WORDS.split(text)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        new = [word for word in set(words) if word not in self._known]
        self._known.update(zip(new, self._encode([f" {word}" for word in new]), strict=True))
        return self._encode([first])[0] + sum(map(self._known.__getitem__, words))


def load_token_counter(name: str = DEFAULT_TOKENIZER) -> TokenCounter:
    """Load a tokenizer.

    Args:
        name: "embedded:tiny", a folder with a tokenizer.json in it or that file, or a Hugging Face id, which is
            fetched if it isn't in the cache.

    Raises:
        DataError: it isn't there, or is none.
    """
    if name == DEFAULT_TOKENIZER:
        return load_counter_file(Path(resolve_model(name)) / _FILE, name)
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return load_counter_file(path / _FILE, path.resolve().name)
        if path.is_file():
            return load_counter_file(path, path.resolve().parent.name)
    except (OSError, RuntimeError) as error:  # a name too long, a locked folder; ~ of nobody
        problem = getattr(error, "strerror", None) or error
        raise DataError(f"--tokenizer {name}: can't be looked for ({problem}); {_CHOICE}") from error
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return load_counter_file(_fetch(name), name)
    raise DataError(f"--tokenizer {name}: no such folder; {_CHOICE}")


def count_split(sections: Sequence[AnySection], counter: TokenCounter) -> SplitCounts:
    """Count a split, and each of its documents, in the order of the split's file.

    Args:
        sections: of the split, each document's together; tokens that were counted before are taken over.
    """
    rows = [
        _count_document(list(group), counter)
        for _, group in groupby(sections, key=lambda section: (section.author, section.document))
    ]
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


def _count_document(sections: Sequence[AnySection], counter: TokenCounter) -> tuple[int, int, int]:
    tokens = [section.tokens for section in sections]
    counted = counter.count([section.text for section in sections if section.tokens is None])
    return (
        sum(section.words for section in sections),
        sum(section.size_bytes for section in sections),
        sum(known for known in tokens if known is not None) + sum(counted),
    )


def _fetch(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, _FILE))
    except (
        Exception
    ) as error:  # the hub's own, httpx's, the disk's: they have no narrower root (huggingface_hub 1.33)
        first_line = str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
        raise DataError(
            f"--tokenizer {name}: can't be fetched: {first_line}; give a folder with a {_FILE}"
        ) from error


@cache
def load_counter_file(path: Path, name: str) -> TokenCounter:
    """Load a tokenizer from its file.

    Raises:
        DataError: it isn't there, or is none.
    """
    from tokenizers import Tokenizer

    try:
        content = path.read_bytes()
        tokenizer = Tokenizer.from_buffer(content)
    except OSError as error:
        raise DataError(f"--tokenizer: {path}: {error.strerror}; give a folder with a {_FILE} in it") from error
    except Exception as error:  # tokenizers raises nothing narrower (0.23)
        raise DataError(f"--tokenizer: {path}: no tokenizer of the tokenizers library: {error}") from error
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None  # a means of training, by which a text has another count each time
    record = TokenizerRecord(name=name, sha256=hashlib.sha256(content).hexdigest())
    # As the library writes it: with the fields that a file may leave out.
    return TokenCounter(record, path, tokenizer, _cuts_at_blanks(json.loads(tokenizer.to_str())))


def _cuts_at_blanks(settings: Mapping[str, Any]) -> bool:
    """Say whether a tokenizer.json is of a kind that is known to cut before a blank between two words."""
    kind = settings["pre_tokenizer"] or {}
    return (
        kind.get("pretokenizers", [kind]) in _CUTTING
        and settings["model"]["type"] == "BPE"
        and not any(settings[name] for name in ("normalizer", "truncation", "padding"))
        and not any(
            " " in token["content"] or token["lstrip"] or token["rstrip"] for token in settings["added_tokens"]
        )
    )
