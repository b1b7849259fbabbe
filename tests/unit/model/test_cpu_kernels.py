"""Ghostpen's CPU kernels against transformers' own, on whole models: the same numbers, forward and backward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ghostpen.model.cpu_kernels import BLOCK, use_cpu_kernels

LENGTHS = [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 37]


def build_ids(batch: int, length: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 320, (batch, length), generator=torch.Generator().manual_seed(seed))


def compute_logits_and_gradients(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    logits = model(input_ids=ids, use_cache=False).logits
    # Every logit gets its own weight in the sum, so that no gradient cancels out.
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    (logits * weights).sum().backward()
    return logits.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def measure_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the greatest difference, relative to the greatest number."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


def check_same(model: Any, ids: torch.Tensor, *, tolerance: float = 1e-5) -> dict[str, torch.Tensor]:
    theirs, their_gradients = compute_logits_and_gradients(model, ids)
    use_cpu_kernels(model)
    ours, our_gradients = compute_logits_and_gradients(model, ids)

    assert measure_difference(ours, theirs) < tolerance
    wrong = {
        name: difference
        for name, gradient in their_gradients.items()
        if (difference := measure_difference(our_gradients[name], gradient)) >= tolerance
    }
    assert wrong == {}
    return our_gradients


@pytest.mark.parametrize("length", LENGTHS)
def test_logits_and_every_gradient_equal_transformers(tiny_model: Any, length: int) -> None:
    gradients = check_same(tiny_model, build_ids(2, length))

    # The names that would be zero if a kernel left its part out of the graph.
    parts = ("sinks", "router.weight", "router.bias", "gate_up_proj", "gate_up_proj_bias", "down_proj_bias")
    assert all(gradients[name].abs().max() > 0 for name in gradients if name.endswith(parts))


@pytest.mark.parametrize(
    ("layer_type", "window"),
    [("full_attention", 8), *(("sliding_attention", window) for window in (1, BLOCK, BLOCK + 20, 1000))],
)
def test_gradients_equal_transformers_for_any_window(
    make_tiny_model: Callable[..., Any], layer_type: str, window: int
) -> None:
    model = make_tiny_model(num_hidden_layers=1, layer_types=[layer_type], sliding_window=window)

    check_same(model, build_ids(1, 2 * BLOCK + 37))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("window", [1, 8, BLOCK, BLOCK + 20, 1000])
def test_logits_without_gradient_equal_transformers(
    make_tiny_model: Callable[..., Any], length: int, window: int
) -> None:
    model = make_tiny_model(sliding_window=window)
    ids = build_ids(2, length)
    with torch.no_grad():
        theirs = model(input_ids=ids, use_cache=False).logits
        use_cpu_kernels(model)
        ours = model(input_ids=ids, use_cache=False).logits

    assert measure_difference(ours, theirs) < 1e-5


def test_gradients_equal_transformers_where_the_activation_is_clamped(make_tiny_model: Callable[..., Any]) -> None:
    model = make_tiny_model()
    activations: list[torch.Tensor] = []
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.experts.gate_up_proj *= 5
    model.model.layers[0].post_attention_layernorm.register_forward_hook(
        lambda _module, _inputs, output: activations.append(output.detach())
    )

    check_same(model, build_ids(2, 40))

    experts = model.model.layers[0].mlp.experts
    reached = torch.einsum("bth,ehi->beti", activations[0], experts.gate_up_proj.detach())
    assert (reached[..., 0::2] > experts.limit).any()
    assert (reached[..., 1::2].abs() > experts.limit).any()


def test_expert_without_tokens_has_no_gradient_and_the_others_transformers(tiny_model: Any) -> None:
    # One token chooses 2 of 4 experts.
    gradients = check_same(tiny_model, build_ids(1, 1))

    for layer in (0, 1):
        used = gradients[f"model.layers.{layer}.mlp.experts.down_proj"].abs().amax((1, 2)) > 0
        assert int(used.sum()) == 2


def test_step_of_generation_with_cache_equals_reading_the_whole(tiny_model: Any) -> None:
    use_cpu_kernels(tiny_model)
    ids = build_ids(2, 20)

    with torch.no_grad():
        whole = tiny_model(input_ids=ids, use_cache=False).logits
        cache = tiny_model(input_ids=ids[:, :15], use_cache=True).past_key_values
        for end in range(16, 21):
            step = tiny_model(input_ids=ids[:, end - 1 : end], past_key_values=cache, use_cache=True)
            assert measure_difference(step.logits[:, -1], whole[:, end - 1]) < 1e-5
            cache = step.past_key_values


def test_generation_writes_what_transformers_would(tiny_model: Any) -> None:
    options = {"attention_mask": torch.ones(1, 12), "max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    theirs = tiny_model.generate(build_ids(1, 12), **options)
    use_cpu_kernels(tiny_model)

    assert torch.equal(tiny_model.generate(build_ids(1, 12), **options), theirs)


def test_padding_on_the_right_changes_no_real_token(tiny_model: Any) -> None:
    use_cpu_kernels(tiny_model)
    short = build_ids(1, BLOCK - 20)
    padded = torch.cat([short, build_ids(1, 50, seed=2)], 1)

    with torch.no_grad():
        alone = tiny_model.model(input_ids=short, use_cache=False).last_hidden_state
        beside = tiny_model.model(input_ids=padded, use_cache=False).last_hidden_state

    assert measure_difference(beside[:, : short.shape[1]], alone) < 1e-5


def test_autocast_to_bfloat16_stays_near_float32(tiny_model: Any) -> None:
    use_cpu_kernels(tiny_model)
    ids = build_ids(1, 30)
    exact, exact_gradients = compute_logits_and_gradients(tiny_model, ids)
    with torch.autocast("cpu", torch.bfloat16):
        logits, gradients = compute_logits_and_gradients(tiny_model, ids)

    cosine = torch.nn.functional.cosine_similarity
    assert cosine(logits.float().flatten(), exact.flatten(), 0) > 0.99
    for name, gradient in gradients.items():
        assert cosine(gradient.float().flatten(), exact_gradients[name].flatten(), 0) > 0.9, name


def test_dropout_is_refused(tiny_model: Any) -> None:
    use_cpu_kernels(tiny_model)
    tiny_model.train()
    for layer in tiny_model.model.layers:
        layer.self_attn.attention_dropout = 0.1

    with pytest.raises(ValueError, match="no dropout"):
        tiny_model(input_ids=build_ids(1, 4))
