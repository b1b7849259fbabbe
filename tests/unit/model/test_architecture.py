from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import nn

from ghostpen.config import LoraConfig
from ghostpen.errors import ModelError, TargetError
from ghostpen.model.architecture import (
    TargetPlan,
    check_attached,
    check_gradients,
    count_attached,
    find_targets,
    plan_targets,
)

RANK = 3
# (in + out) * rank * layers, for the tiny model: hidden 64, 4 heads of 16, 2 of them keys and values.
ATTENTION = {
    "attention.k_proj": (64 + 32) * RANK * 2,
    "attention.o_proj": (64 + 64) * RANK * 2,
    "attention.q_proj": (64 + 64) * RANK * 2,
    "attention.v_proj": (64 + 32) * RANK * 2,
}
# The same for each of 4 experts: hidden 64 to 2 * 64, and 64 back to 64.
EXPERTS = {
    "experts.down_proj": 4 * (64 + 64) * RANK * 2,
    "experts.gate_up_proj": 4 * (64 + 128) * RANK * 2,
}
ROUTER = {"router": (64 + 4) * RANK * 2}
# What the recipes for other models name, and every tutorial copies.
COPIED_EVERYWHERE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def attach(model: Any, plan: TargetPlan) -> Any:
    """Attach as PEFT alone does, without unsloth."""
    config = peft.LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules=list(plan.target_modules),
        target_parameters=list(plan.target_parameters) or None,
    )
    return peft.get_peft_model(model, config)


def test_plan_on_the_stock_layout_names_modules_and_parameters(tiny_model: Any) -> None:
    plan = plan_targets(tiny_model, LoraConfig(rank=RANK))

    assert plan.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert set(plan.target_parameters) == {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}
    assert (plan.expert_layout, plan.rank, plan.alpha) == ("fused", RANK, 2 * RANK)
    assert len(plan.targets) == 2 * (4 + 2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ATTENTION | EXPERTS),
        ({"experts": False}, ATTENTION),
        ({"attention": False}, EXPERTS),
        ({"router": True}, ATTENTION | EXPERTS | ROUTER),
        ({"attention": False, "experts": False, "router": True}, ROUTER),
    ],
    ids=["default", "attention", "experts", "with router", "router"],
)
def test_attached_counts_are_the_planned_ones_by_formula(
    tiny_model: Any, settings: dict[str, bool], expected: dict[str, int]
) -> None:
    plan = plan_targets(tiny_model, LoraConfig(rank=RANK, **settings))
    adapted = attach(tiny_model, plan)

    assert plan.trainable == expected
    assert plan.trainable_total == sum(expected.values())
    assert check_attached(adapted, plan) == count_attached(adapted) == expected
    trainable = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert trainable == plan.trainable_total


