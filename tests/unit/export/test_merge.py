"""Merging into quantised bases: MXFP4 is dequantised first, and 4-bit weights are never merged into."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostpen.config import ModelConfig
from ghostpen.errors import ExportError, ModelError
from ghostpen.export.merge import check_base, choose_base, plan_merge, write_merged

# OCP Microscaling Formats 1.0, table of FP4 E2M1: sign, two bits of exponent, one of mantissa.
FP4 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]


def make_config(name: Path | str, **changes: Any) -> ModelConfig:
    return ModelConfig(name=str(name), require_gpu=False, **changes)


@pytest.fixture
def mxfp4_base(make_tiny_model: Callable[..., Any], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Save a gpt-oss whose experts are MXFP4, as the published ones are; returns it and its experts in float32."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "mxfp4"
    make_tiny_model(intermediate_size=32).to(torch.bfloat16).save_pretrained(str(folder))
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(2)
    table = torch.tensor(FP4 + [-value for value in FP4])
    experts = {}
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        count, inputs, outputs = weights.pop(name).shape
        blocks = torch.randint(0, 256, (count, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(122, 126, (count, outputs, inputs // 32), generator=generator, dtype=torch.uint8)
        weights |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        values = torch.stack([table[(blocks & 15).long()], table[(blocks >> 4).long()]], dim=-1).flatten(-2)
        values = values * 2.0 ** (scales.float() - 127).unsqueeze(-1)
        experts[name] = values.flatten(-2).transpose(1, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder, experts


def write_random_adapter(model: Any, tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Save a random adapter on the experts; returns its updates by parameter, from PEFT's own merging."""
    import torch
    from peft import LoraConfig, get_peft_model

    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    settings = LoraConfig(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    )
    adapted = get_peft_model(model, settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3, generator=generator)
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    tokenizer.save_pretrained(str(folder))
    merged = adapted.merge_and_unload()
    return {name: weight.detach() - before[name] for name, weight in merged.named_parameters()}


def test_mxfp4_base_is_merged_into_dequantised_bfloat16(
    mxfp4_base: tuple[Path, dict[str, Any]], make_tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    base, experts = mxfp4_base
    updates = write_random_adapter(make_tiny_model(intermediate_size=32), tokenizer, tmp_path / "adapter")
    plan = plan_merge(make_config(base), base={}, replacement=None)
    assert (plan.precision, plan.dequantised) == ("bfloat16", True)
    out = tmp_path / "merged"
    write_merged(plan, adapter=tmp_path / "adapter", folder=out)
    merged = load_file(out / "model.safetensors")
    assert {weight.dtype for weight in merged.values()} == {torch.bfloat16}
    assert "quantization_config" not in json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert len(experts) == 4
    for name, values in experts.items():
        assert updates[name].abs().max() > 0.1
        # PEFT rounds the update to bfloat16 (8 significant bits), then the sum.
        expected = values + updates[name]
        assert ((merged[name].float() - expected).abs() <= 2**-8 * (updates[name].abs() + expected.abs())).all()
    assert plan.size_bytes == sum(weight.numel() * 2 for weight in merged.values())
    model, loading = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert (loading["missing_keys"], loading["unexpected_keys"]) == (set(), set())
    assert model.config.architectures == ["GptOssForCausalLM"]


def test_bitsandbytes_base_is_refused_and_replaced_by_a_named_one(
    mxfp4_base: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    base, _ = mxfp4_base
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    four_bit = tmp_path / "four-bit"
    four_bit.mkdir()
    (four_bit / "config.json").write_text(json.dumps(config))
    (four_bit / "model.safetensors").write_bytes(b"")
    with pytest.raises(ExportError, match=r"four-bit holds its weights quantised \(bitsandbytes\).*with --base"):
        plan_merge(make_config(four_bit), base={}, replacement=None)
    assert plan_merge(make_config(four_bit), base={}, replacement=str(base)).location == str(base)


def test_base_whose_weights_changed_is_refused(mxfp4_base: tuple[Path, dict[str, Any]]) -> None:
    base, _ = mxfp4_base
    plan = plan_merge(make_config(base), base={}, replacement=None)
    check_base(plan, base={"revision": "abc"}, name="base")
    with pytest.raises(ExportError, match="the weights of base are not those"):
        check_base(plan, base={"weights_sha256": "0" * 64}, name="base")


UNSLOTH_S, FOUR_BIT = "unsloth/gpt-oss-20b", "unsloth/gpt-oss-20b-unsloth-bnb-4bit"


@pytest.mark.parametrize(
    ("name", "in_4bit", "base", "chosen"),
    [
        ("embedded:tiny", False, {"weights_sha256": "ab"}, ("embedded:tiny", None)),
        (UNSLOTH_S, False, {"loaded_name": UNSLOTH_S, "revision": "c0"}, (UNSLOTH_S, "c0")),
        # The commit is one of Unsloth's repository, and OpenAI's has none of that name.
        ("openai/gpt-oss-20b", False, {"loaded_name": UNSLOTH_S, "revision": "c0"}, (UNSLOTH_S, "c0")),
        (UNSLOTH_S, True, {"loaded_name": FOUR_BIT, "revision": "c0"}, (UNSLOTH_S, None)),
        ("my/gpt-oss", True, {"loaded_name": "my/gpt-oss", "revision": "c0"}, ("my/gpt-oss", "c0")),
    ],
)
def test_base_on_the_hub_is_merged_at_the_commit_of_its_own_repository(
    name: str, in_4bit: bool, base: dict[str, Any], chosen: tuple[str, str | None]
) -> None:
    assert choose_base(ModelConfig(name=name, load_in_4bit=in_4bit), base=base) == chosen


def test_base_that_is_not_at_hand_is_one_line() -> None:
    with pytest.raises(ExportError, match="owner/nothing could not be read"):
        plan_merge(make_config("owner/nothing"), base={}, replacement=None)
    with pytest.raises(ModelError, match="no embedded model"):
        plan_merge(make_config("embedded:huge"), base={}, replacement=None)


def test_adapter_of_another_size_is_refused(
    make_tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    make_tiny_model(intermediate_size=32).save_pretrained(str(tmp_path / "base"))
    write_random_adapter(make_tiny_model(intermediate_size=64), tokenizer, tmp_path / "adapter")
    plan = plan_merge(make_config(tmp_path / "base", precision="float32"), base={}, replacement=None)
    with pytest.raises(ExportError, match="could not be loaded together"):
        write_merged(plan, adapter=tmp_path / "adapter", folder=tmp_path / "out")


def test_adapter_of_more_layers_is_refused(
    make_tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    make_tiny_model().save_pretrained(str(tmp_path / "base"))
    write_random_adapter(make_tiny_model(num_hidden_layers=3), tokenizer, tmp_path / "adapter")
    plan = plan_merge(make_config(tmp_path / "base", precision="float32"), base={}, replacement=None)
    with pytest.raises(ExportError, match=r"6 weights of the adapter have no place .*layers\.2\."):
        write_merged(plan, adapter=tmp_path / "adapter", folder=tmp_path / "out")
