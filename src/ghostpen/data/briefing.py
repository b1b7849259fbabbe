"""`ghostpen brief`: the base model itself writes the other half of `brief` and `rewrite` samples.

From each passage of the training text a neutral brief (instruction back-translation), or a neutral version of it.
Lines are added one by one, in an order that the seed decides, and each is on the disk before the next begins: a file
that was broken off is a shorter file, and the same command goes on to what an undisturbed run writes.
"""

import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ghostpen.config import ModelConfig
from ghostpen.data.instructions import ASK_BRIEF, ASK_NEUTRAL
from ghostpen.data.manifest import check_unchanged, load_manifest
from ghostpen.data.pairs import PAIR_FILES, QUOTED_WORDS, PairKind, Row, parse_rows, quotes
from ghostpen.data.passages import Passage, plan_passages
from ghostpen.data.sections import Section, load_sections
from ghostpen.errors import DataError, Interrupted

BRIEF_WORDS = 60
COPIED_WORDS = 13  # in a row, which make a neutral version no version: the overlap rule of deduplication.py
TEMPERATURE, TOP_P = 0.7, 0.95
PROMPT_TOKENS_PER_WORD, FRAME_TOKENS = 5, 512  # a passage and its plain version, and what is around them
_LEAST_WORDS = 3
_SENTENCES = re.compile(r".*[.!?…][\"'”’)\]]*(?=\s|\Z)", re.DOTALL)


class Writer(Protocol):
    """What answers a request: the base model, see `make_writer`."""

    def __call__(self, request: str, *, max_words: int, seed: int) -> str:
        """Return the answer; the same request and seed give the same one."""


