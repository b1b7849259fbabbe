from typing import Any

import pytest
import torch

from ghostpen.model.cpu_kernels import use_cpu_kernels
from ghostpen.model.held_experts import hold_experts

IDS = torch.arange(30).reshape(2, 15)


@pytest.fixture
def adapted(tiny_model: Any) -> Any:
    """Return the random gpt-oss on our kernels, under an adapter of attention and experts that isn't zero."""
    from peft import LoraConfig, get_peft_model

    use_cpu_kernels(tiny_model)
    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "v_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    )
    model = get_peft_model(tiny_model, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.2, generator=generator)
    return model.eval()


@torch.no_grad()
def compute_logits(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return logits


def test_hold_experts_gives_the_same_logits_to_the_last_bit(adapted: Any) -> None:
    expected = compute_logits(adapted)

    with hold_experts(adapted):
        first, second = compute_logits(adapted), compute_logits(adapted)

    assert torch.equal(first, expected)
    assert torch.equal(second, expected)


def test_hold_experts_follows_an_adapter_that_is_disabled(adapted: Any) -> None:
    expected = compute_logits(adapted)
    with adapted.disable_adapter():
        base = compute_logits(adapted)
        with hold_experts(adapted):
            held = [compute_logits(adapted) for _ in range(2)]

    assert not torch.equal(base, expected)
    assert torch.equal(held[0], base)
    assert torch.equal(held[1], base)
    assert torch.equal(compute_logits(adapted), expected)


def test_hold_experts_makes_an_adapters_weights_once_and_lets_go_of_them(adapted: Any) -> None:
    before = compute_logits(adapted)
    modules = dict(adapted.named_modules())
    lora = [one for name, one in adapted.named_parameters() if "experts" in name and "lora_B" in name]

    with pytest.raises(KeyboardInterrupt), hold_experts(adapted):
        compute_logits(adapted)
        with torch.no_grad():
            for one in lora:
                one.zero_()
        held = compute_logits(adapted)
        raise KeyboardInterrupt

    assert torch.equal(held, before)
    assert not torch.equal(compute_logits(adapted), before)
    assert dict(adapted.named_modules()) == modules


def test_hold_experts_leaves_transformers_kernels_alone(tiny_model: Any) -> None:
    experts = tiny_model.model.layers[0].mlp.experts

    with hold_experts(tiny_model):
        assert tiny_model.model.layers[0].mlp.experts is experts
        assert compute_logits(tiny_model).isfinite().all()
