"""What the models are to write for a test: held-out passages to be continued, and openings on new topics.

Pure functions over texts; the same texts and settings give the same tasks. Must not know models.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from ghostpen.config import EvalConfig
from ghostpen.data.sections import Section
from ghostpen.evaluation.pieces import spread
from ghostpen.evaluation.written import WrittenKind

PREFIX_WORDS = 50  # about 64 tokens of gpt-oss
PREFIX_SHARE = 4  # of a passage that is shorter than wanted, a quarter is given
LEAST_WORDS = 40  # of a passage: 10 are given, 30 are to be written
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Task:
    """A text to be written by every model. The fields are those of `Written`; words is where it is cut."""

    kind: WrittenKind
    prompt: str
    words: int
    real: str | None
    document: str | None
    section: int | None
    seed: int
    temperature: float


@dataclass(frozen=True)
class _Passage:
    prompt: str
    real: str
    section: Section


def plan_tasks(test: Sequence[Section], *, settings: EvalConfig) -> list[Task]:
    """Plan what is written: continuations, spread evenly over the test text, then openings.

    Every text has a seed of its own, and the temperatures are dealt out in turn.

    Args:
        test: the author's held-out sections. settings: how many, how long, how warm.
    """
    passages = list(_find_passages(test, words=settings.written_words))
    chosen = spread(passages, settings.continuations)
    openings = spread(load_openings(), settings.topics)
    wanted: list[tuple[WrittenKind, str, str | None, Section | None]] = [
        *(("continuation", one.prompt, one.real, one.section) for one in chosen),
        *(("topic", opening, None, None) for opening in openings),
    ]
    return [
        Task(
            kind=kind,
            prompt=prompt,
            words=settings.written_words if real is None else len(real.split()),
            real=real,
            document=section.document if section else None,
            section=section.section if section else None,
            seed=seed,
            temperature=settings.temperatures[seed % len(settings.temperatures)],
        )
        for seed, (kind, prompt, real, section) in enumerate(wanted)
    ]


def load_openings() -> list[str]:
    """Load the openings on new topics that come with ghostpen."""
    text = (files("ghostpen") / "assets/openings.txt").read_text(encoding="utf-8")
    return text.splitlines()


def _find_passages(sections: Sequence[Section], *, words: int) -> Iterator[_Passage]:
    """Find passages that begin with a paragraph and don't overlap; a section without one is one, if not too short.

    Where a section is a single paragraph, they begin anywhere.
    """
    size = PREFIX_WORDS + words
    for section in sections:
        spans = [match.span() for match in _WORD.finditer(section.text)]
        paragraphs = [
            number
            for number, (start, _) in enumerate(spans)
            if number == 0 or "\n\n" in section.text[spans[number - 1][1] : start]
        ]
        free = 0
        for start in paragraphs if len(paragraphs) > 1 else range(len(spans)):
            if start >= free and start + size <= len(spans):
                yield _cut(section, spans[start : start + size], given=PREFIX_WORDS)
                free = start + size
        if not free and len(spans) >= LEAST_WORDS:
            yield _cut(section, spans[:size], given=min(PREFIX_WORDS, len(spans) // PREFIX_SHARE))


def _cut(section: Section, spans: Sequence[tuple[int, int]], *, given: int) -> _Passage:
    """Cut words out of a section; the blank between the two parts is the second's."""
    start, cut, end = spans[0][0], spans[given - 1][1], spans[-1][1]
    return _Passage(section.text[start:cut], section.text[cut:end], section)
