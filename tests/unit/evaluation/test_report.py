import json
import math
from pathlib import Path

import pytest
from rich.console import Console
from tests.reports import PROTOCOL, build_style, find_misfits

from ghostpen.errors import DataError
from ghostpen.evaluation.report import build_report, find_specificity, render_table, render_verdict, write_report
from ghostpen.evaluation.report_shape import Finding, Report
from ghostpen.evaluation.specificity import Interval, SectionScores, Specificity
from ghostpen.evaluation.style_shape import StyleReport
from ghostpen.score import Score


def build_specificity(
    s: tuple[float, float | None, float | None], g_a: tuple[float, float | None, float | None]
) -> Specificity:
    return Specificity(
        g_a=Interval(*g_a),
        g_o=Interval(g_a[0] - s[0], None, None),
        s=Interval(*s),
        resamples=100,
        seed=0,
    )


SPECIFIC = build_specificity(s=(0.036, 0.03, 0.042), g_a=(0.04, 0.035, 0.045))
UNCLEAR = build_specificity(s=(0.01, -0.002, 0.02), g_a=(0.04, 0.035, 0.045))
UNCLEAR_AT_ZERO = build_specificity(s=(0.0, 0.0, 0.0), g_a=(0.0, 0.0, 0.0))
OTHERS_GOT_WORSE = build_specificity(s=(0.036, 0.03, 0.042), g_a=(0.001, -0.004, 0.006))
LESS_THAN_OTHERS = build_specificity(s=(-0.02, -0.03, -0.01), g_a=(0.04, 0.035, 0.045))
TOO_LITTLE_TEXT = build_specificity(s=(0.036, None, None), g_a=(0.04, None, None))


def print_plainly(report: Report, *, width: int) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render_table(report))
    return capture.get()


@pytest.mark.parametrize(
    ("specificity", "finding", "opening", "uncertainty"),
    [
        (SPECIFIC, "specific", "Writes like Jane Austen:", "95 % interval +0.030 to +0.042"),
        (
            UNCLEAR,
            "unclear",
            "No evidence that",
            "95 % interval -0.002 to +0.020), and the interval includes 0",
        ),
        (UNCLEAR_AT_ZERO, "unclear", "No evidence that", "the interval includes 0"),
        (OTHERS_GOT_WORSE, "others_got_worse", "No evidence that", "95 % interval -0.004 to +0.006"),
        (LESS_THAN_OTHERS, "less_than_others", "Does not write like", "95 % interval -0.030 to -0.010"),
        (TOO_LITTLE_TEXT, "too_little_text", "Too little text to say", "needs 5 held-out sections"),
    ],
)
def test_render_verdict_follows_the_interval(
    specificity: Specificity, finding: Finding, opening: str, uncertainty: str
) -> None:
    verdict = render_verdict(specificity, author="Jane Austen")

    assert find_specificity(specificity) == finding
    assert verdict.startswith(opening)
    assert uncertainty in verdict
    assert verdict.endswith(".") and "\n" not in verdict


def test_render_verdict_of_a_specific_adapter_tells_both_gains() -> None:
    assert render_verdict(SPECIFIC, author="Jane Austen") == (
        "Writes like Jane Austen: on unseen text the adapter saves +0.040 bits per byte over its control on "
        "Jane Austen and +0.004 on other authors; the difference is S = +0.036 bits per byte (95 % interval "
        "+0.030 to +0.042)."
    )


def test_build_report_has_the_shape_that_is_declared(report: Report) -> None:
    assert list(find_misfits(report, Report)) == []
    assert list(find_misfits(build_style(), StyleReport)) == []  # what the page's tests take for one
    report["protocol"]["generation"].pop("top_p")  # type: ignore[misc]
    report["author_test"]["models"]["base"]["perplexity"] = "256"  # type: ignore[typeddict-item]
    lacking, wrong = sorted(find_misfits(report, Report), key=len, reverse=True)
    assert lacking.startswith(".protocol.generation: ['extraction_windows', ")
    assert wrong == ".author_test.models.base.perplexity: '256', not a float"


def test_build_report_gives_gains_worked_by_hand(report: Report) -> None:
    found = report["specificity"]

    assert found["g_a"]["estimate"] == pytest.approx(1.9 - 1.8)
    assert found["g_o"]["estimate"] == pytest.approx(1.9 - 1.88)
    assert found["s"]["estimate"] == pytest.approx(0.1 - 0.02)
    assert found["s"]["low"] == pytest.approx(0.08)
    assert (found["confidence_level"], found["resamples"], found["seed"]) == (0.95, 100, 3)
    assert report["finding"] == "specific"


