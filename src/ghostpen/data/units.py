"""Some documents, cleaned and counted, on the disk: what one process makes of them, and what the others read of it.

A unit is made of what is in its documents and of nothing else, and named after it, so that one from an earlier run
is as good as a new one. Owns its two files: NAME.txt, the sections' texts one after the other, and NAME.npz.
"""

import hashlib
import json
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ghostpen.data.cleaning import clean_document
from ghostpen.data.counting import TokenCounter
from ghostpen.data.duplicates import Prints, compute_prints
from ghostpen.data.ngrams import ReadText, read_text
from ghostpen.data.sections import PARAGRAPH_END
from ghostpen.data.typography import unify_typography

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ghostpen.data.ngrams import Hashes

    Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class RawText:
    """A text to clean; see `cleaning.clean_document`."""

    text: str
    wrapped: bool
    headings: bool


@dataclass(frozen=True)
class Unit:
    """Where the sections of some documents lie, and how long they are.

    Args:
        path: of the files, without their ending.
        starts: of each section's text within the file, in bytes; likewise the three below.
        sizes: in bytes.
        words: see starts.
        tokens: see starts.
    """

    path: Path
    starts: "Numbers"
    sizes: "Numbers"
    words: "Numbers"
    tokens: "Numbers"

    def read_section(self, place: int) -> str:
        """Return a section's text."""
        with self.path.with_suffix(".txt").open("rb") as file:
            file.seek(int(self.starts[place]))
            return file.read(int(self.sizes[place])).decode()

    def hash_paragraphs(self, place: int) -> "list[Hashes]":
        """Return the words of a section's paragraphs as hashes."""
        words = _load_words(self.path)
        bounds = words.bounds[words.paragraphs[place] : words.paragraphs[place + 1] + 1].tolist()
        return [words.vocabulary[words.places[start:end]] for start, end in zip(bounds, bounds[1:], strict=False)]


@dataclass(frozen=True, slots=True)
class StoredSection:
    """A section in a unit; what its attributes are says `sections.Section`.

    Args:
        place: among the unit's sections.
        paragraphs: the numbers of those that are left; None is all.
    """

    unit: Unit
    place: int
    author: str
    document: str
    section: int
    starts_document: bool
    ends_document: bool
    paragraphs: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """Return its text, which is read for it."""
        text = self.unit.read_section(self.place)
        if self.paragraphs is None:
            return text
        paragraphs = text.split(PARAGRAPH_END)
        return PARAGRAPH_END.join(paragraphs[number] for number in self.paragraphs)

    @property
    def size_bytes(self) -> int:
        """Return the length of the text in UTF-8 bytes."""
        return int(self.unit.sizes[self.place]) if self.paragraphs is None else len(self.text.encode())

    @property
    def words(self) -> int:
        """Return how many words it has."""
        return int(self.unit.words[self.place]) if self.paragraphs is None else len(self.text.split())

    @property
    def tokens(self) -> int | None:
        """Return how many tokens it has, unless it lost paragraphs since they were counted."""
        return int(self.unit.tokens[self.place]) if self.paragraphs is None else None

    def hash_paragraphs(self) -> "list[Hashes]":
        """Return each paragraph's words as hashes."""
        hashed = self.unit.hash_paragraphs(self.place)
        return hashed if self.paragraphs is None else [hashed[number] for number in self.paragraphs]

    def take_paragraphs(self, numbers: Sequence[int]) -> Self:
        """Return it with some of its paragraphs only; see `sections.Section`."""
        before = self.paragraphs or range(len(self.unit.hash_paragraphs(self.place)))
        return replace(
            self,
            paragraphs=tuple(before[number] for number in numbers),
            starts_document=self.starts_document and numbers[0] == 0,
            ends_document=self.ends_document and numbers[-1] == len(before) - 1,
        )


@dataclass(frozen=True)
class MadeUnit:
    """A unit, and what is wanted of it once.

    Args:
        raw_chars: what its documents had before.
        sections: how many each document has.
        prints: of each document that has a section, and after it of each of its sections where they are several.
        dropped: how often each rule of cleaning struck.
        unified: how many places were written in one typography.
    """

    unit: Unit
    raw_chars: int
    sections: tuple[int, ...]
    prints: Prints
    dropped: Counter[str]
    unified: int


def make_unit(texts: Sequence[RawText], folder: Path, *, unified: bool, counter: TokenCounter) -> MadeUnit:
    """Return the unit of some documents, out of a folder where it lies whole, or else made and put there.

    Args:
        texts: of the documents.
        folder: of one prepare's units, of which all are made alike.
        unified: write quotes, dashes and blanks alike.
        counter: counts the tokens.
    """
    digest = hashlib.sha256()
    for text in texts:
        content = text.text.encode(errors="surrogatepass")
        digest.update(f"{len(content)} {text.wrapped:d} {text.headings:d}\n".encode() + content)
    path = folder / digest.hexdigest()[:32]
    raw_chars = sum(len(text.text) for text in texts)
    try:
        return _load_unit(path, raw_chars)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or not whole
        _write_unit(texts, path, unified=unified, counter=counter)
        return _load_unit(path, raw_chars)


