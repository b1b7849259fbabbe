"""Headers of checkpoints without their weights: names, types and shapes as published, no data."""

import json
import struct
from pathlib import Path

TYPE_BYTES = {"BF16": 2, "U8": 1, "F32": 4}
Tensors = dict[str, tuple[str, tuple[int, ...]]]

# config.json of openai/gpt-oss-20b, what of it decides sizes.
GPT_OSS_20B: dict[str, object] = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 201088,
    "sliding_window": 128,
    "attention_bias": True,
    "tie_word_embeddings": False,
    "router_aux_loss_coef": 0.9,
}


def list_gpt_oss_20b(layout: str) -> Tensors:
    """List gpt-oss-20b's tensors in a published layout: "bf16", "mxfp4" or "split"."""
    tensors: Tensors = {
        "model.embed_tokens.weight": ("BF16", (201088, 2880)),
        "lm_head.weight": ("BF16", (201088, 2880)),
        "model.norm.weight": ("BF16", (2880,)),
    }
    router = "router.linear" if layout == "split" else "router"
    for layer in range(24):
        part: Tensors = {
            "input_layernorm.weight": ("BF16", (2880,)),
            "post_attention_layernorm.weight": ("BF16", (2880,)),
            "self_attn.sinks": ("BF16", (64,)),
            f"mlp.{router}.weight": ("BF16", (32, 2880)),
            f"mlp.{router}.bias": ("BF16", (32,)),
        }
        for name, (width_in, width_out) in {
            "q": (2880, 4096), "k": (2880, 512), "v": (2880, 512), "o": (4096, 2880),
        }.items():  # fmt: skip
            part[f"self_attn.{name}_proj.weight"] = ("BF16", (width_out, width_in))
            part[f"self_attn.{name}_proj.bias"] = ("BF16", (width_out,))
        for name, width_out in (("gate_up_proj", 5760), ("down_proj", 2880)):
            part |= _list_experts(f"mlp.experts.{name}", width_out, layout)
        tensors |= {f"model.layers.{layer}.{name}": tensor for name, tensor in part.items()}
    return tensors


def _list_experts(name: str, width_out: int, layout: str) -> Tensors:
    if layout == "split":
        tensors: Tensors = {}
        for expert in range(32):
            weight, values = f"{name}s.{expert}.weight", width_out * 2880
            tensors |= {
                weight: ("U8", (values // 2, 1)),
                f"{weight}.absmax": ("U8", (values // 64,)),
                f"{weight}.nested_absmax": ("F32", (-(-values // (64 * 256)),)),
                f"{name}s.{expert}.bias": ("BF16", (width_out,)),
            }
        return tensors
    bias: Tensors = {f"{name}_bias": ("BF16", (32, width_out))}
    if layout == "mxfp4":
        blocks = (32, width_out, 90)
        return bias | {f"{name}_blocks": ("U8", (*blocks, 16)), f"{name}_scales": ("U8", blocks)}
    return bias | {name: ("BF16", (32, 2880, width_out))}


def count_bytes(tensors: Tensors) -> int:
    """Sum the tensors' sizes."""
    total = 0
    for kind, shape in tensors.values():
        size = TYPE_BYTES[kind]
        for width in shape:
            size *= width
        total += size
    return total


def write_header(path: Path, tensors: Tensors) -> None:
    """Write a safetensors file that ends where its first weight would begin."""
    header, end = {}, 0
    for name, (kind, shape) in tensors.items():
        start, end = end, end + count_bytes({name: (kind, shape)})
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def write_index(path: Path, tensors: Tensors) -> None:
    """Write the index of a checkpoint of many files."""
    index = {
        "metadata": {"total_size": count_bytes(tensors)},
        "weight_map": dict.fromkeys(tensors, "model-00001-of-00002.safetensors"),
    }
    path.write_text(json.dumps(index), encoding="utf-8")
