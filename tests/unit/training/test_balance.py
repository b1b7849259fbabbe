from typing import Any

import peft
import pytest
import torch

from ghostpen.config import LoraConfig
from ghostpen.errors import ConfigError
from ghostpen.model.architecture import check_gradients, plan_targets
from ghostpen.training.balance import RouterLogits, compute_balance
from ghostpen.training.forward import give_forward_the_loss


def test_balance_of_uniform_logits_is_one() -> None:
    # P = 1/4 for each expert, so 4 * sum(1/4 * share) = sum(share) = 1, whichever experts win the tie.
    assert float(compute_balance([torch.zeros(5, 4)], experts_per_token=2)) == pytest.approx(1.0)


def test_balance_of_all_tokens_to_one_expert_is_the_number_of_experts() -> None:
    logits = torch.tensor([[100.0, 0.0, 0.0, 0.0]] * 3)

    assert float(compute_balance([logits], experts_per_token=1)) == pytest.approx(4.0)


def test_balance_of_all_tokens_to_two_experts_of_four_is_two() -> None:
    # P = share = (1/2, 1/2, 0, 0): 4 * (1/4 + 1/4) = 2, experts over experts per token.
    logits = torch.tensor([[100.0, 100.0, 0.0, 0.0]] * 3)

    assert float(compute_balance([logits], experts_per_token=2)) == pytest.approx(2.0)


def test_balance_of_two_unequal_tokens_by_hand() -> None:
    # P: token 1 (0.8, 0.2), token 2 (0.4, 0.6); mean (0.6, 0.4). Each expert is chosen once: share (1/2, 1/2).
    # 2 * (0.6 / 2 + 0.4 / 2) = 1: even choices make the loss 1. With both tokens at 0.8: 2 * 0.8 = 1.6.
    even = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).log()
    uneven = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log()

    assert float(compute_balance([even], experts_per_token=1)) == pytest.approx(1.0)
    assert float(compute_balance([uneven], experts_per_token=1)) == pytest.approx(1.6)


def test_balance_over_layers_is_their_mean() -> None:
    layers = [torch.zeros(3, 4), torch.tensor([[100.0, 0.0, 0.0, 0.0]] * 3)]

    assert float(compute_balance(layers, experts_per_token=1)) == pytest.approx((1 + 4) / 2)


def test_balance_gradient_lowers_the_expert_that_has_too_many() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3, requires_grad=True)

    compute_balance([logits], experts_per_token=1).backward()

    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 1:] < 0).all()


def test_router_logits_are_collected_once_a_layer_and_only_when_asked(tiny_model: Any) -> None:
    router_logits = RouterLogits(tiny_model)
    tiny_model(input_ids=torch.arange(6)[None])
    with router_logits.collect() as collected:
        tiny_model(input_ids=torch.arange(6)[None])
    tiny_model(input_ids=torch.arange(9)[None])

    assert [tuple(logits.shape) for logits in collected] == [(6, 4), (6, 4)]


def test_router_logits_do_not_hold_what_checkpointing_computes_again(tiny_model: Any) -> None:
    tiny_model.gradient_checkpointing_enable({"use_reentrant": False})
    tiny_model.train()
    router_logits = RouterLogits(tiny_model)

    for _ in range(2):
        with router_logits.collect() as collected:
            loss = tiny_model(input_ids=torch.arange(6)[None], use_cache=False).logits.sum()
        (loss + compute_balance(collected, experts_per_token=2)).backward()
        assert len(collected) == 2


@pytest.mark.parametrize("reentrant", [True, False])
def test_balance_under_checkpointing_trains_something_or_is_refused(tiny_model: Any, reentrant: bool) -> None:
    """Unsloth checkpoints reentrantly on one GPU: the layers run without a graph, and the balance is a constant."""
    tiny_model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    tiny_model.enable_input_require_grads()  # as Unsloth does
    tiny_model.train()
    give_forward_the_loss(tiny_model, RouterLogits(tiny_model))
    ids = torch.arange(6)[None]

    if reentrant:
        with pytest.raises(ConfigError, match=r"train\.router_aux_loss_coef.*gradient_checkpointing = \"off\""):
            tiny_model(input_ids=ids, labels=ids, sum_nats=True)
    else:
        nats, balance = tiny_model(input_ids=ids, labels=ids, sum_nats=True)
        (0 * nats + balance).backward()
        assert float(tiny_model.model.layers[0].mlp.router.weight.grad.abs().max()) > 0
    with torch.no_grad():
        tiny_model.eval()
        assert float(tiny_model(input_ids=ids, labels=ids, sum_nats=True)[1]) > 0


def test_router_logits_of_a_router_with_an_adapter_are_the_adapted_ones(tiny_model: Any) -> None:
    plan = plan_targets(tiny_model, LoraConfig(rank=2, attention=False, experts=False, router=True))
    adapted = peft.get_peft_model(
        tiny_model, peft.LoraConfig(r=2, target_modules=[], target_parameters=list(plan.target_parameters))
    )
    router_logits = RouterLogits(adapted)

    with router_logits.collect() as collected:
        adapted(input_ids=torch.arange(6)[None])
    compute_balance(collected, experts_per_token=2).backward()

    assert [tuple(logits.shape) for logits in collected] == [(6, 4), (6, 4)]
    check_gradients(adapted)
