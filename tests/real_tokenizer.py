"""gpt-oss's own tokenizer, o200k_harmony, built from its vocabulary, and gpt-oss's own chat template as TRL ships it.

The vocabulary is OpenAI's o200k_base, packed (tests/assets/README.md says how, and how that is proved).
"""

import lzma
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

PACKED = Path(__file__).with_name("assets") / "o200k_base.xz"
VOCABULARY = 199_998
# What o200k_harmony adds to o200k_base. Source: openai/harmony, and gpt-oss-20b's tokenizer.json.
SPECIAL_TOKENS = {
    199998: "<|startoftext|>",
    199999: "<|endoftext|>",
    200002: "<|return|>",
    200003: "<|constrain|>",
    200005: "<|channel|>",
    200006: "<|start|>",
    200007: "<|end|>",
    200008: "<|message|>",
    200012: "<|call|>",
    200018: "<|endofprompt|>",
}
# As gpt-oss-20b's tokenizer.json has it.
PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def read_ranks() -> list[bytes]:
    """Unpack the vocabulary: the bytes of each entry, by rank."""
    packed = lzma.decompress(PACKED.read_bytes())
    entries, position = [], VOCABULARY
    for length in packed[:VOCABULARY]:
        entries.append(packed[position : position + length])
        position += length
    return entries


@cache
def load_real_tokenizer() -> Any:
    """Build the tokenizer; takes seconds, once."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    entries = read_ranks()
    ranks = {entry: rank for rank, entry in enumerate(entries)}
    letters = _map_bytes()
    names = ["".join(letters[byte] for byte in entry) for entry in entries]
    merges = []
    for entry, name in zip(entries, names, strict=True):
        splits = [(ranks[entry[:i]], ranks[entry[i:]], i) for i in range(1, len(entry)) if _both(ranks, entry, i)]
        merges += [(name[:i], name[i:]) for _, _, i in sorted(splits)]
    vocabulary = {name: rank for rank, name in enumerate(names)}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    reserved = {number: f"<|reserved_{number}|>" for number in range(199_998, 200_019)}
    bpe.add_special_tokens(
        [AddedToken(text, normalized=False) for _, text in sorted((reserved | SPECIAL_TOKENS).items())]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|startoftext|>", eos_token="<|return|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = (files("trl") / "chat_templates/gptoss.jinja").read_text(encoding="utf-8")
    return tokenizer


def _both(ranks: dict[bytes, int], entry: bytes, cut: int) -> bool:
    return entry[:cut] in ranks and entry[cut:] in ranks


def _map_bytes() -> dict[int, str]:
    """Map each byte to the letter that byte-level BPE writes it as: GPT-2's table."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
