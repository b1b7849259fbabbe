"""From sections to token ids: windows to train on, Harmony continuations, windows to measure on.

Pure functions; the tokenizer is an argument. Labels follow transformers' convention: `labels[i]` is
`input_ids[i]` where that token counts and IGNORED_LABEL where it doesn't; the shift by one is the loss's work.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ghostpen.data.instructions import CONTINUE_INSTRUCTIONS
from ghostpen.data.sections import Section
from ghostpen.errors import ConfigError, ModelError

IGNORED_LABEL = -100
START, END, RETURN = "<|startoftext|>", "<|endoftext|>", "<|return|>"
FINAL_CHANNEL = "<|channel|>final<|message|>"
MIN_WINDOW_TOKENS = 16

_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s|$)")


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer, whose documentation says more."""

    unk_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool, verbose: bool) -> list[int]:
        """Return the ids of a text."""

    def decode(self, token_ids: Sequence[int], *, clean_up_tokenization_spaces: bool) -> str:
        """Return the text of ids."""

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """Return the id of one token."""

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """Return a conversation as one text."""


@dataclass(frozen=True)
class TrainSample:
    """Token ids and labels of equal length, and the document they come from."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    document: str


@dataclass(frozen=True)
class EvalWindow:
    """Token ids and labels of equal length, and the place of the section in the list that was rendered."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    section_index: int


def render_text_windows(
    sections: Sequence[Section], tokenizer: Tokenizer, *, sequence_length: int
) -> list[TrainSample]:
    """Cut documents into windows of plain text that begin with <|startoftext|>.

    A window never holds two documents, nor two sections between which some were dropped. The token that
    ends a document counts, so that a model learns to end. A last window of fewer than 16 tokens is left out.

    Args:
        sections: in reading order, each document's together.
        tokenizer: a gpt-oss tokenizer.
        sequence_length: tokens in a full window, <|startoftext|> included.

    Raises:
        ModelError: the tokenizer lacks a gpt-oss token.
    """
    start, end = _token_id(tokenizer, START), _token_id(tokenizer, END)
    samples: list[TrainSample] = []
    for passage in _join_passages(sections):
        ids = _encode(tokenizer, "\n\n".join(section.text for section in passage))
        if passage[-1].ends_document:
            ids = [*ids, end]
        for offset in range(0, len(ids), sequence_length - 1):
            body = ids[offset : offset + sequence_length - 1]
            if len(body) + 1 >= MIN_WINDOW_TOKENS:
                samples.append(TrainSample((start, *body), (IGNORED_LABEL, *body), passage[0].document))
    return samples


def render_continuation(passage: str, rest: str, tokenizer: Tokenizer, *, instruction: str) -> TrainSample:
    """Render "instruction, passage" as a user's message and the rest as the final answer, in Harmony.

    Equal, token by token, to the tokenizer's chat template over both messages. Only the rest and the closing
    <|return|> count. gpt-oss's own template puts today's date into the prompt, so the ids that don't count
    differ from day to day.

    Raises:
        ModelError: the tokenizer lacks a gpt-oss token, or its chat template is not Harmony.
    """
    user = {"role": "user", "content": f"{instruction}\n\n{passage}"}
    prompt = tokenizer.apply_chat_template([user], add_generation_prompt=True, tokenize=False)
    if prompt.endswith("<|start|>assistant"):  # gpt-oss leaves the channel to the model
        prompt += FINAL_CHANNEL
    if not prompt.endswith("<|start|>assistant" + FINAL_CHANNEL):
        raise ModelError(
            f"the chat template isn't Harmony: its prompt ends in {prompt[-40:]!r}; use a gpt-oss tokenizer"
        )
    ids = _encode(tokenizer, prompt)
    answer = [*_encode(tokenizer, rest), _token_id(tokenizer, RETURN)]
    return TrainSample((*ids, *answer), (IGNORED_LABEL,) * len(ids) + tuple(answer), document="")


def build_train_samples(
    sections: Sequence[Section],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    harmony_share: float,
    seed: int,
) -> list[TrainSample]:
    """Render every window as plain text or, with probability `harmony_share`, as a continuation.

    The order is that of the sections. A continuation is cut out of its window near a random third to two
    thirds, at a blank, and ends with a sentence where there is one. It is never longer than a window.

    Raises:
        ConfigError: data.sequence_length leaves too little room beside the Harmony frame.
        ModelError: as `render_text_windows` and `render_continuation`.
    """
    windows = render_text_windows(sections, tokenizer, sequence_length=sequence_length)
    if harmony_share == 0:
        return windows
    frame = max(_count_frame(tokenizer, instruction) for instruction in CONTINUE_INSTRUCTIONS)
    if 2 * frame > sequence_length:
        raise ConfigError(
            f"data.sequence_length is {sequence_length}, too short for Harmony samples: their frame takes "
            f"{frame} tokens; set it to at least {2 * frame}, or data.harmony_share to 0"
        )
    rng = random.Random(seed)
    return [
        _build_continuation(window, tokenizer, sequence_length, rng) if rng.random() < harmony_share else window
        for window in windows
    ]


