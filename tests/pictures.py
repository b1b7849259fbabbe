"""What the tests of both pictures share: rows of metrics.jsonl, and the colours of a PNG."""

import math
from pathlib import Path
from typing import Any

from PIL import Image


def build_row(split: str, *, step: int, perplexity: float, tokens: int = 10) -> dict[str, Any]:
    return {
        "step": step,
        "tokens_seen": 100 * step,
        "split": split,
        "perplexity": perplexity,
        "bits_per_byte": None,
        "loss_nats": math.log(perplexity) * tokens,
        "tokens": tokens,
        "learning_rate": None,
        "tokens_per_s": None,
    }


METRICS = [
    build_row(split, step=step, perplexity=start - step * slope)
    for step in (0, 10, 20, 30)
    for split, start, slope in (("val", 31.0, 0.1), ("contrast_val", 35.0, 0.01), ("train", 30.0, 0.12))
]
CONTROL = [build_row("val", step=step, perplexity=31.0) for step in (0, 10, 20, 30)]


def read_colors(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        colors = image.convert("RGB").getcolors(maxcolors=1_000_000)
    assert colors is not None
    return {color for _, color in colors if isinstance(color, tuple)}
