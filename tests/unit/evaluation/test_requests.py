import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ghostpen.config import DataConfig
from ghostpen.data.chats import build_continuation, render_chat
from ghostpen.data.instructions import BRIEF_INSTRUCTIONS, REWRITE_INSTRUCTIONS
from ghostpen.data.samples import IGNORED_LABEL, render_text_windows
from ghostpen.data.sections import Section
from ghostpen.errors import ConfigError, DataError
from ghostpen.evaluation.requests import (
    PRESETS,
    Request,
    RequestKind,
    Sampling,
    choose_sampling,
    find_kind_warning,
    plan_request,
    render_request,
)


class First(random.Random):
    """Takes the first of several wordings."""

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[0]


def test_continue_request_is_the_prompt_of_a_training_sample(
    either_tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    text = "It was a fine day, and the whole of the village had gone to the sea; nobody stayed. She did not answer."
    [window] = render_text_windows([make_section(text)], either_tokenizer, sequence_length=400)
    sample = build_continuation(window, either_tokenizer, sequence_length=400, rng=First(0))
    given = sample.labels.count(IGNORED_LABEL)
    assert 0 < given < len(sample.labels)
    answer = either_tokenizer.decode(sample.input_ids[given:-1])
    passage = text[: text.index(answer)].strip()
    assert passage and answer
    assert render_request(Request("continue", f"{passage}\n"), either_tokenizer) == list(sample.input_ids[:given])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("brief", BRIEF_INSTRUCTIONS[0].format(brief="A {curious} thing.")),
        ("rewrite", REWRITE_INSTRUCTIONS[0].format(neutral="A {curious} thing.")),
    ],
)
def test_brief_and_rewrite_are_prompts_of_training_samples(
    either_tokenizer: Any, kind: RequestKind, words: str
) -> None:
    sample = render_chat(words, "It was.", either_tokenizer)
    given = sample.labels.count(IGNORED_LABEL)
    assert render_request(Request(kind, "A {curious} thing."), either_tokenizer) == list(sample.input_ids[:given])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"beginning": "It"}, Request("text", "It")),
        ({"beginning": "It", "in_chat": True}, Request("continue", "It")),
        ({"brief": "Rain."}, Request("brief", "Rain.")),
        ({"rewrite": "Rain."}, Request("rewrite", "Rain.")),
        ({}, None),
        ({"in_chat": True}, None),
    ],
)
def test_plan_request_takes_what_is_given(given: dict[str, Any], expected: Request | None) -> None:
    options: dict[str, Any] = {"beginning": None, "brief": None, "rewrite": None, "in_chat": False}
    assert plan_request(**options | given) == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"beginning": "It", "brief": "Rain."}, ConfigError, "a prompt and --brief are two things to write"),
        ({"rewrite": "It", "brief": "Rain."}, ConfigError, "--brief and --rewrite are two things to write"),
        ({"brief": "Rain.", "in_chat": True}, ConfigError, "--continue goes on with a prompt, and --brief is none"),
        ({"beginning": " \n"}, DataError, "the prompt is empty"),
        ({"brief": ""}, DataError, "the prompt is empty"),
    ],
)
def test_plan_request_refuses_two_things_and_nothing(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    options: dict[str, Any] = {"beginning": None, "brief": None, "rewrite": None, "in_chat": False}
    with pytest.raises(error, match=message):
        plan_request(**options | given)


def test_sampling_is_the_preset_s_but_for_what_is_given() -> None:
    assert choose_sampling("steady", temperature=None, top_p=None, min_p=None) == PRESETS["steady"]
    assert choose_sampling("likeliest", temperature=0.5, top_p=0.1, min_p=0.0) == Sampling(0.5, 0.1, 0.0)
    assert choose_sampling("free", temperature=0.0, top_p=None, min_p=None).top_p == PRESETS["free"].top_p


@pytest.mark.parametrize(
    ("kind", "shares", "warning"),
    [
        ("text", {}, None),
        ("brief", {}, "the run was trained with data.brief_share = 0"),
        ("continue", {"brief_share": 0.5}, "the run was trained with data.continue_share = 0"),
        ("brief", {"brief_share": 0.5}, None),
        ("text", {"brief_share": 0.5, "continue_share": 0.5}, "the run was trained on chats alone"),
        ("rewrite", {"brief_share": 0.5, "rewrite_share": 0.5}, None),
    ],
)
def test_kind_that_was_not_trained_is_said(kind: RequestKind, shares: dict[str, float], warning: str | None) -> None:
    found = find_kind_warning(kind, DataConfig(dir=Path("data"), **shares))  # type: ignore[arg-type]
    assert (found or "").startswith(warning or "") and (found is None) == (warning is None)
