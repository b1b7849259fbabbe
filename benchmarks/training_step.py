"""A LoRA training step on the CPU: ghostpen's kernels and loss against stock transformers + PEFT, same process.

    .venv/bin/python benchmarks/training_step.py          # about three minutes on 2 cores; appends to results/

Peer: the same adapted model with transformers' own eager attention, its default CPU experts ("grouped_mm") and
the loss of its forward pass (full logits). Pairs are interleaved, peer first in the even ones; both sides run in
bfloat16 autocast and with glibc told to keep freed memory, so the ratio is of the arithmetic alone.
"""

from __future__ import annotations

import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ghostpen.config import LoraConfig, ModelConfig
from ghostpen.model.loading import attach_adapter, load_base

PAIRS, STEPS, ROWS, WINDOW = 5, 2, 16, 512
RESULTS = Path(__file__).parent / "results/training_step.jsonl"


def measure_tokens_per_s(step: Callable[[], Any]) -> float:
    """Time a few steps after one that warms up."""
    step()
    began_s = time.perf_counter()
    for _ in range(STEPS):
        step()
    return ROWS * WINDOW * STEPS / (time.perf_counter() - began_s)


def main() -> None:
    """Measure, print, append."""
    base = load_base(ModelConfig(name="embedded:tiny", precision="float32", require_gpu=False), max_length=WINDOW)
    loaded, _ = attach_adapter(base, LoraConfig(rank=16), seed=0, gradient_checkpointing="off")
    import torch

    from ghostpen.model.cpu_kernels import IMPLEMENTATION
    from ghostpen.training.perplexity import compute_batch_loss_nats

    model, config = loaded.model, loaded.model.get_base_model().config
    ids = torch.randint(0, config.vocab_size, (ROWS, WINDOW), generator=torch.Generator().manual_seed(0))
    model.train()

    def step(attention: str, experts: str, loss_of: Callable[[], torch.Tensor]) -> float:
        config._attn_implementation, config._experts_implementation = attention, experts
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of()
        loss.backward()
        model.zero_grad(set_to_none=True)
        return float(loss.detach())

    def ours() -> float:
        return step(
            IMPLEMENTATION,
            IMPLEMENTATION,
            lambda: compute_batch_loss_nats(model, ids, ids) / (ROWS * (WINDOW - 1)),
        )

    def peer() -> float:
        return step("eager", "grouped_mm", lambda: model(input_ids=ids, labels=ids, use_cache=False).loss)

    assert abs(ours() - peer()) < 0.02, "both sides must compute the same loss (bfloat16 products)"
    ratios, speeds = [], {"ours": [], "peer": []}
    for pair in range(PAIRS):
        order = (("peer", peer), ("ours", ours)) if pair % 2 == 0 else (("ours", ours), ("peer", peer))
        for name, one in order:
            speeds[name].append(measure_tokens_per_s(one))
        ratios.append(speeds["ours"][-1] / speeds["peer"][-1])
    result = {
        "date": datetime.date.today().isoformat(),
        "peer": f"transformers {__import__('transformers').__version__} eager + grouped_mm, PEFT, full logits",
        "peer_tokens_per_s": round(statistics.median(speeds["peer"])),
        "ours_tokens_per_s": round(statistics.median(speeds["ours"])),
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
        "pairs": PAIRS,
        "threads": torch.get_num_threads(),
        "cpu": platform.processor() or platform.machine(),
    }
    print(json.dumps(result, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
