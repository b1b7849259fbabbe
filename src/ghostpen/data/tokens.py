"""What is used of a tokenizer, and gpt-oss's own tokens. Pure functions; the tokenizer is an argument."""

from collections.abc import Sequence
from typing import Any, Protocol

from ghostpen.errors import ModelError

START, END, RETURN = "<|startoftext|>", "<|endoftext|>", "<|return|>"


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer, whose documentation says more."""

    unk_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool, verbose: bool) -> list[int]:
        """Return the ids of a text."""

    def decode(self, token_ids: Sequence[int], *, clean_up_tokenization_spaces: bool) -> str:
        """Return the text of ids."""

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Return the id of one token."""

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """Return a conversation as one text."""


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text, with nothing added at its ends."""
    # Not verbose: a whole document is longer than a model reads, and a warning would only worry people.
    return tokenizer.encode(text, add_special_tokens=False, verbose=False)


def decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of ids, without the broken halves of characters that were cut in two at its ends."""
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False).strip("\ufffd \n")


def find_token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of one of gpt-oss's own tokens.

    Raises:
        ModelError: the tokenizer lacks it.
    """
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or found == tokenizer.unk_token_id:
        raise ModelError(f"the tokenizer has no token {token}; use a gpt-oss tokenizer")
    return found
