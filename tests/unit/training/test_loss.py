import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from ghostpen.data.samples import IGNORED_LABEL
from ghostpen.training.loss import compute_loss_nats

HIDDEN, VOCABULARY = 6, 11
LOGITS_ROW_BYTES = 4 * VOCABULARY


def build_inputs(counted: list[bool], *, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(len(counted), HIDDEN, generator=generator)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    labels = torch.randint(0, VOCABULARY, (len(counted),), generator=generator)
    labels[~torch.tensor(counted, dtype=torch.bool)] = IGNORED_LABEL
    return hidden.requires_grad_(), weight.requires_grad_(), labels


@settings(deadline=None, max_examples=60)
@given(
    counted=st.lists(st.booleans(), min_size=1, max_size=30),
    chunk_bytes=st.integers(1, 40 * LOGITS_ROW_BYTES),
    scale=st.sampled_from([1.0, 0.25, -3.0]),
    seed=st.integers(0, 1000),
)
def test_loss_and_gradients_equal_cross_entropy_for_any_chunk(
    counted: list[bool], chunk_bytes: int, scale: float, seed: int
) -> None:
    hidden, weight, labels = build_inputs(counted, seed=seed)
    expected = cross_entropy(hidden @ weight.T, labels, reduction="sum", ignore_index=IGNORED_LABEL)
    expected_grads = torch.autograd.grad(scale * expected, (hidden, weight))

    loss = compute_loss_nats(hidden, weight, labels, chunk_bytes=chunk_bytes)
    grads = torch.autograd.grad(scale * loss, (hidden, weight))

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-5, atol=1e-5)


def test_loss_of_equal_logits_is_tokens_times_log_vocabulary() -> None:
    # Two of three positions count, each p = 1/11: 2 ln 11.
    hidden, weight, labels = build_inputs([True, False, True], seed=0)

    loss = compute_loss_nats(torch.zeros_like(hidden), weight, labels).detach()

    assert float(loss) == pytest.approx(2 * math.log(11))


def test_loss_of_a_batch_is_that_of_its_rows() -> None:
    hidden, weight, labels = build_inputs([True, False, True, True, True, False], seed=1)

    batched = compute_loss_nats(hidden.reshape(2, 3, HIDDEN), weight, labels.reshape(2, 3))

    rows = [compute_loss_nats(hidden[start : start + 3], weight, labels[start : start + 3]) for start in (0, 3)]
    torch.testing.assert_close(batched, sum(rows))


def test_loss_with_nothing_labelled_is_zero_with_zero_gradients() -> None:
    hidden, weight, labels = build_inputs([False] * 4, seed=0)

    loss = compute_loss_nats(hidden, weight, labels)
    loss.backward()

    assert loss.item() == 0.0
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))
    assert torch.equal(weight.grad, torch.zeros_like(weight))


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_loss_with_one_side_frozen_gives_the_other_its_gradient(frozen: str) -> None:
    hidden, weight, labels = build_inputs([True, True, False], seed=2)
    trained, fixed = (weight, hidden) if frozen == "hidden" else (hidden, weight)
    expected = cross_entropy(hidden @ weight.T, labels, reduction="sum", ignore_index=IGNORED_LABEL)
    (expected_grad,) = torch.autograd.grad(expected, trained)
    fixed.requires_grad_(False)

    (grad,) = torch.autograd.grad(compute_loss_nats(hidden, weight, labels), trained)

    torch.testing.assert_close(grad, expected_grad, rtol=1e-5, atol=1e-6)


def test_loss_under_no_grad_is_summed_in_float64_and_makes_no_gradient() -> None:
    hidden, weight, labels = build_inputs([True] * 3, seed=0)

    with torch.no_grad():
        loss = compute_loss_nats(hidden, weight, labels)

    assert (loss.dtype, loss.requires_grad) == (torch.float64, False)


def test_loss_of_bfloat16_hidden_is_near_float32_and_gives_gradients_in_their_own_types() -> None:
    hidden, weight, labels = build_inputs([True] * 8, seed=3)
    half = hidden.detach().bfloat16().requires_grad_()

    loss = compute_loss_nats(half, weight, labels)
    loss.backward()

    assert loss.item() == pytest.approx(compute_loss_nats(hidden, weight, labels).item(), rel=0.02)
    assert (half.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)


# The peak is the kernel's own count of the process, VmHWM. getrusage's ru_maxrss would not do: a child
# inherits in it the size of the process that started it. 4,096 rows of 201,088 float32 are 3.1 GiB.
MEASURE_EXTRA_BYTES = """
import torch
from ghostpen.training.loss import compute_loss_nats

def read_kib(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

hidden, weight = torch.randn(4096, 64, requires_grad=True), torch.randn(201_088, 64, requires_grad=True)
labels = torch.randint(0, 201_088, (4096,))
compute_loss_nats(hidden[:1], weight, labels[:1]).backward()  # what torch itself needs for a first product
hidden.grad = weight.grad = None
before = read_kib("VmRSS")
compute_loss_nats(hidden, weight, labels).backward()
print((read_kib("VmHWM") - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc: run it on Linux")
def test_loss_over_the_large_vocabulary_needs_less_than_a_gibibyte_extra() -> None:
    result = subprocess.run([sys.executable, "-c", MEASURE_EXTRA_BYTES], capture_output=True, text=True, check=True)

    extra_bytes = int(result.stdout)
    assert 100 * 2**20 < extra_bytes < 2**30  # one chunk of logits alone is 128 MiB
