"""Tiny checkpoints in each layout that a published gpt-oss has, made from a model's weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

FP4_VALUES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
BNB_SETTINGS = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_quant_storage": "uint8",
    "llm_int8_skip_modules": ["lm_head", "router", "q_proj", "k_proj", "v_proj", "o_proj"],
}
MXFP4_SETTINGS = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ],
}


def write_fused(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Save a model in 16 bits, as unsloth/gpt-oss-20b-BF16 is."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_mxfp4(source: Path, folder: Path) -> Path:
    """Pack the experts as openai/gpt-oss-20b has them: (E, out, in / 32, 16) bytes, and a scale for 32 values."""
    tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = pack_mxfp4(tensor)
        else:
            tensors[name] = tensor
    return _write(source, folder, tensors, MXFP4_SETTINGS)


def pack_mxfp4(weight_EIO: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round to 4-bit floats that share a power of two, the larger half of a byte last."""
    rows = weight_EIO.float().transpose(1, 2)
    groups = rows.reshape(*rows.shape[:2], -1, 32)
    exponents = torch.ceil(torch.log2(groups.abs().amax(-1) / FP4_VALUES[-1]))
    values = torch.tensor(FP4_VALUES + [-value for value in FP4_VALUES])
    codes = ((groups / torch.exp2(exponents)[..., None])[..., None] - values).abs().argmin(-1).to(torch.uint8)
    return (codes[..., 0::2] | (codes[..., 1::2] << 4)).contiguous(), (exponents + 127).to(torch.uint8)


def write_split(source: Path, folder: Path) -> Path:
    """Write one Linear an expert, packed by bitsandbytes, as unsloth/gpt-oss-20b-unsloth-bnb-4bit has them."""
    from bitsandbytes.functional import quantize_4bit

    tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            for number, expert in enumerate(tensor):
                weight = f"{name}s.{number}.weight"
                packed, state = quantize_4bit(expert.T.contiguous(), quant_type="nf4", compress_statistics=True)
                tensors[weight] = packed
                tensors |= {f"{weight}.{key}": value for key, value in state.as_dict(packed=True).items()}
        elif name.endswith(("experts.gate_up_proj_bias", "experts.down_proj_bias")):
            for number, expert in enumerate(tensor):
                tensors[name.replace("_bias", f"s.{number}.bias")] = expert.contiguous()
        else:
            tensors[name.replace(".mlp.router.", ".mlp.router.linear.")] = tensor
    return _write(source, folder, tensors, BNB_SETTINGS)


def _write(source: Path, folder: Path, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> Path:
    shutil.copytree(source, folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}), encoding="utf-8")
    return folder
