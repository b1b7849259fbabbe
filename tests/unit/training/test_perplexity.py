import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ghostpen.data.samples import IGNORED_LABEL
from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError
from ghostpen.model.cpu_kernels import use_cpu_kernels
from ghostpen.score import Score, sum_scores
from ghostpen.training.perplexity import (
    choose_validation_sections,
    compute_batch_loss_nats,
    pad_right,
    score_sections,
)

WINDOW, STRIDE = 24, 10
TEXTS = [
    "It was a fine day, and the whole of the village had gone to the sea; nobody stayed. " * 2,
    "“Where?”",
    "She did not answer, and looked at the door—twice.\n\nÄußerst still.",
    "Continue the passage. " * 9,
]


@pytest.fixture
def sections(make_section: Callable[..., Section]) -> list[Section]:
    return [make_section(text, section=index) for index, text in enumerate(TEXTS)]


def score(model: Any, tokenizer: Any, sections: list[Section], *, batch_size: int = 3) -> list[Score]:
    return score_sections(model, tokenizer, sections, window=WINDOW, stride=STRIDE, batch_size=batch_size)


def compute_reference(model: Any, tokenizer: Any, text: str) -> tuple[float, int]:
    """Sum -ln p token by token from the model's full logits, one window at a time, with nothing of ours.

    The first window holds <|startoftext|> and WINDOW - 1 tokens, all counted; each further one counts STRIDE
    new tokens and fills up with the ones before.
    """
    start = tokenizer.convert_tokens_to_ids("<|startoftext|>")
    ids = tokenizer.encode(text, add_special_tokens=False)
    nats, done = 0.0, 0
    while done < len(ids):
        end = min(done + (STRIDE if done else WINDOW - 1), len(ids))
        read = [start, *ids[max(0, end - (WINDOW - 1)) : end]]
        with torch.no_grad():
            log_p = model(input_ids=torch.tensor([read])).logits[0].double().log_softmax(-1)
        for place in range(len(read) - (end - done), len(read)):
            nats -= float(log_p[place - 1, read[place]])
        done = end
    return nats, len(ids)


@pytest.mark.parametrize("kernels", ["transformers", "ours"])
def test_score_sections_equals_full_logits(
    tiny_model: Any, tokenizer: Any, sections: list[Section], kernels: str
) -> None:
    references = [compute_reference(tiny_model, tokenizer, text) for text in TEXTS]
    if kernels == "ours":
        use_cpu_kernels(tiny_model)

    scores = score(tiny_model, tokenizer, sections)

    assert [one.tokens for one in scores] == [tokens for _, tokens in references]
    assert [one.loss_nats for one in scores] == pytest.approx([nats for nats, _ in references], rel=1e-4)
    assert [one.size_bytes for one in scores] == [len(text.encode()) for text in TEXTS]
    total_nats, total_tokens = (sum(column) for column in zip(*references, strict=True))
    assert sum_scores(scores).perplexity == pytest.approx(math.exp(total_nats / total_tokens), rel=1e-4)
    assert max(one.tokens for one in scores) > WINDOW + STRIDE > min(one.tokens for one in scores)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_score_sections_is_the_same_for_every_batch_size(
    tiny_model: Any, tokenizer: Any, sections: list[Section], batch_size: int
) -> None:
    use_cpu_kernels(tiny_model)
    alone = [score(tiny_model, tokenizer, [section], batch_size=1)[0].loss_nats for section in sections]

    scores = score(tiny_model, tokenizer, sections, batch_size=batch_size)

    assert [one.loss_nats for one in scores] == pytest.approx(alone, rel=1e-5)


def test_score_sections_in_another_order_gives_the_same_scores(
    tiny_model: Any, tokenizer: Any, sections: list[Section]
) -> None:
    there = score(tiny_model, tokenizer, sections)

    back = score(tiny_model, tokenizer, sections[::-1])[::-1]

    assert [one.loss_nats for one in back] == pytest.approx([one.loss_nats for one in there], rel=1e-5)


def test_batch_loss_does_not_depend_on_what_the_padding_holds(tiny_model: Any) -> None:
    rows, labels = [[0, 9, 30, 41, 52], [0, 60, 70]], [[-100, 9, 30, 41, 52], [-100, 60, 70]]
    padded_labels = pad_right(labels, IGNORED_LABEL)

    with torch.no_grad():
        losses = [float(compute_batch_loss_nats(tiny_model, pad_right(rows, pad), padded_labels)) for pad in (0, 77)]
        alone = sum(
            float(compute_batch_loss_nats(tiny_model, torch.tensor([row]), torch.tensor([label])))
            for row, label in zip(rows, labels, strict=True)
        )

    assert losses == pytest.approx([alone, alone], rel=1e-6)


