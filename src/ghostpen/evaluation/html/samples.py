"""Which written texts the page shows, and where: what the blind test asks about is not shown beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostpen.evaluation.pieces import cut_text, spread
from ghostpen.evaluation.written import Written
from ghostpen.training.samples_file import read_continuations

MOST_SHOWN = 6
MOST_WORDS = 160
LABEL_WORDS = 7
MOST_ASKED = 12  # of which some may be too short to be asked about

Place = tuple[str, str, str | None, int | None]


@dataclass(frozen=True)
class Comparison:
    """One prompt, and how base model, adapter and author went on; None where there is no such text."""

    label: str
    prompt: str
    base: str | None
    author: str | None
    real: str | None


def choose_pairs(written: Sequence[Written]) -> list[Written]:
    """Choose what the blind test asks about, one continuation a place; half of them where there are few.

    Args:
        written: by the adapter.
    """
    by_place: dict[Place, Written] = {}
    for text in written:
        if text.kind == "continuation" and text.real is not None:
            by_place.setdefault(_find_place(text), text)
    every = list(by_place.values())
    return spread(every, min(MOST_ASKED, (len(every) + 1) // 2))


def choose_comparisons(written: Sequence[Written], *, hidden: Sequence[Written] = ()) -> list[Comparison]:
    """Choose what stands side by side: continuations and texts on new topics, spread over all there are.

    Args:
        hidden: what the blind test asks about; shown only where there is nothing else.
    """
    asked = set(map(_find_place, hidden))
    found: dict[Place, dict[str, Written]] = {}
    for text in written:
        found.setdefault(_find_place(text), {}).setdefault(text.model, text)
    places = [place for place in found if place not in asked] or list(found)
    by_kind = [[key for key in places if key[0] == kind] for kind in ("continuation", "topic")]
    most = MOST_SHOWN // sum(map(bool, by_kind)) if places else 0
    return [_compare(found[key]) for keys in by_kind for key in spread(keys, most)]


def read_comparisons(folder: Path) -> list[Comparison]:
    """Read the samples that a training wrote before and after; none where there are none that can be read."""
    found = {name: dict(read_continuations(folder / f"{name}.txt")) for name in ("before", "after")}
    return [
        Comparison(f"Passage {number}", prompt, found["before"].get(prompt), found["after"].get(prompt), None)
        for number, prompt in enumerate(dict.fromkeys([*found["before"], *found["after"]]), start=1)
    ]


def _find_place(text: Written) -> Place:
    return (text.kind, text.prompt, text.document, text.section)


def _shorten(text: str, words: int = MOST_WORDS) -> str:
    short = cut_text(text, words=words)
    return short if len(short.split()) == len(text.split()) else f"{short} \N{HORIZONTAL ELLIPSIS}"


def _compare(texts: dict[str, Written]) -> Comparison:
    first = next(iter(texts.values()))
    base, author = texts.get("base"), texts.get("author")
    place = f"{first.document}, section {first.section}"
    label = f"New topic: {_shorten(first.prompt, LABEL_WORDS)}" if first.kind == "topic" else place
    return Comparison(
        label=label,
        prompt=first.prompt,
        base=_shorten(base.text) if base else None,
        author=_shorten(author.text) if author else None,
        real=None if first.real is None else _shorten(first.real),
    )
