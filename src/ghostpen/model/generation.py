"""Write on with a loaded model, one text or many at once: padding, stopping, and cutting at a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ghostpen.errors import DataError
from ghostpen.model.device import find_device

if TYPE_CHECKING:
    import torch

# Tokens for a word of English, generously: gpt-oss's tokenizer needs 1.2, the embedded one 1.6.
TOKENS_PER_WORD = 2
HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer gives for bytes that are no whole character
CHECK_EVERY = 8  # tokens between two counts of the words: to count costs as much as a small model's token


@dataclass(frozen=True)
class Beginning:
    """What a text is to be written on from, and how.

    Args:
        ids: a prompt in the form that the model was trained in.
        max_words: where the text is cut. temperature: 0 takes the likeliest token each time. seed: of the drawing.
    """

    ids: tuple[int, ...]
    max_words: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class Generated:
    """What was written, without the prompt, and whether the model ended it itself, before the words were up."""

    text: str
    ended: bool


def encode_beginning(tokenizer: Any, prompt: str) -> tuple[int, ...]:
    """Return the ids of running text that is to be continued, as in `text` samples: no chat around it.

    Raises:
        DataError: the prompt is empty.
    """
    if not prompt.strip():
        raise DataError("the prompt is empty: write the beginning of a text, to be continued")
    start = tokenizer.convert_tokens_to_ids("<|startoftext|>")
    return (start, *tokenizer.encode(prompt, add_special_tokens=False, verbose=False))


def generate_text(
    model: Any,
    tokenizer: Any,
    ids: Sequence[int],
    *,
    max_words: int,
    temperature: float,
    top_p: float,
    seed: int,
    min_p: float = 0.0,
    on_text: Callable[[str], None] | None = None,
) -> str:
    """Write on from tokens, to the model's own end or to `max_words`; return what was written.

    Args:
        ids, max_words, temperature, seed: as in `Beginning`. top_p, min_p: as `RowSampler` takes them.
        on_text: is given the text piece by piece as it is written; all pieces together are what is returned.
    """
    beginning = Beginning(tuple(ids), max_words, temperature, seed)
    stream = WordStream(tokenizer, max_words=max_words, show=on_text) if on_text else None
    [written] = generate_texts(model, tokenizer, [beginning], top_p=top_p, min_p=min_p, stream=stream)
    if stream:
        stream.finish(written.text)
    return written.text


def generate_texts(
    model: Any,
    tokenizer: Any,
    beginnings: Sequence[Beginning],
    *,
    top_p: float,
    min_p: float,
    stream: WordStream | None = None,
) -> list[Generated]:
    """Write many texts at once; what is written from a beginning does not depend on the others.

    (To the rounding of sums: a matrix product of eight rows is not to the last bit that of one.)
    """
    from ghostpen.model.sampling import RowSampler

    sampler = RowSampler(
        [one.temperature for one in beginnings],
        seeds=[one.seed for one in beginnings],
        top_p=top_p,
        min_p=min_p,
    )
    limits = [one.max_words * TOKENS_PER_WORD for one in beginnings]
    width = max(len(one.ids) for one in beginnings)
    enough = _stop_at_words(tokenizer, prompt_tokens=width, max_words=[one.max_words for one in beginnings])
    rows = _generate(
        model,
        tokenizer,
        [one.ids for one in beginnings],
        max_new_tokens=max(limits),
        logits_processor=[sampler],
        stopping_criteria=[enough],
        streamer=stream,
    )
    written = []
    for row, limit, one in zip(rows, limits, beginnings, strict=True):
        text = _decode(tokenizer, row.ids[:limit]).rstrip(HALF_CHARACTER)
        ended = row.ended and len(row.ids) < limit and len(text.split()) <= one.max_words
        written.append(Generated(cut_words(text, one.max_words), ended))
    return written


def generate_likeliest(
    model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], *, tokens: int
) -> list[tuple[int, ...]]:
    """Return for each row of ids the `tokens` that follow, the likeliest each time; fewer where the model ends."""
    return [row.ids for row in _generate(model, tokenizer, rows, max_new_tokens=tokens)]


@dataclass(frozen=True)
class _Row:
    ids: tuple[int, ...]  # up to the end mark, without it
    ended: bool


def _generate(model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], **options: Any) -> list[_Row]:
    """Have transformers write on from rows that are padded on the left, where the mask hides it."""
    import torch

    from ghostpen.model.held_experts import hold_experts

    device = find_device(model)
    stops = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|return|>", "<|end|>"])
    width = max(map(len, rows))
    input_ids = torch.tensor([[stops[0]] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    was_training = model.training
    model.eval()  # Unsloth's attention on a GPU reads no mask while training
    try:
        with torch.no_grad(), hold_experts(model):
            output = model.generate(
                input_ids=input_ids,
                attention_mask=mask,
                eos_token_id=stops,
                pad_token_id=stops[0],
                use_cache=True,
                do_sample=False,
                **options,
            )
    finally:
        model.train(was_training)
    return [_cut_at_end(ids, stops) for ids in output[:, width:].tolist()]


def _cut_at_end(ids: list[int], stops: Sequence[int]) -> _Row:
    end = next((place for place, token in enumerate(ids) if token in stops), None)
    return _Row(tuple(ids[:end]), end is not None)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def _stop_at_words(tokenizer: Any, *, prompt_tokens: int, max_words: Sequence[int]) -> Callable[..., torch.Tensor]:
    """Tell transformers to stop a row when a word too many has begun: the rest would be cut off."""
    import torch

    done = [False] * len(max_words)

    def is_enough(input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        tokens = input_ids.shape[1] - prompt_tokens
        for row, words in enumerate(max_words):
            limit = words * TOKENS_PER_WORD
            if not done[row] and tokens >= min(words, limit) and (tokens % CHECK_EVERY == 0 or tokens >= limit):
                written = _decode(tokenizer, input_ids[row, prompt_tokens:].tolist())
                done[row] = tokens >= limit or len(written.split()) > words
        return torch.tensor(done, device=input_ids.device)

    return is_enough


class WordStream:
    """Hand on what is written, word by word, as transformers' `generate` gives tokens of one text.

    A word is handed on when the next one begins, so that half of a character or a word too many is never shown.
    """

    def __init__(self, tokenizer: Any, *, max_words: int, show: Callable[[str], None]) -> None:
        """Set up; `show` is given each piece."""
        self._tokenizer, self._max_words, self._show = tokenizer, max_words, show
        self._ids: list[int] | None = None  # None until the prompt has come, which transformers sends first
        self._shown = 0

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, then each token."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.flatten().tolist()
        text = _decode(self._tokenizer, self._ids)
        blank = max((place for place, character in enumerate(text) if character.isspace()), default=0)
        self._show_to(cut_words(text[:blank], self._max_words))

    def end(self) -> None:
        """Do nothing: `finish` knows what the text is in the end."""

    def finish(self, text: str) -> None:
        """Hand on the rest of the whole text."""
        self._show_to(text)

    def _show_to(self, text: str) -> None:
        if len(text) > self._shown:
            self._show(text[self._shown :])
            self._shown = len(text)


def cut_words(text: str, max_words: int) -> str:
    """Keep the first `max_words` words, with the spaces and line breaks between them."""
    end, words, inside = 0, 0, False
    for position, character in enumerate(text):
        if character.isspace():
            inside = False
            continue
        if not inside:
            words += 1
            inside = True
            if words > max_words:
                return text[:end]
        end = position + 1
    return text[:end]