def test_batch_loss_and_its_gradients_equal_full_logits(tiny_model: Any) -> None:
    input_ids = torch.tensor([[0, 9, 30, 41, 52], [0, 60, 70, 5, 5]])
    labels = torch.tensor([[-100, 9, 30, -100, 52], [-100, 60, 70, -100, -100]])
    parameters = list(tiny_model.parameters())
    log_p = tiny_model(input_ids=input_ids).logits.log_softmax(-1)
    counted = [(0, 1), (0, 2), (0, 4), (1, 1), (1, 2)]  # (row, place) of each label
    expected = -sum(log_p[row, place - 1, labels[row, place]] for row, place in counted)

    loss = compute_batch_loss_nats(tiny_model, input_ids, labels)

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_score_sections_with_the_input_embedding_on_another_device_is_the_same(
    tiny_model: Any, offloaded_model: Any, tokenizer: Any, sections: list[Section]
) -> None:
    assert score(offloaded_model, tokenizer, sections) == score(tiny_model, tokenizer, sections)


def test_pad_right_by_hand() -> None:
    assert pad_right([[1, 2, 3], [4]], -100).tolist() == [[1, 2, 3], [4, -100, -100]]


@pytest.mark.parametrize(
    "changes",
    [{"router_aux_loss_coef": 0.0}, {"output_router_logits": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_score_sections_has_no_router_loss_in_it(
    make_tiny_model: Callable[..., Any], tokenizer: Any, sections: list[Section], changes: dict[str, Any]
) -> None:
    with_loss, without = make_tiny_model(), make_tiny_model(**changes)
    assert with_loss.config.router_aux_loss_coef == 0.9

    assert score(with_loss, tokenizer, sections) == score(without, tokenizer, sections)


@pytest.mark.parametrize("training", [True, False])
def test_score_sections_restores_the_mode_even_after_an_error(
    tiny_model: Any, tokenizer: Any, sections: list[Section], training: bool
) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert not tiny_model.training
        raise StoppedError

    tiny_model.train(training)
    score(tiny_model, tokenizer, sections)
    assert tiny_model.training is training
    with pytest.raises(StoppedError):
        score_sections(tiny_model, tokenizer, sections, window=WINDOW, stride=STRIDE, batch_size=2, on_progress=stop)
    assert tiny_model.training is training


def test_score_sections_reports_progress_to_the_last_window(
    tiny_model: Any, tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    seen: list[tuple[int, int]] = []
    section = make_section("Continue the passage. " * 9)
    tokens = len(tokenizer.encode(section.text, add_special_tokens=False))
    windows = 1 + math.ceil((tokens - (WINDOW - 1)) / STRIDE)

    score_sections(
        tiny_model, tokenizer, [section], window=WINDOW, stride=STRIDE, batch_size=2,
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip

    assert seen == [(min(done, windows), windows) for done in range(2, windows + 2, 2)]


def test_score_sections_of_no_text_is_an_error(
    tiny_model: Any, tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    for sections in ([], [make_section("")]):
        with pytest.raises(NothingCountedError, match="no token to score"):
            score(tiny_model, tokenizer, sections)


def test_score_of_an_empty_section_among_others_has_no_perplexity(
    tiny_model: Any, tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    empty, full = score(tiny_model, tokenizer, [make_section(""), make_section("It ends.")])

    assert full.tokens > 0
    with pytest.raises(NothingCountedError):
        _ = empty.perplexity


def test_choose_validation_sections_takes_them_evenly(make_section: Callable[..., Section]) -> None:
    # 30 of 100 bytes come due with each section; the next is taken once half of it is due: 0, 4 (150), 8 (270).
    sections = [make_section("x" * 100, section=index) for index in range(10)]

    assert [one.section for one in choose_validation_sections(sections, 300)] == [0, 4, 8]
    assert choose_validation_sections(sections, 300) == choose_validation_sections(sections, 300)


def test_choose_validation_sections_without_need_takes_all(make_section: Callable[..., Section]) -> None:
    sections = [make_section("x" * 100, section=index) for index in range(3)]

    assert choose_validation_sections(sections, None) == sections
    assert choose_validation_sections(sections, 300) == sections
    assert choose_validation_sections([], 300) == []


def test_choose_validation_sections_smaller_than_one_takes_the_first(make_section: Callable[..., Section]) -> None:
    sections = [make_section("x" * 100, section=index) for index in range(3)]

    assert choose_validation_sections(sections, 10) == sections[:1]
