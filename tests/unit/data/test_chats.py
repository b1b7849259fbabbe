"""Harmony: equal to the chat template's own, and only the author's words count."""

import random
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from ghostpen.data.chats import build_continuation, check_frame, draw_day, render_chat, render_prompt
from ghostpen.data.instructions import BRIEF_INSTRUCTIONS, CONTINUE_INSTRUCTIONS, REWRITE_INSTRUCTIONS
from ghostpen.data.samples import IGNORED_LABEL, render_text_windows
from ghostpen.data.sections import Section
from ghostpen.errors import ConfigError, ModelError

ANSWER = "and nobody stayed.\n\n“Where?” he said—twice.  Né à Łódź; 文, 🙂."
REQUEST = "Continue the passage.\n\nIt was a fine day—"


def _apply_template(tokenizer: Any, request: str, answer: str, **options: Any) -> list[int]:
    messages = [{"role": "user", "content": request}, {"role": "assistant", "content": answer}]
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options))


@pytest.mark.parametrize("day", [None, date(2025, 3, 9)])
def test_chat_equals_the_chat_template_token_by_token(any_tokenizer: Any, day: date | None) -> None:
    options = {} if day is None else {"strftime_now": day.strftime}
    sample = render_chat(REQUEST, ANSWER, any_tokenizer, day=day)
    assert list(sample.input_ids) == _apply_template(any_tokenizer, REQUEST, ANSWER, **options)


def test_chat_equals_either_template_token_by_token(either_tokenizer: Any) -> None:
    sample = render_chat(REQUEST, ANSWER, either_tokenizer)
    assert list(sample.input_ids) == _apply_template(either_tokenizer, REQUEST, ANSWER)


def test_chat_every_token_of_the_answer_counts_and_no_other_does(any_tokenizer: Any) -> None:
    sample = render_chat(REQUEST, ANSWER, any_tokenizer)
    message = any_tokenizer.convert_tokens_to_ids("<|message|>")
    begins = max(i for i, token in enumerate(sample.input_ids) if token == message) + 1  # behind the last header
    for place, (token, label) in enumerate(zip(sample.input_ids, sample.labels, strict=True)):
        assert label == (token if place >= begins else IGNORED_LABEL), place
    counted = [label for label in sample.labels if label != IGNORED_LABEL]
    assert any_tokenizer.decode(counted) == f"{ANSWER}<|return|>"
    ignored = any_tokenizer.decode(sample.input_ids[:begins])
    assert ignored.endswith(f"<|start|>user<|message|>{REQUEST}<|end|><|start|>assistant<|channel|>final<|message|>")


def test_text_window_every_token_but_the_first_counts(
    any_tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    (sample,) = render_text_windows([make_section(ANSWER)], any_tokenizer, sequence_length=128)
    assert sample.input_ids[0] == any_tokenizer.convert_tokens_to_ids("<|startoftext|>")
    assert sample.labels == (IGNORED_LABEL, *sample.input_ids[1:])
    assert any_tokenizer.decode(sample.labels[1:]) == f"{ANSWER}<|endoftext|>"


def test_prompt_of_gpt_oss_has_the_day_it_is_given(any_tokenizer: Any) -> None:
    one, same, other = (render_prompt("Hello", any_tokenizer, day=date(2025, 1, day)) for day in (1, 1, 2))
    text = any_tokenizer.decode(one)
    assert one == same
    assert len(one) == len(other)  # so that no sample is longer on another day
    assert ("Current date: 2025-01-01\n" in text) == (one != other)  # the embedded model's template has no date


def test_days_are_drawn_by_seed_and_many() -> None:
    days = [draw_day(random.Random(seed)) for seed in range(50)]
    assert days == [draw_day(random.Random(seed)) for seed in range(50)]
    assert len(set(days)) > 40
    assert min(days) >= date(2025, 1, 1)


def test_chat_template_of_another_kind_is_refused(make_tokenizer: Callable[[str], Any]) -> None:
    other = make_tokenizer("{% for m in messages %}### {{ m['content'] }}\n{% endfor %}### Answer:")
    with pytest.raises(ModelError, match="isn't Harmony.*### Answer:"):
        render_chat("a", "b", other)


def test_frame_of_windows_too_short_names_the_settings(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"data\.sequence_length is 32.*data\.continue_share"):
        check_frame(tokenizer, sequence_length=32)


def test_continuation_of_a_window_without_blanks_is_the_window(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    (window,) = render_text_windows([make_section("7" * 80)], tokenizer, sequence_length=128)
    assert build_continuation(window, tokenizer, sequence_length=128, rng=random.Random(0)) is window


@pytest.mark.parametrize("instructions", [CONTINUE_INSTRUCTIONS, BRIEF_INSTRUCTIONS, REWRITE_INSTRUCTIONS])
def test_instructions_are_twelve_different_short_ones(instructions: tuple[str, ...]) -> None:
    assert len(set(instructions)) == 12
    assert max(map(len, instructions)) < 80


def test_instructions_have_a_place_for_what_they_are_about() -> None:
    assert all(text.count("{brief}") == 1 for text in BRIEF_INSTRUCTIONS)
    assert sum("{words}" in text for text in BRIEF_INSTRUCTIONS) == 4  # a length is asked for now and then
    assert all(text.count("{neutral}") == 1 for text in REWRITE_INSTRUCTIONS)
