"""Measure the embedded base model on authors it has not read, and write its card.

    python tools/card.py        # after `tools/base_model.py release`; reads build/texts, writes assets/tiny/README.md

The compressors read the same bytes: xz alone, PPMd alone, and PPMd after the base model's own training texts.
"""

from __future__ import annotations

import json
import lzma

import pyppmd
from base_model import ASSET, FICTION, SEED, TEXTS, WINDOW, read_role

from ghostpen.config import ModelConfig
from ghostpen.data.sections import Section
from ghostpen.model.loading import load_base
from ghostpen.score import sum_scores
from ghostpen.training.perplexity import score_sections

STRIDE = 256
PPMD_ORDER, PPMD_MEMORY_BYTES = 6, 1 << 30
HELD_OUT = {"Anne Bronte": "contrast/test/anne-bronte", "Stephen Crane": "contrast/test/crane",
            "Washington Irving": "contrast/val/irving", "Jane Austen (Emma)": "author/austen/emma.txt"}  # fmt: skip
# Numbers of the other authors are pooled; Austen stands apart, being the sample author.
OTHERS = ("Anne Bronte", "Stephen Crane", "Washington Irving")


def read_held_out(place: str) -> list[str]:
    """Read the works of one author, or one work."""
    path = TEXTS / place
    return [p.read_text(encoding="utf-8") for p in ([path] if path.is_file() else sorted(path.glob("*.txt")))]


def compute_xz_bytes(data: bytes) -> int:
    """Size after `xz -9e`."""
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def compute_ppmd_bytes(data: bytes, primed_with: bytes = b"") -> int:
    """Size after PPMd (variant H), less what the priming alone takes."""

    def size(text: bytes) -> int:
        encoder = pyppmd.Ppmd7Encoder(PPMD_ORDER, PPMD_MEMORY_BYTES)
        return len(encoder.encode(text)) + len(encoder.flush())

    return size(primed_with + data) - (size(primed_with) if primed_with else 0)


def main() -> None:
    """Measure and write."""
    loaded = load_base(ModelConfig(name="embedded:tiny", precision="float32", require_gpu=False), max_length=2048)
    base_texts = read_role("base")
    primer = "".join(text for author in (*base_texts.keys() - FICTION, *FICTION) for text in base_texts[author])
    rows = {}
    for name, place in HELD_OUT.items():
        works = read_held_out(place)
        sections = [Section(text, name, str(i), 0, True, True) for i, text in enumerate(works)]
        score = sum_scores(
            score_sections(loaded.model, loaded.tokenizer, sections, window=WINDOW, stride=STRIDE, batch_size=16)
        )
        data = "".join(works).encode()
        rows[name] = {
            "size_bytes": score.size_bytes,
            "nats": score.loss_nats,
            "tokens": score.tokens,
            "xz_bytes": compute_xz_bytes(data),
            "ppmd_bytes": compute_ppmd_bytes(data),
            "ppmd_primed_bytes": compute_ppmd_bytes(data, primer.encode()),
        }
        print(name, round(score.bits_per_byte, 4), flush=True)
    pooled = {key: sum(rows[name][key] for name in OTHERS) for key in rows["Anne Bronte"]}
    table = {"all three": pooled, **rows}
    log = [json.loads(line) for line in (ASSET / "pretrain.jsonl").read_text().splitlines()]
    (ASSET / "README.md").write_text(render_card(table, log[-1], base_texts), encoding="utf-8")
    print((ASSET / "README.md").read_text())


def render_card(rows: dict[str, dict[str, float]], last: dict[str, float], texts: dict[str, list[str]]) -> str:
    """Render the card."""
    import math

    sizes = {author: sum(len(text.encode()) for text in works) for author, works in texts.items()}
    fiction = ", ".join(f"{author} {sizes[author] / 1e6:.2f}" for author in FICTION)
    rest = sum(size for author, size in sizes.items() if author not in FICTION)
    lines = [
        "# The embedded base model",
        "",
        "A gpt-oss (`GptOssForCausalLM`) small enough for a CPU: 4 layers (sliding and full attention in turn, with "
        "sinks), hidden size 256, 8 experts of which 2 work on a token, 9,081,664 parameters, own byte-level BPE of "
        "4,096 tokens with gpt-oss's special tokens. It writes sentences, not sense: it is there so that everything "
        "ghostpen does can be done, and measured, anywhere.",
        "",
        f"Pre-trained from random weights with `tools/base_model.py` (seed {SEED}): {last['step']:,} steps, "
        f"{last['tokens_seen'] / 1e6:.1f} million tokens in windows of {WINDOW}, half running text and half Harmony "
        f"continuations of it, {last['elapsed_s'] / 60:.0f} minutes on 2 CPU cores shared with other work, Muon and "
        "AdamW, bfloat16 products. `pretrain.jsonl` beside this file is its log. The plan was settled on the way "
        "(the cool-down with dropout from step 1,200 was chosen at step 1,200, looking at the held-out samples in "
        "that log, the beginning of Emma among them; the run was stopped and resumed four times). The script holds "
        "the final plan, and was not run again from the start.",
        "",
        f"Read: fiction ({fiction} MB, each counted twice), {rest / 1e6:.1f} MB of presidents' messages before 1930 "
        "and the Federalist Papers. Public domain; `tools/texts.py` names the packages they come from. "
        "Not read: Jane Austen, and the authors below.",
        "",
        f"Bits per byte on texts it has not read (windows of {WINDOW} tokens, stride {STRIDE}, each work by itself):",
        "",
        "| text | bytes | this model | xz -9e | PPMd | PPMd after the same training texts |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        size = row["size_bytes"]
        model = row["nats"] / math.log(2) / size
        packed = " | ".join(f"{8 * row[k] / size:.3f}" for k in ("xz_bytes", "ppmd_bytes", "ppmd_primed_bytes"))
        lines.append(f"| {name} | {size:,} | **{model:.3f}** | {packed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
