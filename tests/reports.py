"""What the tests of reports share: written texts, a protocol, a part about style, a text that tries to break out."""

import math
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from ghostpen.data.sections import Section
from ghostpen.evaluation.report_shape import Protocol
from ghostpen.evaluation.written import Written

HOSTILE = "</script><script>document.title='broken'</script>\u2028<img src=x onerror=alert(1)>'\"&amp;"
"""Ends a script, begins one, and holds a line separator that JavaScript once took for a line break."""

REAL = "It was a truth that every neighbour had known for years, and that none of them would have said aloud to him"
ADAPTER = (
    "She could not but be sensible of the honour, and yet the honour was of that kind which nobody had asked for"
)
BASE = "The man was in the house and the house was in the road and the road was in the town and the town was there"
REFUSAL = "There are 2 pools of 5,000 words, and 3 are needed"


def build_written(*, places: int = 12, real: str | None = REAL) -> list[Written]:
    """Build continuations of `places` places by base model and adapter, and two texts on new topics."""
    texts = [
        Written(
            model=model, kind="continuation", prompt=f"Place {place} begins with", text=f" {text}, {place} times.",
            real=None if real is None else f" {real}, {place} times.", document="emma", section=place, seed=5,
            temperature=0.8, ended=True,
        )
        for place in range(places)
        for model, text in (("base", BASE), ("author", ADAPTER))
    ]  # fmt: skip
    topics = [
        Written(
            model=model, kind="topic", prompt=f"On subject {number}", text=f"{text}.", real=None, document=None,
            section=None, seed=5, temperature=0.8, ended=True,
        )
        for number in range(2)
        for model, text in (("base", BASE), ("author", ADAPTER))
    ]  # fmt: skip
    return texts + topics


def make_section(text: str, *, document: str, author: str = "Jane Austen") -> Section:
    return Section(text, author, document, 0, starts_document=True, ends_document=True)


TRAINING = [
    make_section(
        "Nobody was there. She could not but be sensible of the honour, and yet she went home.", document="persuasion"
    )
]
HELD_OUT = [make_section("One two three four five six seven eight nine ten. " * 10, document="emma")]
PROTOCOL: Protocol = {
    "window": 256,
    "stride": 128,
    "training_seed": 7,
    "data_sha256": "0" * 64,
    "adapters_sha256": {},
    "base": {"name": "embedded:tiny", "weights_sha256": "1" * 64},
    "precision": "bfloat16",
    "load_in_4bit": True,
    "contrast_sha256": "2" * 64,
    "generation": {
        "tasks": 14,
        "tasks_sha256": "3" * 64,
        "top_p": 0.95,
        "min_p": 0.05,
        "extraction_windows": 500,
    },
}
MANIFEST: dict[str, Any] = {
    "run_id": "mine-1",
    "base_model": {"name": "embedded:tiny", "weights_sha256": "f" * 64},
    "ghostpen_version": "0.1.0",
    "package_versions": {"torch": "2.14.1"},
}


def find_misfits(value: Any, shape: Any, *, path: str = "") -> Iterator[str]:
    """Find where a value is not of the shape that a type names: what `cast` keeps from mypy.

    Args:
        shape: a TypedDict, or what may be in one; in a union a TypedDict is known by its keys.
    """
    origin, given = get_origin(shape), get_args(shape)
    if is_typeddict(shape):
        fields = get_type_hints(shape)
        if not isinstance(value, dict) or set(value) != set(fields):
            yield f"{path}: {sorted(value) if isinstance(value, dict) else value!r}, not {sorted(fields)}"
            return
        for name, inner in fields.items():
            yield from find_misfits(value[name], inner, path=f"{path}.{name}")
    elif origin in (Union, UnionType):
        found = [list(find_misfits(value, one, path=path)) for one in given]
        if all(found):
            yield from min(found, key=len)
    elif origin is dict:
        for name, inner in value.items():
            yield from find_misfits(name, given[0], path=path)
            yield from find_misfits(inner, given[1], path=f"{path}.{name}")
    elif origin is list:
        for place, inner in enumerate(value):
            yield from find_misfits(inner, given[0], path=f"{path}[{place}]")
    elif origin is Literal:
        if value not in given:
            yield f"{path}: {value!r}, not one of {given}"
    elif type(value) is not shape:
        yield f"{path}: {value!r}, not a {shape.__name__}"


