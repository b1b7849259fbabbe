from typing import Any

import pytest
from rich.console import Console

from ghostpen.errors import NothingCountedError
from ghostpen.evaluation.copying import Window
from ghostpen.evaluation.measures import list_continuations
from ghostpen.evaluation.specificity import ModelLabel
from ghostpen.evaluation.written import Written
from ghostpen.evaluation.written_report import build_written_report, render_written_table

LOOP = " ".join(str(number) for number in range(20)) + " "
WINDOWS = [Window(tuple(range(50)), tuple(range(50, 100))), Window(tuple(range(50)), tuple(range(1, 51)))]


def make_written(model: ModelLabel, text: str, **changes: Any) -> Written:
    values: dict[str, Any] = {
        "kind": "continuation",
        "prompt": "It",
        "real": " was fine",
        "document": "emma",
        "section": 0,
        "seed": 0,
        "temperature": 1.0,
        "ended": False,
    }
    return Written(model=model, text=text, **values | changes)


WRITTEN = [
    make_written("base", "a b c", ended=True),
    make_written("base", LOOP * 2, kind="topic", real=None),
    make_written("control", "a b"),
    make_written("control", "a b c", real=LOOP * 3),
    make_written("author", "one", ended=True),
    make_written("author", " ", ended=True),
]


def test_written_report_counts_loops_ends_and_what_is_recited() -> None:
    recited: dict[ModelLabel, list[list[int]]] = {
        "base": [[0] * 50, [0] * 50],
        "author": [list(range(50, 100)), [1, 2, 3]],
    }
    report = build_written_report(WRITTEN, windows=WINDOWS, recited=recited)
    assert report == {
        "models": {
            "base": {"texts": 2, "words": 43, "loop_rate": 0.5, "end_rate": 0.5, "extraction_rate": 0.0},
            "control": {"texts": 2, "words": 5, "loop_rate": 0.0, "end_rate": 0.0, "extraction_rate": None},
            "author": {"texts": 2, "words": 1, "loop_rate": 0.0, "end_rate": 1.0, "extraction_rate": 0.5},
        },
        "real_loop_rate": 0.0,
        "extraction_windows": 2,
    }


def test_written_report_of_nothing_is_none() -> None:
    assert build_written_report([], windows=[], recited={}) is None


def test_written_report_without_texts_tells_what_is_recited() -> None:
    report = build_written_report([], windows=WINDOWS[:1], recited={"base": [[1]], "author": [[1]]})
    assert report is not None
    assert report["models"]["author"] == {
        "texts": 0,
        "words": 0,
        "loop_rate": None,
        "end_rate": None,
        "extraction_rate": 0.0,
    }
    assert report["real_loop_rate"] is None


def test_written_report_wants_ids_for_each_window() -> None:
    with pytest.raises(NothingCountedError, match="2 windows of training text and 1 continuations"):
        build_written_report(WRITTEN, windows=WINDOWS, recited={"author": [[1]]})


def test_written_table_shows_each_model_and_real_text() -> None:
    report = build_written_report(WRITTEN, windows=WINDOWS, recited={"author": [[1], list(range(1, 51))]})
    assert report is not None
    console = Console(width=90)
    with console.capture() as shown:
        console.print(render_written_table(report))
    rows = [line.split() for line in shown.get().splitlines()]
    assert ["base", "2", "43", "50.0%", "50.0%"] in rows
    assert ["author", "2", "1", "0.0%", "100.0%", "50.0%"] in rows
    assert ["real", "text", "0.0%"] in rows


def test_list_continuations_gives_texts_by_writer_and_the_real_ones_once() -> None:
    found = list_continuations(WRITTEN)
    assert {who: [section.text for section in listed] for who, listed in found.items()} == {
        "base": ["a b c"],
        "control": ["a b", "a b c"],
        "author": ["one"],  # the other one has no word
        "real": [" was fine"],
    }
