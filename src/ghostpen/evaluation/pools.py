"""Texts cut into pools of 5,000 words: what a style measure of word counts needs to mean anything.

Owns a pool's size and how texts become pools. A single sample is far too short: Delta by 500-word samples errs on one
in thirteen.
"""

from collections.abc import Iterable

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


def cut_pools_by_author(sections: Iterable[Section], *, words: int = POOL_WORDS) -> dict[str, list[str]]:
    """Cut each author's works, one after the other, into pools: a pool may begin in one and end in the next."""
    texts: dict[str, list[str]] = {}
    for section in sections:
        texts.setdefault(section.author, []).append(section.text)
    return {author: cut_pools(found, words=words) for author, found in texts.items()}