@dataclass(frozen=True)
class Briefed:
    """What a file of pairs holds now: lines, how many of them are new, the share of the text, what was left out."""

    path: Path
    lines: int
    new: int
    share: float
    left_out: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Say it in a line."""
        rules = "".join(f", {count:,} left out ({rule})" for rule, count in sorted(self.left_out.items()))
        return f"{self.path}: {self.lines:,} lines, {self.new:,} of them new{rules}; {self.share:.2f} of the text"


def write_pairs(
    folder: Path,
    kind: PairKind,
    split: str,
    sections: Sequence[Section],
    *,
    write: Writer,
    base: str,
    share: float,
    max_words: int,
    seed: int,
    on_progress: Callable[[float], None] = lambda done: None,
) -> Briefed:
    """Add pairs to a split's file until their passages make up `share` of its words, or there are no more.

    Args:
        folder: prepared data; the file is put there. sections: of the split.
        write: the base model. base: its name, for the lines.
        share: of the words. max_words: in a passage. on_progress: is told the share of the work that is done.

    Raises:
        DataError: the file holds lines that this would not write.
        Interrupted: Ctrl-C; what was written stays.
    """
    path = folder / PAIR_FILES[kind, split]
    passages = plan_passages(sections, max_words=max_words, seed=seed)
    if kind == "rewrite":
        passages.reverse()  # from the other end, so that briefs and rewrites of one seed meet in no passage
    total = sum(len(section.text.split()) for section in sections)
    made = _read_made(path, passages, sections, base=base, seed=seed)
    words = sum(len(passages[place].read(sections).split()) for place in made)
    following = made[-1] + 1 if made else 0
    left_out: Counter[str] = Counter()
    new = 0
    try:
        with path.open("ab") as file:
            for place in range(following, len(passages)):
                on_progress(min(1.0, words / (share * total)))
                if words >= share * total:
                    break
                text = passages[place].read(sections)
                request, problem = _ask(kind, text, write=write, seed=seed, place=place)
                if problem:
                    left_out[problem] += 1
                    continue
                section = sections[passages[place].section_index]
                row = {
                    "prompt": request,
                    "completion": text,
                    "document": section.document,
                    "section": section.section,
                    "base": base,
                    "seed": seed,
                }
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                words += len(text.split())
                new += 1
    except KeyboardInterrupt as error:
        raise Interrupted(f"{path} has {len(made) + new:,} lines; the same command goes on from there") from error
    on_progress(1.0)
    return Briefed(path, len(made) + new, new, words / total if total else 0.0, left_out)


def brief_data(
    folder: Path,
    *,
    model: ModelConfig,
    kind: PairKind,
    share: float,
    max_words: int,
    seed: int,
    show_progress: Callable[[str], Callable[[int, int], None]],
) -> Iterator[Briefed]:
    """Load the base model and write the pairs of the author's training text, then of other authors' where it is.

    The control learns from the others', in the same mix. Each file is given as it is done.

    Raises:
        DataError: no prepared data, or a file holds lines that this would not write.
        ModelError: the base model can't be loaded.
        Interrupted: Ctrl-C; what was written stays.
    """
    check_unchanged(load_manifest(folder), folder)
    splits = [split for split in ("train", "contrast_train") if (folder / f"{split}.jsonl").is_file()]
    texts = {split: load_sections(folder, split) for split in splits}

    from ghostpen.model.loading import load_base

    loaded = load_base(model, max_length=PROMPT_TOKENS_PER_WORD * max_words + FRAME_TOKENS)
    # A folder's path is nobody's business where the data go.
    base = Path(model.name).name if Path(model.name).is_dir() else model.name
    for split, sections in texts.items():
        yield write_pairs(
            folder,
            kind,
            split,
            sections,
            write=make_writer(loaded.model, loaded.tokenizer),
            base=base,
            share=share,
            max_words=max_words,
            seed=seed,
            on_progress=_count_per_cent(show_progress(PAIR_FILES[kind, split])),
        )


def _count_per_cent(progress: Callable[[int, int], None]) -> Callable[[float], None]:
    return lambda share: progress(round(100 * share), 100)


def make_writer(model: Any, tokenizer: Any) -> Writer:
    """Make what asks a loaded base model, in a chat."""
    from ghostpen.data.chats import RELEASE_DAY, render_prompt
    from ghostpen.model.generation import generate_text

    def write(request: str, *, max_words: int, seed: int) -> str:
        ids = render_prompt(request, tokenizer, day=RELEASE_DAY)
        return generate_text(
            model, tokenizer, ids, max_words=max_words, temperature=TEMPERATURE, top_p=TOP_P, seed=seed
        )

    return write


def _ask(kind: PairKind, passage: str, *, write: Writer, seed: int, place: int) -> tuple[str, str | None]:
    """Return the brief or neutral version of a passage, and what is wrong with it if anything is."""
    own_seed = random.Random(f"{seed} {place}").randrange(2**31)  # so that none depends on how many came before
    if kind == "brief":
        answer = write(ASK_BRIEF.format(passage=passage), max_words=BRIEF_WORDS, seed=own_seed)
        text, limit = " ".join(answer.split()), QUOTED_WORDS
    else:
        max_words = len(passage.split()) * 13 // 10 + 20
        answer = write(ASK_NEUTRAL.format(passage=passage), max_words=max_words, seed=own_seed)
        text, limit = answer.strip(), COPIED_WORDS
    if whole := _SENTENCES.match(text):  # it may have been cut off
        text = whole[0]
    if len(text.split()) < _LEAST_WORDS:
        return text, "empty"
    return text, "quotes the passage" if quotes(text, passage, words=limit) else None


def _read_made(
    path: Path, passages: Sequence[Passage], sections: Sequence[Section], *, base: str, seed: int
) -> list[int]:
    """Return the places of the passages that the file has lines of; a line that was broken off is taken away."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    made: list[int] = []
    for row in parse_rows(whole, path):
        place = made[-1] + 1 if made else 0
        if (row.origin.get("base"), row.origin.get("seed")) == (base, seed):
            while place < len(passages) and not _is_of(row, passages[place], sections):
                place += 1
        else:
            place = len(passages)
        if place == len(passages):
            raise DataError(
                f"{path}:{row.line}: is no line of this command with base {base}, seed {seed}, these texts and this "
                "--words; give the same ones, or move the file away to begin anew"
            )
        made.append(place)
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return made


def _is_of(row: Row, passage: Passage, sections: Sequence[Section]) -> bool:
    section = sections[passage.section_index]
    place = (row.origin.get("document"), row.origin.get("section"))
    return place == (section.document, section.section) and row.completion == passage.read(sections)
