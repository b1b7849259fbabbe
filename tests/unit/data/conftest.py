"""Texts made of numbered words, and the tokenizers that people train with."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.real_tokenizer import load_real_tokenizer

from ghostpen.model.location import resolve_model


@pytest.fixture(scope="session")
def make_prose() -> Callable[[str, int], str]:
    """Return a function that makes paragraphs of 50 words, none of which any other name's prose has."""

    def make(name: str, words: int) -> str:
        numbered = [f"{name}{i}" for i in range(words)]
        paragraphs = [" ".join(numbered[i : i + 50]) + "." for i in range(0, words, 50)]
        return "\n\n".join(paragraphs) + "\n"

    return make


@pytest.fixture(scope="session")
def embedded_tokenizer() -> Any:
    """Return the embedded model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model("embedded:tiny"))


@pytest.fixture(params=["gpt-oss", "embedded"], scope="session")
def any_tokenizer(request: pytest.FixtureRequest) -> Any:
    """Return gpt-oss's own tokenizer with its own chat template, and the embedded model's."""
    return load_real_tokenizer() if request.param == "gpt-oss" else request.getfixturevalue("embedded_tokenizer")
