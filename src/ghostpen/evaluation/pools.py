"""Texts cut into pools of 5,000 words: what a style measure of word counts needs to mean anything.

Owns a pool's size and how texts become pools. A single sample is far too short: Delta by 500-word samples errs on one
in thirteen.
"""

from collections.abc import Iterable, Mapping, Sequence

from ghostpen.data.sections import Section

POOL_WORDS = 5_000
"""Source: Eder 2015, "Does size matter? Authorship attribution, small samples, big problem"."""


def cut_pools(texts: Iterable[str], *, words: int = POOL_WORDS) -> list[str]:
    """Join texts of one kind and cut them into pools; what is left over is left out.

    A pool ends within a sentence, if need be: one in hundreds.
    """
    pools: list[str] = []
    paragraphs: list[str] = []
    missing = words
    for paragraph in (paragraph for text in texts for paragraph in text.split("\n\n")):
        tokens = paragraph.split()
        while len(tokens) >= missing:
            pools.append("\n\n".join([*paragraphs, " ".join(tokens[:missing])]))
            tokens, paragraphs, missing = tokens[missing:], [], words
        if tokens:
            paragraphs.append(" ".join(tokens))
            missing -= len(tokens)
    return pools


def cut_pools_by_author(sections: Sequence[Section], *, words: int = POOL_WORDS) -> Mapping[str, list[str]]:
    """Cut each author's sections into pools, each document by itself; an author without a whole pool is left out."""
    pools: dict[str, list[str]] = {}
    for author, document in dict.fromkeys((section.author, section.document) for section in sections):
        texts = (section.text for section in sections if (section.author, section.document) == (author, document))
        pools.setdefault(author, []).extend(cut_pools(texts, words=words))
    return {author: found for author, found in pools.items() if found}
