"""The report on copying: its parts are of the right texts, it quotes where it may, and it fails when asked to."""

import json
from collections.abc import Callable

import pytest
from rich.console import Console
from tests.reports import find_misfits

from ghostpen.data.sections import Section
from ghostpen.errors import CopyingError, DataError, NothingCountedError
from ghostpen.evaluation.copying import CopiedSpan, Sample
from ghostpen.evaluation.copying_report import (
    CopyingReport,
    build_copying_report,
    check_copied,
    render_copying_table,
    render_span,
)


def make_section(text: str, document: str) -> Section:
    return Section(text, "Jane Austen", document, 0, starts_document=True, ends_document=True)


def count(start: int, end: int) -> str:
    return " ".join(f"w{number}" for number in range(start, end))


TRAINING = make_section(f"with Darcy, and Darcy, to Darcy {count(0, 40)}", "pride")
VALIDATION = make_section("the beginning of Anne came and went away then", "persuasion")
TEST = make_section(" ".join(f"t{number}" for number in range(60)), "emma")
# 14 words of the training text, and a name; then 5 of validation text.
SAMPLES = [
    Sample(f"so Darcy said {count(3, 17)}", prompt="the beginning"),
    Sample("Anne came and went away with none"),
]


def build(samples: list[Sample] = SAMPLES, *, test: Section = TEST, other: str = "a Lake") -> CopyingReport:
    report = build_copying_report(
        samples, training=[TRAINING], continued=[VALIDATION], held_out=[test], others=[make_section(other, "twain")]
    )
    assert report is not None
    return report


def test_report_holds_samples_against_training_and_held_out_text() -> None:
    report = build()
    assert report["training"]["longest"] == {"words": 14, "document": "pride", "quote": count(3, 17)}
    assert (report["training"]["samples"], report["training"]["share_13"]) == (2, 0.5)
    assert report["held_out"]["longest"] == {
        "words": 5,
        "document": "persuasion",
        "quote": "anne came and went away",
    }
    assert json.loads(json.dumps(report)) == report
    assert list(find_misfits(report, CopyingReport)) == []


def test_floor_is_of_held_out_text_against_training_text() -> None:
    floor = build()["floor"]
    # The samples have 17 and 7 words, so pieces have 12: five of the test's 60, none of the 9 of validation.
    assert floor is not None
    assert (floor["samples"], floor["words"]) == (5, 60)
    assert floor["longest_mean"] == 0


def test_names_are_those_of_training_works_alone() -> None:
    assert build()["names"] == {"names": 1, "samples": 2, "share": 0.5, "floor": 0, "leaked": ["Darcy"]}
    names = build(other="a Darcy")["names"]
    assert names is not None and (names["names"], names["share"]) == (0, 0)


def test_floor_of_names_is_of_pieces_as_long_as_the_samples() -> None:
    # Five pieces of 12 words, whatever stands between; one has the name. A sixth would have 11.
    text = "\n\n".join([*["t"] * 30, "Darcy", *["t"] * 40])
    names = build(test=make_section(text, "emma"))["names"]
    assert names is not None and names["floor"] == 1 / 5


def test_loops_are_counted_by_sample() -> None:
    assert build()["loop_rate"] == 0
    assert build([*SAMPLES, Sample(count(100, 120) + " x " + count(100, 120))])["loop_rate"] == 1 / 3


def test_too_little_held_out_text_leaves_floor_and_names_out() -> None:
    report = build(test=make_section("short", "emma"))
    assert (report["floor"], report["names"]) == (None, None)


def test_no_sample_is_no_report_and_no_training_text_an_error() -> None:
    texts = {"training": [TRAINING], "continued": [VALIDATION], "held_out": [TEST], "others": []}
    assert build_copying_report([], **texts) is None
    assert build_copying_report([Sample("the beginning of Anne came", "the beginning of Anne came")], **texts) is None
    with pytest.raises(NothingCountedError):
        build_copying_report(SAMPLES, **texts | {"training": []})


@pytest.mark.parametrize("limit", [None, 14, 50])
def test_copies_up_to_the_limit_pass(limit: int | None) -> None:
    check_copied(build(), max_copied_words=limit)


def test_longer_copy_fails_with_exit_code_3_and_is_not_quoted() -> None:
    with pytest.raises(CopyingError, match="^a sample copies 14 words in a row from pride, and .* is 13;") as caught:
        check_copied(build(), max_copied_words=13)
    assert caught.value.exit_code == 3
    assert "w3" not in caught.value.message


def test_limit_without_samples_is_an_error_and_no_limit_is_none() -> None:
    check_copied(None, max_copied_words=None)
    with pytest.raises(DataError, match="there is no text to check: eval.continuations"):
        check_copied(None, max_copied_words=13)


@pytest.mark.parametrize(
    ("words", "rendered"),
    [
        (20, f'20 words in a row from emma ("{count(0, 20)}")'),
        (21, f'21 words in a row from emma ("{count(0, 20)} …")'),
    ],
)
def test_span_is_rendered_with_its_first_20_words(words: int, rendered: str) -> None:
    assert render_span(CopiedSpan(words, "emma", count(0, words))) == rendered


def render(report: CopyingReport) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(render_copying_table(report))
    return capture.get()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda report: report, "Names of the training works: in 50% of the samples, in 0% of real unseen pieces."),
        (
            lambda report: report["names"].update(share=None, floor=0.6),
            "Names of the training works were not counted: 60% of real unseen pieces seem",
        ),
        (lambda report: report.update(names=None), "Names were not looked for: there is too little held-out text."),
    ],
)
def test_table_tells_numbers_and_quotes_nothing(change: Callable[[CopyingReport], object], line: str) -> None:
    report = build()
    change(report)
    shown = render(report)
    assert line in " ".join(shown.split())
    rows = {row[:29].strip(): row[29:].split() for row in shown.splitlines() if " text" in row[:29]}
    # 17 and 7 words; 14 of 24 are in copies of 5, 8 and 13 words, and the second sample shares "and" alone.
    # Of held-out text it is 5 of 24.
    assert rows["samples, in training text"] == ["24", "14", "7.5", "58.3%", "58.3%", "58.3%"]
    assert rows["samples, in held-out text"] == ["24", "5", "2.5", "20.8%", "0.0%", "0.0%"]
    assert rows["real text, in training text"] == ["60", "0", "0.0", "0.0%", "0.0%", "0.0%"]
    assert "Loops, 20 words that come again: in 0% of the samples." in " ".join(shown.split())
    assert "Darcy" not in shown and "w3" not in shown
