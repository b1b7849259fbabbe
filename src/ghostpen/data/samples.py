"""From sections to token ids: windows to train on, windows to measure on.

Pure functions; the tokenizer is an argument. Labels follow transformers' convention: `labels[i]` is
`input_ids[i]` where that token counts and IGNORED_LABEL where it doesn't; the shift by one is the loss's work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ghostpen.data.sections import Section
from ghostpen.data.tokens import END, START, Tokenizer, encode, find_token_id

IGNORED_LABEL = -100
MIN_WINDOW_TOKENS = 16


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
    start, end = find_token_id(tokenizer, START), find_token_id(tokenizer, END)
    samples: list[TrainSample] = []
    for passage in _join_passages(sections):
        ids = encode(tokenizer, "\n\n".join(section.text for section in passage))
        if passage[-1].ends_document:
            ids = [*ids, end]
        for offset in range(0, len(ids), sequence_length - 1):
            body = ids[offset : offset + sequence_length - 1]
            if len(body) + 1 >= MIN_WINDOW_TOKENS:
                samples.append(TrainSample((start, *body), (IGNORED_LABEL, *body), passage[0].document))
    return samples


def render_eval_windows(
    sections: Sequence[Section], tokenizer: Tokenizer, *, window: int, stride: int, prompt: Sequence[int] = ()
) -> list[EvalWindow]:
    """Slide over each section so that every token of its text counts exactly once.

    Each section starts afresh with <|startoftext|>. After a section's first window, every counted token has
    at least `window - stride` tokens before it. No end token counts: it is not among the section's bytes.

    Args:
        sections: each is measured by itself.
        tokenizer: a gpt-oss tokenizer.
        window: tokens in a full window, <|startoftext|> included; at least 2.
        stride: tokens that each further window counts; from 1 to window.
        prompt: tokens that stand at the head of every window, in place of <|startoftext|>; they don't count.

    Raises:
        ModelError: the tokenizer lacks a gpt-oss token.
        ValueError: window or stride is out of range, or the prompt leaves no room for text.
    """
    if window < 2 or not 1 <= stride <= window:
        raise ValueError(f"window must be at least 2 and stride within 1..window, not {window} and {stride}")
    head = tuple(prompt) or (find_token_id(tokenizer, START),)
    size = window - len(head)
    if size < 1:
        raise ValueError(f"a prompt of {len(head)} tokens leaves no room in a window of {window}")
    windows: list[EvalWindow] = []
    for index, section in enumerate(sections):
        ids = encode(tokenizer, section.text)
        counted = 0
        while counted < len(ids):
            end = min(counted + (min(stride, size) if counted else size), len(ids))
            begin = max(0, end - size)
            labels = (IGNORED_LABEL,) * (len(head) + counted - begin) + tuple(ids[counted:end])
            windows.append(EvalWindow((*head, *ids[begin:end]), labels, index))
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