def _write_unit(texts: Sequence[RawText], path: Path, *, unified: bool, counter: TokenCounter) -> None:
    import numpy as np

    documents: list[list[str]] = []
    dropped: Counter[str] = Counter()
    changes = 0
    for text in texts:
        cleaned = clean_document(text.text, wrapped=text.wrapped, headings=text.headings)
        dropped.update(cleaned.dropped)
        sections = list(cleaned.sections)
        if unified:
            alike = [unify_typography(section) for section in sections]
            sections, changes = [one.text for one in alike], changes + sum(one.changes for one in alike)
        documents.append(sections)
    sections = [section for own in documents for section in own]
    contents = [section.encode() for section in sections]
    read = [[[read_text(part) for part in section.split(PARAGRAPH_END)] for section in own] for own in documents]
    prints = compute_prints(_list_compared(read))
    texts_bytes = b"".join(contents)
    sizes = np.array([len(content) for content in contents], dtype=np.int64)
    about = {"dropped": dropped, "unified": changes, "texts_sha256": hashlib.sha256(texts_bytes).hexdigest()}
    numbers: dict[str, Any] = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "sections": np.array([len(own) for own in documents], dtype=np.int64),
        "sizes": sizes,
        "words": np.array([len(section.split()) for section in sections], dtype=np.int64),
        "tokens": np.array(counter.count(sections), dtype=np.int64),
        "normal": prints.normal,
        "exact": prints.exact,
        "chars": prints.chars,
        "signatures": prints.signatures,
    } | _pack_words([part for own in read for part in own])
    # By a name of this process's own: another one may be making the same unit. The numbers come last.
    temporary = path.with_suffix(f".{os.getpid()}.part")
    temporary.write_bytes(texts_bytes)
    temporary.replace(path.with_suffix(".txt"))
    with temporary.open("wb") as file:
        np.savez(file, **numbers)
    temporary.replace(path.with_suffix(".npz"))


def _list_compared(read: Sequence[Sequence[Sequence[ReadText]]]) -> list[list[ReadText]]:
    """Return what is compared of documents: all of each, and each section of those that have several."""
    compared: list[list[ReadText]] = []
    for sections in read:
        if sections:
            compared.append([part for own in sections for part in own])
        if len(sections) > 1:
            compared += [list(own) for own in sections]
    return compared


def _load_unit(path: Path, raw_chars: int) -> MadeUnit:
    import numpy as np

    # Opened here: np.load leaves a broken file open (2.4).
    with path.with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as loaded:
        numbers: dict[str, Any] = {name: loaded[name] for name in loaded.files if name not in _Words.__annotations__}
    about = json.loads(numbers["about"].tobytes())
    with path.with_suffix(".txt").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != about["texts_sha256"]:
            raise ValueError("its texts are not those that were written")
    sizes = numbers["sizes"]
    return MadeUnit(
        Unit(path, np.cumsum(sizes) - sizes, sizes, numbers["words"], numbers["tokens"]),
        raw_chars=raw_chars,
        sections=tuple(numbers["sections"].tolist()),
        prints=Prints(*(numbers[name] for name in ("normal", "exact", "chars", "signatures"))),
        dropped=Counter(about["dropped"]),
        unified=about["unified"],
    )


@dataclass(frozen=True)
class _Words:
    """The words of a unit: those of paragraph i are places[bounds[i]:bounds[i + 1]] of the vocabulary.

    The paragraphs of section i are those from paragraphs[i] to before paragraphs[i + 1].
    """

    vocabulary: "Hashes"
    places: "NDArray[Any]"
    bounds: "Numbers"
    paragraphs: "Numbers"


def _pack_words(sections: Sequence[Sequence[ReadText]]) -> "dict[str, NDArray[Any]]":
    import numpy as np

    hashes = [part.words for own in sections for part in own]
    joined = np.concatenate(hashes) if hashes else np.empty(0, dtype=np.uint64)
    vocabulary, places = np.unique(joined, return_inverse=True)
    return {
        "vocabulary": vocabulary,
        "places": places.astype(np.uint16 if len(vocabulary) <= 2**16 else np.uint32),
        "bounds": np.cumsum([0, *map(len, hashes)]),
        "paragraphs": np.cumsum([0, *map(len, sections)]),
    }


@lru_cache(maxsize=2)
def _load_words(path: Path) -> _Words:
    import numpy as np

    with np.load(path.with_suffix(".npz"), allow_pickle=False) as loaded:
        return _Words(*(loaded[name] for name in _Words.__annotations__))