def test_build_report_gives_each_models_numbers_on_the_whole_text(report: Report) -> None:
    text = report["author_test"]

    # 1 + 2 + ... + 6 = 21 times 100 bytes and 25 tokens; a token is 4 bytes, so perplexity = 2 ** (4 * bits).
    assert (text["sections"], text["size_bytes"], text["tokens"]) == (6, 2100, 525)
    assert text["models"]["base"]["bits_per_byte"] == pytest.approx(2.0)
    assert text["models"]["base"]["perplexity"] == pytest.approx(2.0**8)
    assert text["models"]["base"]["gain_over_base"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    assert text["models"]["author"]["perplexity"] == pytest.approx(2.0**7.2)
    # 420 words of 5 bytes: 2 ** (5 * bits).
    assert text["words"] == 420
    assert text["models"]["author"]["word_perplexity"] == pytest.approx(2.0**9)
    assert text["models"]["prompted"]["bits_per_byte_bounds"] == pytest.approx(
        {"estimate": 1.95, "low": 1.95, "high": 1.95}
    )
    assert text["models"]["author"]["gain_over_base"]["estimate"] == pytest.approx(0.2)


def test_build_report_splits_a_text_into_its_parts_in_order(report: Report) -> None:
    irving, bronte = report["others_test"]["parts"]

    # Sections 1, 2, 3 have 600 bytes together, sections 4, 5, 6 have 1,500.
    assert (irving["name"], irving["sections"], irving["size_bytes"], irving["tokens"]) == (
        "irving",
        3,
        600,
        150,
    )
    assert (bronte["name"], bronte["sections"], bronte["size_bytes"], bronte["tokens"]) == (
        "bronte",
        3,
        1500,
        375,
    )
    assert bronte["bits_per_byte"] == pytest.approx({"base": 2.0, "prompted": 2.05, "control": 1.9, "author": 1.88})
    assert bronte["perplexity"]["base"] == pytest.approx(256.0)
    assert bronte["gain"] == pytest.approx(0.02)


def test_build_report_with_a_part_name_too_few_is_an_error() -> None:
    scores: SectionScores = {
        "base": [Score(1.0, 1, 1)] * 2,
        "control": [Score(1.0, 1, 1)] * 2,
        "author": [Score(1.0, 1, 1)] * 2,
    }

    with pytest.raises(DataError, match="author's test split: 2 sections but 1 part names"):
        build_report(
            scores,
            others_scores=scores,
            author="A",
            author_parts=["one"],
            others_parts=["one", "two"],
            author_words=[1, 1],
            others_words=[1, 1],
            protocol=PROTOCOL,
        )


def test_build_report_without_the_base_is_an_error() -> None:
    scores: SectionScores = {"control": [Score(1.0, 1, 1)], "author": [Score(1.0, 1, 1)]}

    with pytest.raises(DataError, match="no scores of the base model"):
        build_report(
            scores,
            others_scores=scores,
            author="A",
            author_parts=["one"],
            others_parts=["one"],
            author_words=[1],
            others_words=[1],
            protocol=PROTOCOL,
        )


def test_write_report_writes_json_that_reads_back_equal(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(report, path)

    assert json.loads(path.read_text(encoding="utf-8")) == report
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_write_report_of_a_number_that_is_none_leaves_the_old_report(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    report["specificity"]["s"]["estimate"] = math.nan

    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(report, path)

    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_render_table_shows_models_gains_and_verdict_in_80_columns(report: Report) -> None:
    printed = print_plainly(report, width=80)
    rows = [line.split() for line in printed.splitlines()]

    assert ["Jane", "Austen", "(A)", "2.000", "1.950", "1.900", "1.800", "+0.100", "[+0.100,", "+0.100]"] in rows
    assert ["as", "perplexity", "256.00", "222.86", "194.01", "147.03"] in rows
    assert ["bronte", "2.000", "2.050", "1.900", "1.880", "+0.020"] in rows
    assert ["S", "=", "G_A", "-", "G_O", "+0.080", "[+0.080,", "+0.080]"] in rows
    assert " ".join(report["verdict"].split()) in " ".join(printed.split())


def test_render_table_keeps_names_that_look_like_markup(report: Report) -> None:
    report["author"] = "[bold]Nobody[/bold]"
    report["author_test"]["parts"][0]["name"] = "[red]draft"

    printed = print_plainly(report, width=120)

    assert "[bold]Nobody[/bold]" in printed
    assert "[red]draft" in printed


def test_render_table_without_intervals_says_so(report: Report) -> None:
    report["specificity"]["s"] = {"estimate": 0.08, "low": None, "high": None}

    assert "+0.080 (no interval)" in print_plainly(report, width=80)
