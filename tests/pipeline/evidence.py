"""What the tests read and compute for themselves, with plain libraries and no code of ghostpen's."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def hash_files(folder: Path) -> dict[str, tuple[str, int] | None]:
    """Give the hash and the time of change of every file below `folder`, and None for every folder.

    Logs are left out: W&B's service may still be writing its own when the command has ended.
    """
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".log"
    }


def check_same_end(straight: Path, joined: Path) -> None:
    """Compare two runs to the last bit: nothing is drawn after the seed, and sums run in the same order here."""
    import torch
    from safetensors.torch import load_file

    weights = [load_file(folder / "adapter/adapter_model.safetensors") for folder in (straight, joined)]
    assert weights[0].keys() == weights[1].keys()
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []
    curves = [
        [row for row in read_rows(folder / "metrics.jsonl") if row["split"] != "train"]
        for folder in (straight, joined)
    ]
    assert curves[0] == curves[1]


def load_plainly(base: Path, adapter: Path | None) -> Any:
    """Load as a user without ghostpen would: transformers and PEFT, no Unsloth, no kernels of ours."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()


def compute_loss_nats(model: Any, tokenizer: Any, text: str, *, window: int, stride: int) -> tuple[float, int]:
    """Sum -ln p token by token from full logits, one window at a time: shares no code with ghostpen."""
    import torch

    start = tokenizer.convert_tokens_to_ids("<|startoftext|>")
    ids = tokenizer.encode(text, add_special_tokens=False)
    ends = [min(window - 1, len(ids))]
    while ends[-1] < len(ids):
        ends.append(min(ends[-1] + stride, len(ids)))
    nats, done = 0.0, 0
    for end in ends:
        seen = [start, *ids[max(0, end - (window - 1)) : end]]
        with torch.no_grad():
            log_p = model(torch.tensor([seen])).logits[0].double().log_softmax(-1)
        for back in range(end - done, 0, -1):
            nats -= float(log_p[len(seen) - 1 - back, seen[len(seen) - back]])
        done = end
    return nats, len(ids)


def read_wandb(path: Path) -> list[Any]:
    """Read the records of a .wandb file: LevelDB's log format behind a header of 7 bytes.

    wandb 0.31 reads it in Go only. Source: LevelDB, doc/log_format.md.
    """
    from wandb.proto import wandb_internal_pb2

    content, position, records, parts = path.read_bytes(), 7, [], b""
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:  # no header fits in the rest of the block
            position += 32768 - position % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[position : position + 7])
        parts += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or the last part
            records.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return records
