"""Which part of the training text becomes which kind of sample: `text`, `continue`, `brief`, `rewrite`.

Pure functions. Each word of the text is in one sample a pass: what becomes the answer to a brief is not in a window
of text as well, because a text that is seen twice is remembered rather than learned from.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ghostpen.config import DataConfig
from ghostpen.data.chats import build_continuation, check_frame, draw_day, render_chat
from ghostpen.data.instructions import BRIEF_INSTRUCTIONS, REWRITE_INSTRUCTIONS
from ghostpen.data.pairs import Pair, PairKind, Pairs, render_verb
from ghostpen.data.passages import Passage, take_out
from ghostpen.data.samples import TrainSample, render_text_windows
from ghostpen.data.sections import Section
from ghostpen.data.tokens import Tokenizer
from ghostpen.errors import ConfigError

LEAST_OF_SHARE = 0.9  # of a wanted share must be there; briefs that quote or are too long cost a little of it


@dataclass(frozen=True)
class MixedSamples:
    """The samples of a training, how many of each kind, and the words in pairs that no window has room for."""

    samples: list[TrainSample]
    kinds: dict[str, int]
    too_long: int

    def describe(self) -> str:
        """Say it in a line."""
        listed = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.items() if count)
        return listed + (f"; {self.too_long:,} pairs too long for data.sequence_length" if self.too_long else "")


def build_train_samples(
    sections: Sequence[Section],
    tokenizer: Tokenizer,
    *,
    settings: DataConfig,
    pairs: Sequence[Pairs] = (),
    seed: int,
) -> MixedSamples:
    """Render a training text as the shares in `settings` want it; what is in no other share is plain text.

    No sample is longer than data.sequence_length. Windows and continuations come in the order of the sections, pairs
    after them.

    Args:
        sections: of one split, in reading order. pairs: one for each kind of pair whose share is above 0.

    Raises:
        ConfigError: data.sequence_length is too short for chats, or there are fewer pairs than a share wants.
        ModelError: the tokenizer is none of a gpt-oss.
    """
    length = settings.sequence_length
    if settings.chat_share > 0:
        check_frame(tokenizer, sequence_length=length)
    total = sum(len(section.text.split()) for section in sections)
    taken: list[Passage] = []
    answers: list[TrainSample] = []
    kinds: Counter[str] = Counter({"text": 0, "continue": 0, "brief": 0, "rewrite": 0})
    too_long = 0
    for source in pairs:
        share = settings.brief_share if source.kind == "brief" else settings.rewrite_share
        drawn = _draw_pairs(source, sections, tokenizer, length=length, words=share * total, seed=seed, taken=taken)
        _check_share(drawn, words=share * total, total=total, share=share, source=source)
        answers += drawn.samples
        kinds[source.kind] = len(drawn.samples)
        too_long += drawn.too_long
    windows = render_text_windows(take_out(sections, taken) if taken else sections, tokenizer, sequence_length=length)
    rest = 1 - settings.brief_share - settings.rewrite_share
    share = settings.continue_share / rest if rest > 0 else 0.0
    rng = random.Random(seed)
    samples = []
    for window in windows:
        wanted = share > 0 and rng.random() < share
        sample = build_continuation(window, tokenizer, sequence_length=length, rng=rng) if wanted else window
        kinds["text" if sample is window else "continue"] += 1
        samples.append(sample)
    return MixedSamples(samples + answers, dict(kinds), too_long)


@dataclass(frozen=True)
class _Drawn:
    samples: list[TrainSample]
    words: int
    largest: int  # words of the largest passage
    too_long: int
    overlapping: int


def _draw_pairs(
    source: Pairs,
    sections: Sequence[Section],
    tokenizer: Tokenizer,
    *,
    length: int,
    words: float,
    seed: int,
    taken: list[Passage],
) -> _Drawn:
    """Draw pairs until their passages have so many words, and add these to `taken`."""
    rng = random.Random(f"{seed} {source.kind}")  # seeded with a text: hashed the same way on every machine
    samples: list[TrainSample] = []
    drawn = largest = too_long = overlapping = 0
    for pair in rng.sample(source.pairs, len(source.pairs)):
        sample = _render_pair(pair, source.kind, sections, tokenizer, rng=rng)
        size = len(pair.passage.read(sections).split())
        if drawn and drawn + size / 2 > words:
            continue
        if len(sample.input_ids) > length:
            too_long += 1
        elif any(_overlap(pair.passage, other) for other in taken):
            overlapping += 1
        else:
            taken.append(pair.passage)
            samples.append(sample)
            drawn += size
            largest = max(largest, size)
    return _Drawn(samples, drawn, largest, too_long, overlapping)


def _render_pair(
    pair: Pair, kind: PairKind, sections: Sequence[Section], tokenizer: Tokenizer, *, rng: random.Random
) -> TrainSample:
    passage = pair.passage.read(sections)
    if kind == "brief":
        words = max(10, round(len(passage.split()), -1))  # a round number, as a person would ask for
        request = rng.choice(BRIEF_INSTRUCTIONS).format(brief=pair.request, words=words)
    else:
        request = rng.choice(REWRITE_INSTRUCTIONS).format(neutral=pair.request)
    document = sections[pair.passage.section_index].document
    return render_chat(request, passage, tokenizer, day=draw_day(rng), document=document)


def _overlap(one: Passage, other: Passage) -> bool:
    return one.section_index == other.section_index and one.start < other.end and other.start < one.end


def _check_share(drawn: _Drawn, *, words: float, total: int, share: float, source: Pairs) -> None:
    missing = words - drawn.words
    if missing <= max((1 - LEAST_OF_SHARE) * words, drawn.largest):  # a passage more may be one too many
        return
    reasons = []
    if drawn.too_long:
        reasons.append(f"{drawn.too_long:,} pairs are too long for data.sequence_length")
    if drawn.overlapping:
        reasons.append(f"{drawn.overlapping:,} are of passages that others have")
    left_out = f" ({', '.join(reasons)})" if reasons else ""
    setting = f"data.{source.kind}_share"
    raise ConfigError(
        f"{setting} is {share:g}, and {source.path} covers {drawn.words / total:.2f} of the training text{left_out}; "
        f"make more with `{render_verb(source.path.parent, source.kind, share=share)}`, or lower {setting}"
    )
