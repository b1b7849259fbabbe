"""That the tests' gpt-oss tokenizer is the real one, and what its own pieces make of a text."""

import base64
import hashlib

from tests.real_tokenizer import load_real_tokenizer, read_ranks

# Of o200k_base.tiktoken, as tiktoken itself checks it after a download (tiktoken_ext/openai_public.py).
O200K_BASE_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


def test_vocabulary_is_o200k_base_to_the_byte() -> None:
    lines = [base64.b64encode(entry) + f" {rank}\n".encode() for rank, entry in enumerate(read_ranks())]
    assert hashlib.sha256(b"".join(lines)).hexdigest() == O200K_BASE_SHA256


def test_special_tokens_have_gpt_oss_ids() -> None:
    tokenizer = load_real_tokenizer()
    assert len(tokenizer) == 200_019
    ids = {
        "<|startoftext|>": 199998,
        "<|endoftext|>": 199999,
        "<|return|>": 200002,
        "<|channel|>": 200005,
        "<|start|>": 200006,
        "<|end|>": 200007,
        "<|message|>": 200008,
        "<|call|>": 200012,
    }
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in ids} == ids