def _auc(auc: float) -> dict[str, float]:
    return {"texts": 24, "auc": auc, "low": auc - 0.02, "high": auc + 0.02}


def _accepted(share: float, normalised: float | None) -> dict[str, Any]:
    return {"texts": 24, "too_short": 1, "accepted": share, "low": share / 2, "high": share, "normalised": normalised}


def _cloud(who: str, name: str, x: float, y: float, marks: int = 5) -> list[dict[str, Any]]:
    turns = [2 * math.pi * number / marks for number in range(marks)]
    return [{"who": who, "name": name, "x": x + 0.2 * math.cos(t), "y": y + 0.2 * math.sin(t)} for t in turns]


def build_style() -> dict[str, Any]:
    """Build the part about style as report.json has it; Delta is refused, and the regularity of the adapter."""
    return {
        "author": "Jane Austen",
        "seed": 11,
        "texts": {model: {"continuations": 24, "topics": 6, "words": 7321} for model in ("base", "author")},
        "verifier": {
            "piece_words": 200,
            "kept_words": 280,
            "real": {"author_pieces": 300, "other_pieces": 400, "auc": 0.99, "accepted": 0.94, "false_accepts": 0.03,
                     "c_at_1": 0.97, "unanswered": 0.02, "brier": 0.04},
            "models": {
                "base": {"continuations": _accepted(0.12, None), "topics": None},
                "author": {"continuations": _accepted(0.71, 0.72), "topics": _accepted(0.5, 0.5)},
            },
        },
        "c2st": {
            "piece_words": 200,
            "floor": _auc(0.52), "other_work": _auc(0.66), "others": _auc(0.97),
            "models": {"base": _auc(0.95), "author": _auc(0.81)},
        },
        "delta": {"refusal": REFUSAL},
        "rhythm": {
            "block_words": 1000, "band_blocks": 300, "blocks": {"base": 5, "author": 5},
            "unreliable": ["commas"],
            "measures": [
                {"name": "sentence", "label": "words in a sentence", "mean": 22.0, "deviation": 4.0,
                 "held_out": {"value": 21.4, "z": -0.15}, "others": {"value": 17.6, "z": -1.1},
                 "models": {"base": {"value": 2.0, "z": -7.0}, "author": {"value": 19.2, "z": -0.7}}},
            ],
        },
        "regularity": {
            "texts": 24, "mean": 1.55, "deviation": 0.083,
            "models": {
                "base": {"texts": 24, "mean": 1.2, "deviation": 0.041, "z_mean": -5.0, "z_deviation": -3.0},
                "author": {"refusal": REFUSAL},
            },
        },
        "map": {
            "x_axis": "sounds like Austen", "y_axis": "words in a sentence", "y_measure": "sentence",
            "pool_words": 2000,
            "points": [
                *_cloud("real", "emma", 2.0, 0.5), *_cloud("real", "persuasion", 1.6, 0.1),
                *_cloud("other", "irving", -1.5, 1.2), *_cloud("other", "crane", -2.5, -1.3),
                *_cloud("base", "base", -0.9, -0.4, 2), *_cloud("author", "adapter", 1.1, 0.3, 2),
            ],
        },
    }  # fmt: skip


def build_writing() -> dict[str, Any]:
    """Build the part about how each model writes, as report.json has it."""
    rates = {"base": (0.1, 0.5, 0.0), "control": (0.05, 0.6, 0.0), "author": (0.04, 0.8, 0.002)}
    return {
        "models": {
            label: {"texts": 24, "words": 960, "loop_rate": loops, "end_rate": ends, "extraction_rate": recited}
            for label, (loops, ends, recited) in rates.items()
        },
        "real_loop_rate": 0.0,
        "extraction_windows": 500,
    }
