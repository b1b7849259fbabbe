from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostpen.data.samples import (
    IGNORED_LABEL,
    render_eval_windows,
    render_text_windows,
)
from ghostpen.data.sections import Section
from ghostpen.errors import ModelError

FIXTURES_ARE_PURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
texts = st.text(alphabet="abc é—.\n", min_size=1, max_size=300)


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def _ids(tokenizer: Any, *tokens: str) -> tuple[int, ...]:
    return tuple(tokenizer.convert_tokens_to_ids(token) for token in tokens)


# Windows to measure on


@FIXTURES_ARE_PURE
@given(st.lists(texts, min_size=1, max_size=4), st.integers(2, 40), st.data())
def test_eval_windows_any_window_and_stride_count_every_token_once_and_in_order(
    tokenizer: Any, make_section: Callable[..., Section], parts: list[str], window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    sections = [make_section(text, section=i) for i, text in enumerate(parts)]
    counted: dict[int, list[int]] = {}
    for rendered in render_eval_windows(sections, tokenizer, window=window, stride=stride):
        assert len(rendered.input_ids) == len(rendered.labels) <= window
        pairs = list(zip(rendered.input_ids, rendered.labels, strict=True))
        assert all(label in (IGNORED_LABEL, token) for token, label in pairs)
        counted.setdefault(rendered.section_index, []).extend(label for _, label in pairs if label != IGNORED_LABEL)
    assert counted == {i: _encode(tokenizer, text) for i, text in enumerate(parts)}


@FIXTURES_ARE_PURE
@given(texts, st.integers(2, 40), st.data())
def test_eval_windows_after_the_first_give_each_counted_token_its_context(
    tokenizer: Any, make_section: Callable[..., Section], text: str, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    first, *later = render_eval_windows([make_section(text)], tokenizer, window=window, stride=stride)
    assert first.labels[0] == IGNORED_LABEL
    for rendered in later:
        context = next(i for i, label in enumerate(rendered.labels) if label != IGNORED_LABEL)
        assert context >= max(window - stride, 1)
        assert IGNORED_LABEL not in rendered.labels[context:]


def test_eval_windows_of_ten_tokens_are_those_worked_out_by_hand(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    ids = _encode(tokenizer, "0123456789")  # digits are not in the training text: one token each
    assert len(ids) == 10
    (start,) = _ids(tokenizer, "<|startoftext|>")
    windows = render_eval_windows([make_section("0123456789")], tokenizer, window=5, stride=3)
    assert [w.input_ids for w in windows] == [(start, *ids[0:4]), (start, *ids[3:7]), (start, *ids[6:10])]
    assert [w.labels for w in windows] == [
        (IGNORED_LABEL, *ids[0:4]),
        (IGNORED_LABEL, IGNORED_LABEL, *ids[4:7]),
        (IGNORED_LABEL, IGNORED_LABEL, *ids[7:10]),
    ]


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (8, 0), (8, 9)])
def test_eval_windows_impossible_sizes_are_refused(
    tokenizer: Any, make_section: Callable[..., Section], window: int, stride: int
) -> None:
    with pytest.raises(ValueError, match="stride within 1..window"):
        render_eval_windows([make_section("a")], tokenizer, window=window, stride=stride)


# Windows of plain text to train on


@FIXTURES_ARE_PURE
@given(st.lists(st.tuples(st.sampled_from("ABCD"), texts), min_size=1, max_size=6), st.integers(32, 64))
def test_text_windows_never_hold_two_documents(
    tokenizer: Any, make_section: Callable[..., Section], parts: list[tuple[str, str]], length: int
) -> None:
    # Each document is written in a letter of its own, so that a foreign token would be seen.
    sections = [make_section(text.replace("a", name), document=f"{name}{i}") for i, (name, text) in enumerate(parts)]
    own = {section.document: section.text for section in sections}
    start, end = _ids(tokenizer, "<|startoftext|>", "<|endoftext|>")
    rendered: dict[str, list[int]] = {}
    for sample in render_text_windows(sections, tokenizer, sequence_length=length):
        assert len(sample.input_ids) == len(sample.labels) <= length
        assert sample.input_ids[0] == start
        assert sample.labels == (IGNORED_LABEL, *sample.input_ids[1:])
        rendered.setdefault(sample.document, []).extend(sample.input_ids[1:])
    for document, ids in rendered.items():
        whole = [*_encode(tokenizer, own[document]), end]
        assert ids == whole[: len(ids)]
        assert len(whole) - len(ids) < 15  # only a last window of fewer than 16 tokens is left out


def test_text_windows_sections_that_follow_each_other_are_joined_and_the_end_is_taught(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    first = make_section("It was a fine day, and nobody stayed.", section=0, ends_document=False)
    second = make_section("She did not answer.", section=1, starts_document=False)
    (sample,) = render_text_windows([first, second], tokenizer, sequence_length=128)
    assert list(sample.labels[1:-1]) == _encode(tokenizer, f"{first.text}\n\n{second.text}")
    assert sample.labels[-1:] == _ids(tokenizer, "<|endoftext|>")


def test_text_windows_sections_with_one_missing_between_them_are_not_joined(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    text = "It was a fine day, and nobody stayed."
    sections = [make_section(text, section=i, ends_document=False) for i in (0, 2)]
    samples = render_text_windows(sections, tokenizer, sequence_length=128)
    assert [list(sample.input_ids[1:]) for sample in samples] == [_encode(tokenizer, text)] * 2


@pytest.mark.parametrize(("digits", "windows"), [(14, 0), (15, 1)])
def test_text_windows_last_one_shorter_than_16_tokens_is_left_out(
    tokenizer: Any, make_section: Callable[..., Section], digits: int, windows: int
) -> None:
    section = make_section("7" * digits, ends_document=False)
    assert len(render_text_windows([section], tokenizer, sequence_length=32)) == windows


def test_windows_tokenizer_without_harmony_tokens_is_refused(make_section: Callable[..., Section]) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")), unk_token="?"
    )
    with pytest.raises(ModelError, match=r"<\|startoftext\|>"):
        render_eval_windows([make_section("a")], other, window=8, stride=4)
