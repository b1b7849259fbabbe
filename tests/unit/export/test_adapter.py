"""The adapter as others load it: experts trained one by one become the fused parameters, number for number."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostpen import config
from ghostpen.errors import ExportError
from ghostpen.export.adapter import WEIGHTS, fuse_settings, fuse_split_experts, write_adapter
from ghostpen.model.architecture import plan_targets

EXPERTS = [f"mlp.experts.{side}_projs.{number}" for side in ("down", "gate_up") for number in (2, 0, 3, 1)]


def split_experts(model: Any) -> Any:
    """Give every layer one Linear an expert, under the names of Unsloth's 4-bit checkpoints."""
    import torch
    from torch import nn

    for layer in model.model.layers:
        fused, holder = layer.mlp.experts, nn.Module()
        for side, weight in (("gate_up", fused.gate_up_proj), ("down", fused.down_proj)):
            linears = [nn.Linear(*weight.shape[1:]) for _ in weight]
            with torch.no_grad():
                for linear, part in zip(linears, weight, strict=True):
                    linear.weight.copy_(part.T)
            setattr(holder, f"{side}_projs", nn.ModuleList(linears))
        layer.mlp.experts = holder
    return model


@pytest.fixture
def split_adapter(make_tiny_model: Callable[..., Any], tmp_path: Path) -> tuple[Path, Any]:
    """Save an adapter on the split layout, as PEFT does; returns its folder and the model that it merges to."""
    import torch
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", *EXPERTS], task_type="CAUSAL_LM")
    adapted = get_peft_model(split_experts(make_tiny_model(intermediate_size=32)), settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3, generator=generator)
    adapted.save_pretrained(str(tmp_path / "split"), save_embedding_layers=False)
    (tmp_path / "split/tokenizer.json").write_text("{}")
    return tmp_path / "split", adapted.merge_and_unload()


def test_split_experts_become_the_fused_parameters_with_the_same_update(
    split_adapter: tuple[Path, Any], make_tiny_model: Callable[..., Any], tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel

    source, expected = split_adapter
    out = tmp_path / "out"
    out.mkdir()
    assert write_adapter(source, out)
    plain = make_tiny_model(intermediate_size=32)
    before = plain.model.layers[1].mlp.experts.down_proj.detach().clone()
    merged = PeftModel.from_pretrained(plain, str(out)).merge_and_unload()
    assert (merged.model.layers[1].mlp.experts.down_proj - before).abs().max() > 0.1
    for layer, wanted in zip(merged.model.layers, expected.model.layers, strict=True):
        torch.testing.assert_close(layer.self_attn.q_proj.weight, wanted.self_attn.q_proj.weight)
        for side in ("gate_up", "down"):
            fused = getattr(layer.mlp.experts, f"{side}_proj")
            for part, linear in zip(fused, getattr(wanted.mlp.experts, f"{side}_projs"), strict=True):
                torch.testing.assert_close(part.T, linear.weight, atol=1e-5, rtol=0)


def test_split_settings_name_the_fused_parameters_gate_up_first(split_adapter: tuple[Path, Any]) -> None:
    from safetensors.torch import load_file

    settings = json.loads((split_adapter[0] / "adapter_config.json").read_text(encoding="utf-8"))
    fused = fuse_settings(settings, load_file(split_adapter[0] / "adapter_model.safetensors"))
    assert fused["target_modules"] == ["q_proj"]
    # PEFT nests in this order, and the key names say nothing else of which is which.
    assert fused["target_parameters"] == ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    assert {key for key in fused if fused[key] != settings[key]} == {"target_modules", "target_parameters"}


def test_split_settings_of_chosen_layers_keep_the_layers() -> None:
    names = [f"model.layers.{layer}.{name}" for layer in (3, 1) for name in EXPERTS]
    keys = [f"base_model.model.{name}.lora_A.weight" for name in names]
    assert fuse_settings({"target_modules": names}, keys)["target_parameters"] == [
        "model.layers.1.mlp.experts.gate_up_proj",
        "model.layers.1.mlp.experts.down_proj",
        "model.layers.3.mlp.experts.gate_up_proj",
        "model.layers.3.mlp.experts.down_proj",
    ]


@pytest.mark.parametrize("chosen", [None, [1, 22]])
def test_split_settings_that_peft_has_shortened_become_the_names_of_the_plan(
    make_tiny_model: Callable[..., Any], chosen: list[int] | None
) -> None:
    """gpt-oss-20b's 24 layers of 32 experts: PEFT keeps "24" for both projections of expert 24."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    with torch.device("meta"):
        sizes = {"hidden_size": 8, "intermediate_size": 8, "head_dim": 2}
        plain = make_tiny_model(num_hidden_layers=24, num_local_experts=32, **sizes)
        model = split_experts(make_tiny_model(num_hidden_layers=24, num_local_experts=32, **sizes))
        lora = config.LoraConfig(rank=1, layers=chosen)
        split = plan_targets(model, lora)
        assert len(split.target_modules) == (2 * 68 if chosen else 68)
        settings = LoraConfig(r=1, target_modules=list(split.target_modules), task_type="CAUSAL_LM")
        adapted = get_peft_model(model, settings)
    kept = adapted.peft_config["default"].target_modules
    assert ("24" in kept) == (chosen is None)
    fused = fuse_settings({"target_modules": sorted(kept)}, get_peft_model_state_dict(adapted))
    wanted = plan_targets(plain, lora)
    assert fused["target_modules"] == sorted(wanted.target_modules)
    assert fused["target_parameters"] == list(wanted.target_parameters)


def test_split_experts_with_one_missing_are_refused() -> None:
    import torch

    weights = {
        f"base_model.model.model.layers.0.mlp.experts.down_projs.{number}.lora_A.weight": torch.ones(2, 8)
        for number in (0, 2)
    }
    with pytest.raises(ExportError, match="holds 2 of 3 experts"):
        fuse_split_experts(weights)


def test_fused_adapter_is_copied_as_it_is(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    source, out = tmp_path / "adapter", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    settings = {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.down_proj"], "r": 4}
    (source / "adapter_config.json").write_text(json.dumps(settings))
    save_file({"q_proj.lora_A.weight": torch.ones(4, 8)}, source / "adapter_model.safetensors")
    (source / "tokenizer.json").write_text("{}")
    (source / "README.md").write_text("PEFT's empty card")
    assert not write_adapter(source, out)
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
    }
    assert (out / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    assert json.loads((out / "adapter_config.json").read_text()) == settings


def test_adapter_in_another_order_than_peft_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_B_layout": "grouped_by_expert"}))
    with pytest.raises(ExportError, match='lora_B_layout "grouped_by_expert"'):
        write_adapter(tmp_path, tmp_path)
