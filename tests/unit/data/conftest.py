"""Texts made of numbered words."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def make_prose() -> Callable[[str, int], str]:
    """Return a function that makes paragraphs of 50 words, none of which any other name's prose has."""

    def make(name: str, words: int) -> str:
        numbered = [f"{name}{i}" for i in range(words)]
        paragraphs = [" ".join(numbered[i : i + 50]) + "." for i in range(0, words, 50)]
        return "\n\n".join(paragraphs) + "\n"

    return make
