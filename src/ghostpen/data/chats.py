"""Samples in gpt-oss's chat format, Harmony: what a user asks, and the author's words in the `final` channel.

Pure functions. Only the answer and the closing <|return|> count; all is equal, token by token, to the tokenizer's own
chat template over both messages.
"""

import random
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from ghostpen.data.instructions import CONTINUE_INSTRUCTIONS
from ghostpen.data.samples import IGNORED_LABEL, TrainSample
from ghostpen.data.tokens import END, RETURN, Tokenizer, decode, encode, find_token_id
from ghostpen.errors import ConfigError, ModelError

FINAL_CHANNEL = "<|channel|>final<|message|>"
RELEASE_DAY = date(2025, 8, 5)  # gpt-oss's: what asks a model takes it for today, so that any day gives the same text
_FIRST_DAY, _DAYS = date(2025, 1, 1), 1_000

_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s|$)")


def render_prompt(request: str, tokenizer: Tokenizer, *, day: date | None = None) -> list[int]:
    """Render a user's message up to where the answer begins in the final channel.

    Args:
        request: the user's words.
        tokenizer: a gpt-oss tokenizer.
        day: what the template takes for today; None is today. gpt-oss's own template has the date in it.

    Raises:
        ModelError: the chat template is not Harmony.
    """
    options: dict[str, Any] = {} if day is None else {"strftime_now": day.strftime}
    user = {"role": "user", "content": request}
    prompt = tokenizer.apply_chat_template([user], add_generation_prompt=True, tokenize=False, **options)
    if prompt.endswith("<|start|>assistant"):  # gpt-oss leaves the channel to the model
        prompt += FINAL_CHANNEL
    if not prompt.endswith("<|start|>assistant" + FINAL_CHANNEL):
        raise ModelError(
            f"the chat template isn't Harmony: its prompt ends in {prompt[-40:]!r}; use a gpt-oss tokenizer"
        )
    return encode(tokenizer, prompt)


def render_chat(
    request: str, answer: str, tokenizer: Tokenizer, *, day: date | None = None, document: str = ""
) -> TrainSample:
    """Render a user's message and the answer to it.

    Raises:
        ModelError: the tokenizer lacks a gpt-oss token, or its chat template is not Harmony.
    """
    ids = render_prompt(request, tokenizer, day=day)
    counted = [*encode(tokenizer, answer), find_token_id(tokenizer, RETURN)]
    return TrainSample((*ids, *counted), (IGNORED_LABEL,) * len(ids) + tuple(counted), document)


def draw_day(rng: random.Random) -> date:
    """Draw the day of a sample: no day is learned, and a training that goes on tomorrow has the same samples."""
    return _FIRST_DAY + timedelta(days=rng.randrange(_DAYS))


def check_frame(tokenizer: Tokenizer, *, sequence_length: int) -> None:
    """Refuse windows that the frame of a chat would half fill.

    Raises:
        ConfigError: data.sequence_length leaves too little room.
        ModelError: as `render_chat`.
    """
    frame = max(_count_frame(tokenizer, instruction) for instruction in CONTINUE_INSTRUCTIONS)
    if 2 * frame > sequence_length:
        raise ConfigError(
            f"data.sequence_length is {sequence_length}, too short for Harmony samples: their frame takes "
            f"{frame} tokens; set it to at least {2 * frame}, or data.continue_share, data.brief_share and "
            "data.rewrite_share to 0"
        )


def build_continuation(
    window: TrainSample, tokenizer: Tokenizer, *, sequence_length: int, rng: random.Random
) -> TrainSample:
    """Turn one window into a continuation that fits; a window with no blank to cut at stays as it is.

    It is cut near a random third to two thirds, at a blank, and ends with a sentence where there is one.

    Raises:
        ModelError: as `render_chat`.
    """
    instruction = rng.choice(CONTINUE_INSTRUCTIONS)
    share = rng.uniform(1 / 3, 2 / 3)
    day = draw_day(rng)
    end = find_token_id(tokenizer, END)
    text = decode(tokenizer, [token for token in window.input_ids[1:] if token != end])
    blank = re.search(r"\s", text[round(len(text) * share) :])
    cut = round(len(text) * share) + blank.start() if blank else 0
    passage, rest = text[:cut].strip(), text[cut:].strip()
    room = sequence_length - _count_frame(tokenizer, instruction)
    while passage and rest and room > 0:
        passage, rest = _trim_to(room, passage, rest, tokenizer)
        sample = render_chat(f"{instruction}\n\n{passage}", rest, tokenizer, day=day)
        excess = len(sample.input_ids) - sequence_length
        if excess <= 0:
            return replace(sample, document=window.document)
        room -= excess  # a text cut elsewhere can take a token or two more
    return window


def _trim_to(room: int, passage: str, rest: str, tokenizer: Tokenizer) -> tuple[str, str]:
    """Shorten the passage at its start and the rest at its end, to a sentence's end where there is one."""
    rest_ids = encode(tokenizer, rest)
    if len(rest_ids) > room * 3 // 4:
        rest = decode(tokenizer, rest_ids[: room * 3 // 4])
    ends = [match.end() for match in _SENTENCE_END.finditer(rest)]
    rest = rest[: ends[-1]] if ends else rest
    left = room - len(encode(tokenizer, rest))
    passage_ids = encode(tokenizer, passage)
    if len(passage_ids) > left:
        passage = decode(tokenizer, passage_ids[len(passage_ids) - left :])
        passage = passage.partition(" ")[2] or passage  # the first word may be half a word
    return passage, rest


def _count_frame(tokenizer: Tokenizer, instruction: str) -> int:
    """Return how many tokens a continuation takes beside its two texts."""
    return len(render_chat(f"{instruction}\n\n", "", tokenizer, day=_FIRST_DAY).input_ids)