def test_layers_are_named_in_full_and_only_they_are_trained(make_tiny_model: Callable[..., Any]) -> None:
    # With 12 layers, so that layer 1 could be taken for layer 11.
    model = make_tiny_model(num_hidden_layers=12)
    plan = plan_targets(model, LoraConfig(rank=RANK, layers=(1,)))
    adapted = attach(model, plan)

    assert "model.layers.1.self_attn.q_proj" in plan.target_modules
    assert "model.layers.1.mlp.experts.down_proj" in plan.target_parameters
    assert check_attached(adapted, plan) == {kind: count // 2 for kind, count in (ATTENTION | EXPERTS).items()}
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert [name for name in trained if ".layers.1." not in name] == []


def test_layer_that_is_not_there_is_an_error(tiny_model: Any) -> None:
    with pytest.raises(TargetError, match=r"lora\.layers names \[2, 7\], but the model has layers 0 to 1"):
        plan_targets(tiny_model, LoraConfig(layers=(1, 2, 7)))


def test_list_that_is_copied_everywhere_fails_loudly(tiny_model: Any) -> None:
    plan = plan_targets(tiny_model, LoraConfig(rank=RANK))
    adapted = peft.get_peft_model(tiny_model, peft.LoraConfig(r=RANK, target_modules=COPIED_EVERYWHERE))
    assert count_attached(adapted) == ATTENTION  # PEFT said nothing

    with pytest.raises(TargetError) as caught:
        check_attached(adapted, plan)
    assert "experts.gate_up_proj: asked 4,608, attached 0" in caught.value.message
    assert "experts.down_proj: asked 3,072, attached 0" in caught.value.message
    assert "attention" not in caught.value.message


def test_weight_that_is_trained_beside_the_plan_is_an_error(tiny_model: Any) -> None:
    plan = plan_targets(tiny_model, LoraConfig(rank=RANK))
    adapted = attach(tiny_model, plan)
    adapted.get_base_model().lm_head.weight.requires_grad_(True)

    with pytest.raises(TargetError, match=r"other: asked 0, attached 20,480"):
        check_attached(adapted, plan)


class SplitExperts(nn.Module):
    """Unsloth's layout of a 4-bit checkpoint: one Linear an expert, empty buffers under the fused names."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up_projs = nn.ModuleList(nn.Linear(8, 12) for _ in range(3))
        self.down_projs = nn.ModuleList(nn.Linear(6, 8) for _ in range(3))
        self.register_buffer("gate_up_proj", torch.empty(0))
        self.register_buffer("down_proj", torch.empty(0))


class SplitRouter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.ParameterDict({"weight": torch.zeros(3, 8), "bias": torch.zeros(3)})


@pytest.fixture
def split_model() -> nn.Module:
    def build_layer() -> nn.Module:
        widths = {"q_proj": 8, "k_proj": 4, "v_proj": 4, "o_proj": 8}
        attention = nn.ModuleDict({name: nn.Linear(8, width) for name, width in widths.items()})
        mlp = nn.ModuleDict({"router": SplitRouter(), "experts": SplitExperts()})
        return nn.ModuleDict({"self_attn": attention, "mlp": mlp})

    return nn.ModuleDict({"model": nn.ModuleDict({"layers": nn.ModuleList(build_layer() for _ in range(2))})})


def test_plan_on_the_split_layout_names_every_expert(split_model: nn.Module) -> None:
    plan = plan_targets(split_model, LoraConfig(rank=RANK))

    assert plan.expert_layout == "split"
    assert plan.target_parameters == ()
    experts = {f"mlp.experts.{name}.{n}" for name in ("gate_up_projs", "down_projs") for n in range(3)}
    assert set(plan.target_modules) == {"q_proj", "k_proj", "v_proj", "o_proj"} | experts
    assert plan.trainable["experts.gate_up_proj"] == 2 * 3 * (8 + 12) * RANK
    assert plan.trainable["experts.down_proj"] == 2 * 3 * (6 + 8) * RANK


def test_adapter_on_the_split_layout_is_counted_by_kind(split_model: nn.Module) -> None:
    plan = plan_targets(split_model, LoraConfig(rank=RANK, layers=(1,)))
    config = peft.LoraConfig(r=RANK, target_modules=list(plan.target_modules))

    assert check_attached(peft.inject_adapter_in_model(config, split_model), plan) == plan.trainable


def test_router_of_a_layout_without_one_to_adapt_is_an_error(split_model: nn.Module) -> None:
    with pytest.raises(TargetError, match=r"lora\.router is true, but .* set lora\.router = false"):
        plan_targets(split_model, LoraConfig(router=True))


def test_llama_is_not_a_gpt_oss() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    llama = LlamaForCausalLM(
        LlamaConfig(
            num_hidden_layers=1, hidden_size=16, intermediate_size=16, num_attention_heads=2, vocab_size=32,
            bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip

    with pytest.raises(ModelError, match="LlamaForCausalLM is not a gpt-oss: no experts.down_proj"):
        find_targets(llama)


@pytest.mark.parametrize("settings", [{}, {"router": True}], ids=["default", "with router"])
def test_gradients_of_a_real_backward_pass_are_accepted(tiny_model: Any, settings: dict[str, bool]) -> None:
    adapted = attach(tiny_model, plan_targets(tiny_model, LoraConfig(rank=RANK, **settings)))
    ids = torch.arange(12)[None]
    adapted(input_ids=ids, labels=ids).loss.backward()

    check_gradients(adapted)


@pytest.mark.parametrize("untrained", ["none", "zero"])
def test_kind_without_gradient_is_an_error(tiny_model: Any, untrained: str) -> None:
    adapted = attach(tiny_model, plan_targets(tiny_model, LoraConfig(rank=RANK)))
    ids = torch.arange(12)[None]
    adapted(input_ids=ids, labels=ids).loss.backward()
    for name, parameter in adapted.named_parameters():
        if ".k_proj.lora_" in name:
            parameter.grad = None if untrained == "none" else torch.zeros_like(parameter)

    with pytest.raises(TargetError, match=r"^attention\.k_proj received no gradient"):
        check_gradients(adapted)


def test_every_kind_is_named_where_nothing_ran_backward(tiny_model: Any) -> None:
    adapted = attach(tiny_model, plan_targets(tiny_model, LoraConfig(rank=RANK)))

    with pytest.raises(TargetError) as caught:
        check_gradients(adapted)
    assert all(kind in caught.value.message for kind in ATTENTION | EXPERTS)


@pytest.mark.parametrize("router", [False, True])
def test_fresh_adapter_changes_no_bit_of_a_logit(tiny_model: Any, router: bool) -> None:
    ids = torch.arange(30)[None]
    with torch.no_grad():
        before = tiny_model(input_ids=ids).logits
        adapted = attach(tiny_model, plan_targets(tiny_model, LoraConfig(rank=RANK, router=router))).eval()
        after = adapted(input_ids=ids).logits

    assert torch.equal(before, after)