def render_eval_windows(
    sections: Sequence[Section], tokenizer: Tokenizer, *, window: int, stride: int
) -> list[EvalWindow]:
    """Slide over each section so that every token of its text counts exactly once.

    Each section starts afresh with <|startoftext|>. After a section's first window, every counted token has
    at least `window - stride` tokens before it. No end token counts: it is not among the section's bytes.

    Args:
        sections: each is measured by itself.
        tokenizer: a gpt-oss tokenizer.
        window: tokens in a full window, <|startoftext|> included; at least 2.
        stride: tokens that each further window counts; from 1 to window.

    Raises:
        ModelError: the tokenizer lacks a gpt-oss token.
        ValueError: window or stride is out of range.
    """
    if window < 2 or not 1 <= stride <= window:
        raise ValueError(f"window must be at least 2 and stride within 1..window, not {window} and {stride}")
    start = _token_id(tokenizer, START)
    size = window - 1
    windows: list[EvalWindow] = []
    for index, section in enumerate(sections):
        ids = _encode(tokenizer, section.text)
        counted = 0
        while counted < len(ids):
            end = min(counted + (min(stride, size) if counted else size), len(ids))
            begin = max(0, end - size)
            labels = (IGNORED_LABEL,) * (1 + counted - begin) + tuple(ids[counted:end])
            windows.append(EvalWindow((start, *ids[begin:end]), labels, index))
            counted = end
    return windows


def _join_passages(sections: Sequence[Section]) -> Iterator[list[Section]]:
    """Yield runs of sections that follow each other in one document."""
    run: list[Section] = []
    for section in sections:
        expected = (run[-1].author, run[-1].document, run[-1].section + 1) if run else None
        if run and expected != (section.author, section.document, section.section):
            yield run
            run = []
        run.append(section)
    if run:
        yield run


def _build_continuation(
    window: TrainSample, tokenizer: Tokenizer, sequence_length: int, rng: random.Random
) -> TrainSample:
    """Turn one window into a continuation that fits; a window with no blank to cut at stays as it is."""
    instruction = rng.choice(CONTINUE_INSTRUCTIONS)
    share = rng.uniform(1 / 3, 2 / 3)
    end = _token_id(tokenizer, END)
    text = _decode(tokenizer, [token for token in window.input_ids[1:] if token != end])
    blank = re.search(r"\s", text[round(len(text) * share) :])
    cut = round(len(text) * share) + blank.start() if blank else 0
    passage, rest = text[:cut].strip(), text[cut:].strip()
    room = sequence_length - _count_frame(tokenizer, instruction)
    while passage and rest and room > 0:
        passage, rest = _trim_to(room, passage, rest, tokenizer)
        sample = render_continuation(passage, rest, tokenizer, instruction=instruction)
        excess = len(sample.input_ids) - sequence_length
        if excess <= 0:
            return replace(sample, document=window.document)
        room -= excess  # a text cut elsewhere can take a token or two more
    return window


def _trim_to(room: int, passage: str, rest: str, tokenizer: Tokenizer) -> tuple[str, str]:
    """Shorten the passage at its start and the rest at its end, to a sentence's end where there is one."""
    rest_ids = _encode(tokenizer, rest)
    if len(rest_ids) > room * 3 // 4:
        rest = _decode(tokenizer, rest_ids[: room * 3 // 4])
    ends = [match.end() for match in _SENTENCE_END.finditer(rest)]
    rest = rest[: ends[-1]] if ends else rest
    left = room - len(_encode(tokenizer, rest))
    passage_ids = _encode(tokenizer, passage)
    if len(passage_ids) > left:
        passage = _decode(tokenizer, passage_ids[len(passage_ids) - left :])
        passage = passage.partition(" ")[2] or passage  # the first word may be half a word
    return passage, rest


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    # Not verbose: a whole document is longer than a model reads, and a warning would only worry people.
    return tokenizer.encode(text, add_special_tokens=False, verbose=False)


def _decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of ids, without the broken halves of characters that were cut in two at its ends."""
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False).strip("\ufffd \n")


def _count_frame(tokenizer: Tokenizer, instruction: str) -> int:
    """Return how many tokens a continuation takes beside its two texts."""
    return len(render_continuation("", "", tokenizer, instruction=instruction).input_ids)


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or found == tokenizer.unk_token_id:
        raise ModelError(f"the tokenizer has no token {token}; use a gpt-oss tokenizer")
    return found
