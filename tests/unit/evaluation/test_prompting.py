from typing import Any

import pytest

from ghostpen.data.samples import IGNORED_LABEL, render_eval_windows
from ghostpen.data.sections import Section
from ghostpen.evaluation.prompting import PASSAGES, render_author_prompt

SECTIONS = [
    Section(" ".join(f"Word{number} of section {number} it is." for _ in range(40)), "A", "d", number, False, False)
    for number in range(8)
]


@pytest.mark.parametrize("room", [3000, 1500])
def test_prompt_holds_five_passages_of_the_author_and_fits(tokenizer: Any, room: int) -> None:
    prompt = render_author_prompt(SECTIONS, tokenizer, room=room, seed=3)
    assert prompt is not None and len(prompt.ids) <= room
    assert prompt.passages == PASSAGES
    text = tokenizer.decode(prompt.ids)
    assert text.count("***") == PASSAGES - 1
    assert text.endswith("<|start|>assistant<|channel|>final<|message|>")
    assert prompt == render_author_prompt(SECTIONS, tokenizer, room=room, seed=3)
    assert prompt != render_author_prompt(SECTIONS, tokenizer, room=room, seed=4)


def test_less_room_takes_fewer_passages_and_none_takes_none(tokenizer: Any) -> None:
    frame = render_author_prompt(SECTIONS, tokenizer, room=700, seed=0)
    assert frame is not None and 1 <= frame.passages < PASSAGES
    assert render_author_prompt(SECTIONS, tokenizer, room=40, seed=0) is None
    assert render_author_prompt([], tokenizer, room=1000, seed=0) is None


def test_prompted_windows_count_every_token_once_and_none_of_the_prompt(tokenizer: Any) -> None:
    text = SECTIONS[0].text
    ids = tokenizer.encode(text, add_special_tokens=False)
    prompt = [5, 6, 7]
    windows = render_eval_windows(SECTIONS[:1], tokenizer, window=20, stride=12, prompt=prompt)
    assert all(window.input_ids[:3] == (5, 6, 7) and len(window.input_ids) <= 20 for window in windows)
    counted = [label for window in windows for label in window.labels if label != IGNORED_LABEL]
    assert counted == ids
    with pytest.raises(ValueError, match="leaves no room"):
        render_eval_windows(SECTIONS[:1], tokenizer, window=20, stride=12, prompt=[5] * 20)


def test_windows_longer_by_the_prompt_hold_the_same_text(tokenizer: Any) -> None:
    prompt = [5, 6, 7]
    bare = render_eval_windows(SECTIONS[:2], tokenizer, window=20, stride=12)
    prompted = render_eval_windows(SECTIONS[:2], tokenizer, window=20 + len(prompt) - 1, stride=12, prompt=prompt)
    assert [one.input_ids[3:] for one in prompted] == [one.input_ids[1:] for one in bare]
    assert [one.labels[3:] for one in prompted] == [one.labels[1:] for one in bare]
