"""Find texts that are the same or nearly the same: copies, later versions, letters sent twice.

Pure functions. MinHash (rensa) proposes pairs, the exact Jaccard similarity decides. Which of two texts stays does
not depend on the order in which they come.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ghostpen.data.ngrams import FACTOR, ReadText, hash_ngrams, hash_words, read_words
from ghostpen.data.progress import TOLD_EVERY, Progress, ignore_progress
from ghostpen.data.sections import PARAGRAPH_END

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ghostpen.data.ngrams import Hashes

    Signatures = NDArray[np.uint32]
    Digests = NDArray[np.uint8]

SHINGLE_WORDS = 5
LEAST_JACCARD = 0.8
_HASHES = 128  # of a signature; the share of equal ones is the Jaccard similarity, give or take 0.035 at 0.8
_BAND = 4  # equal hashes in a row that make two texts a pair to look at: of those at 0.8, one in 10^7 is missed
_LEAST_ESTIMATE = 0.6
_BATCH_WORDS = 2**22  # 32 MB of hashes
_SEED = 0


@dataclass(frozen=True)
class Duplicate:
    """A text that goes, by its place, and the one that it nearly is, which stays.

    Args:
        jaccard: of their sets of 5-grams of words; 1.0 where they differ in nothing but case, blanks, typography.
        exact: they have the same words and the same punctuation.
    """

    place: int
    kept: int
    jaccard: float
    exact: bool


@dataclass(frozen=True)
class Prints:
    """What of texts is compared, a row each.

    Args:
        normal: hashes of the texts in one case and with single blanks; SHA-256, as bytes.
        exact: hashes of the texts.
        chars: their lengths.
        signatures: of 128 hashes, each the least one of the text's shingles under a permutation of its own.
    """

    normal: "Digests"
    exact: "Digests"
    chars: "NDArray[np.int64]"
    signatures: "Signatures"

    def __len__(self) -> int:
        """Return how many texts these are."""
        return len(self.chars)

    def take(self, rows: Sequence[int]) -> "Prints":
        """Return some of the rows, in the order that is asked for."""
        places = list(rows)
        return Prints(self.normal[places], self.exact[places], self.chars[places], self.signatures[places])


def compute_prints(texts: Iterable[Sequence[ReadText]]) -> Prints:
    """Return a row a text.

    Args:
        texts: each as its paragraphs.
    """
    import numpy as np

    normal, exact, chars = bytearray(), bytearray(), []
    rows = [np.empty((0, _HASHES), dtype=np.uint32)]
    batch: list[Hashes] = []
    size = 0
    for paragraphs in texts:
        normal += _fingerprint(" ".join(part.normal for part in paragraphs if part.normal))
        text = PARAGRAPH_END.join(part.text for part in paragraphs)
        exact += _fingerprint(text)
        chars.append(len(text))
        batch.append(_hash_shingles(np.concatenate([part.words for part in paragraphs])))
        size += len(batch[-1])
        if size >= _BATCH_WORDS:
            rows.append(_sign(batch))
            batch, size = [], 0
    if batch:
        rows.append(_sign(batch))
    return Prints(
        np.frombuffer(bytes(normal), dtype=np.uint8).reshape(-1, 32),
        np.frombuffer(bytes(exact), dtype=np.uint8).reshape(-1, 32),
        np.array(chars, dtype=np.int64),
        np.concatenate(rows),
    )


def join_prints(parts: Sequence[Prints]) -> Prints:
    """Return the rows of all parts."""
    import numpy as np

    return Prints(
        np.concatenate([part.normal for part in parts]),
        np.concatenate([part.exact for part in parts]),
        np.concatenate([part.chars for part in parts]),
        np.concatenate([part.signatures for part in parts]),
    )


def find_duplicates(
    prints: Prints,
    *,
    ranks: Sequence[int],
    names: Sequence[str],
    read: Callable[[int], str],
    progress: Progress = ignore_progress,
) -> list[Duplicate]:
    """Return which texts go, in the order of their places.

    Of like texts the one with the lowest rank stays; of those the longest; else content and name decide.

    Args:
        prints: of the texts, in any order.
        ranks: one a text.
        names: one a text, each once.
        read: returns the text of a place; asked where two are likely to be near.
        progress: is told after each few texts.
    """
    normal = [row.tobytes() for row in prints.normal]
    keys = [
        (rank, -chars, like, exact.tobytes(), name)
        for rank, chars, like, exact, name in zip(
            ranks, prints.chars.tolist(), normal, prints.exact, names, strict=True
        )
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    del keys
    first: dict[bytes, int] = {}
    for i in order:
        first.setdefault(normal[i], i)
    near = {d.place: d for d in _find_near(prints.signatures, list(first.values()), read, progress)}
    found = list(near.values())
    for i in order:
        like = first[normal[i]]
        if like in near and like != i:
            found.append(replace(near[like], place=i))
        elif like != i:
            found.append(Duplicate(i, like, 1.0, exact=True))
    return sorted(found, key=lambda duplicate: duplicate.place)


def compute_jaccard(a: str, b: str) -> float:
    """Return how many of the 5-grams of words that either text has both have, as a share."""
    import numpy as np

    one, other = (np.unique(_hash_shingles(hash_words(read_words(text)))) for text in (a, b))
    both = len(np.intersect1d(one, other, assume_unique=True))
    either = len(one) + len(other) - both
    return both / either if either else 0.0


def _find_near(
    signatures: "Signatures", order: Sequence[int], read: Callable[[int], str], progress: Progress
) -> Iterator[Duplicate]:
    """Yield what is near to a text that comes earlier in the order, and that is not near to one itself."""
    signatures = signatures[list(order)]
    groups = _group_rows(signatures)
    kept_rows: defaultdict[int, list[int]] = defaultdict(list)
    for done, row in enumerate(sorted(groups), start=1):
        if done % TOLD_EVERY == 0:
            progress(done, len(groups))
        candidates = sorted({kept for group in groups[row] for kept in kept_rows[group]})
        estimates = (signatures[candidates] == signatures[row]).mean(axis=1)
        near = [kept for kept, estimate in zip(candidates, estimates, strict=True) if estimate >= _LEAST_ESTIMATE]
        for kept in near:
            jaccard = compute_jaccard(read(order[row]), read(order[kept]))
            if jaccard >= LEAST_JACCARD:
                yield Duplicate(order[row], order[kept], jaccard, exact=False)
                break
        else:
            for group in groups[row]:
                kept_rows[group].append(row)
    progress(len(signatures), len(signatures))


def _group_rows(signatures: "Signatures") -> dict[int, list[int]]:
    """Return the groups of each row that has a band in common with another one; a group is one band's one value."""
    import numpy as np

    groups: defaultdict[int, list[int]] = defaultdict(list)
    number = 0
    for start in range(0, _HASHES, _BAND):
        bands = np.zeros(len(signatures), dtype=np.uint64)
        for column in range(start, start + _BAND):
            bands = (bands + signatures[:, column]) * np.uint64(FACTOR)  # modulo 2^64
        _, members, counts = np.unique(bands, return_inverse=True, return_counts=True)
        for row in np.flatnonzero(counts[members] > 1).tolist():
            groups[row].append(number + int(members[row]))
        number += len(counts)
    return dict(groups)


def _sign(batch: Sequence["Hashes"]) -> "Signatures":
    import numpy as np
    from rensa import RMinHash

    offsets = np.cumsum([0, *map(len, batch)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(batch), offsets, _HASHES, _SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32)


def _hash_shingles(words: "Hashes") -> "Hashes":
    """Return the hashes of the 5-grams; of a shorter text, that of all of it."""
    return hash_ngrams(words, max(1, min(SHINGLE_WORDS, len(words))))


def _fingerprint(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
