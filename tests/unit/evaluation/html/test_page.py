"""The page as text: what it says, that it escapes, and that a browser has nothing to fetch."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.pictures import CONTROL, METRICS
from tests.reports import HOSTILE, MANIFEST, REFUSAL, TRAINING, build_written

from ghostpen.evaluation.html.page import render_html, write_html
from ghostpen.evaluation.report_shape import Finding, Report
from ghostpen.evaluation.written import Written
from ghostpen.training.recorder import SampleRow
from ghostpen.training.samples_file import render_continuations

VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """What a test asks of the page: elements with their attributes, text by id, and whether all is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)
        self.text += " "

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def read_part(html: str, name: str) -> str:
    """Read the text of one section, blanks evened out."""
    section = re.search(rf'<section id="{name}".*?</section>', html, re.S)
    assert section, name
    return " ".join(Reader(section[0]).text.split())


def test_page_is_the_same_twice_and_well_formed(render: Callable[..., str]) -> None:
    html = render()
    page = Reader(html)

    assert html == render()
    assert (page.wrong, page.open) == ([], [])
    assert html.lstrip().startswith("<!doctype html>")
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((attributes.get(name) or "").split()) <= set(identifiers)


def test_page_names_nothing_that_a_browser_would_fetch(render: Callable[..., str]) -> None:
    html = render()
    page = Reader(html)

    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "style", "onclick", "onerror"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:"))
    assert "url(" not in html and "@import" not in html
    assert set(re.findall(r"https?://[^'\" ]*", html)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_policy_allows_the_page_s_own_style_sheet_and_script_and_nothing_else(render: Callable[..., str]) -> None:
    html = render()

    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_page_says_first_that_it_is_private(render: Callable[..., str]) -> None:
    text = " ".join(Reader(render()).text.split())

    assert text.index("Private. This file quotes Jane Austen’s texts") < text.index("Writes like Jane Austen:")


def test_page_carries_the_verdict_and_the_numbers(render: Callable[..., str], full_report: Report) -> None:
    html = render()
    text = " ".join(Reader(html).text.split())

    assert full_report["verdict"] in text
    # G_A = 0.1, G_O = 0.02, S = 0.08, the same in every section: no width.
    assert "+0.080 95 % interval +0.080 to +0.080" in text
    evidence = read_part(html, "specificity")
    assert "on Jane Austen: G_A" in evidence and "+0.100" in evidence and "+0.020" in evidence
    assert "Window 256 tokens, stride 128, tokenizer of embedded:tiny, data 000000000000, training seed 7" in evidence
    # The last author's validation perplexity is 31 - 30 * 0.1 = 28, the control's stays 31.
    assert "28.0 adapter" in read_part(html, "curves") and "31.0 control" in read_part(html, "curves")


@pytest.mark.parametrize(
    ("passages", "expected"),
    [(3, "Prompted: the base with 3 passages by the author before it."), (1, "with a passage by"), (None, None)],
)
def test_prompted_base_is_explained_where_there_is_one(
    full_report: Report, passages: int | None, expected: str | None
) -> None:
    full_report["prompt"] = {"passages": passages, "tokens": 120} if passages else None
    if passages is None:
        for text in (full_report["author_test"], full_report["others_test"]):
            del text["models"]["prompted"]
    part = read_part(render_html(full_report), "specificity")
    assert expected in part if expected else "rompted" not in part


def test_provenance_has_seeds_windows_tokenizer_hashes_and_versions(render: Callable[..., str]) -> None:
    part = read_part(render(), "provenance")

    for found in (
        "training seed 7", "window 256 tokens", "stride 128 tokens", "100 draws, seed 3", "0" * 64, "a" * 64,
        "c" * 64, "base model and tokenizer embedded:tiny", "f" * 64, "torch 2.14.1", "seed 5, temperature 0.8",
        "number format bfloat16, weights in 4 bits", f"other authors’ data, sha256 {'2' * 64}", "3" * 64,
        f"tokenizer, sha256 {'4' * 64}",
    ):  # fmt: skip
        assert found in part


@pytest.mark.parametrize(
    ("finding", "look", "word"),
    [
        ("specific", "good", "specific"),
        ("unclear", "open", "unclear"),
        ("others_got_worse", "open", "not shown"),
        ("less_than_others", "bad", "not specific"),
        ("too_little_text", "none", "too little text"),
    ],
)
def test_finding_is_a_state_in_words_and_looks(report: Report, finding: Finding, look: str, word: str) -> None:
    report["finding"] = finding

    html = render_html(report)

    assert f'<p class="state {look}">' in html
    assert f"</span>{word}</p>" in html


@pytest.mark.parametrize("author", ["Jane Austen", HOSTILE])
def test_texts_and_names_stay_text(full_report: Report, author: str) -> None:
    full_report["author"] = author
    full_report["author_test"]["parts"][0]["name"] = HOSTILE
    full_report["style"]["map"]["points"][0]["name"] = HOSTILE
    assert full_report["copying"] is not None and full_report["copying"]["training"]["longest"] is not None
    full_report["copying"]["training"]["longest"]["quote"] = HOSTILE
    full_report["copying"]["training"]["longest"]["document"] = HOSTILE
    written = [
        Written(**{**vars(text), "text": text.text + HOSTILE, "prompt": text.prompt + HOSTILE, "document": HOSTILE})
        for text in build_written()
    ]

    html = render_html(full_report, metrics=METRICS, written=written, manifest={"run_id": HOSTILE})

    page = Reader(html)
    assert (page.wrong, page.open) == ([], [])
    assert (page.count("script"), page.count("img"), page.count("style")) == (1, 0, 1)
    assert html.count("</script") == 1
    assert HOSTILE in page.text
    assert "alert(1)" not in re.findall(r"<script>(.*?)</script>", html, re.S)[0]


def test_blind_test_does_not_show_which_text_is_real(render: Callable[..., str]) -> None:
    [game] = re.findall(r'<div class="game".*?</main>', render(), re.S)
    rounds = re.findall(r'<form class="round".*?</form>', game, re.S)

    assert len(rounds) == 6  # half of 12 places: the others are shown side by side
    for one in rounds:
        sides = re.findall(r'<div class="passage" id="text-\d-\d">', one)
        assert len(sides) == 2
        assert not re.search(r"class=\"[^\"]*real|data-real|adapter|>real", one)


def test_what_the_blind_test_asks_is_not_shown_beside_it(render: Callable[..., str]) -> None:
    html = render()
    asked = set(re.findall(r"Place (\d+) begins with …", html))
    shown = set(re.findall(r"Place (\d+) begins with</blockquote>", html))

    assert len(asked) == 6 and len(shown) == 3
    assert not asked & shown


def test_samples_stand_side_by_side_with_topics(render: Callable[..., str]) -> None:
    part = read_part(render(), "samples")

    assert "Before: base model The man was in the house" in part
    assert "After: adapter She could not but be sensible" in part
    assert "Jane Austen It was a truth" in part
    assert "New topic: On subject 0" in part


def test_copy_is_marked_in_its_sample(render: Callable[..., str]) -> None:
    html = render()

    assert "<mark>She could not but be sensible of the honour, and yet</mark> the honour was" in html
    assert "11 words in a row that are also in <cite>persuasion</cite>" in html
    assert "From 13 words in a row on it is a copy" in html


def test_style_shows_real_text_beside_and_refusals_as_sentences(render: Callable[..., str]) -> None:
    part = read_part(render(), "style")

    assert "real text 94" in part and "adapter 71" in part
    assert f"Distance in common words Not measured. {REFUSAL}." in part
    assert f"Adapter: {REFUSAL}." in part
    assert "Style map of Jane Austen" in part


def test_how_each_model_writes_stands_beside_real_text(render: Callable[..., str]) -> None:
    part = read_part(render(), "copying")

    assert "Go round in circles: real text 0 %, base model 10 %, control 5.0 %, adapter 4.0 %." in part
    assert "Recite training text: base model 0 %, control 0 %, adapter 0.2 %." in part
    assert "500 places" in part


def test_style_map_that_is_refused_is_a_sentence(full_report: Report) -> None:
    full_report["style"]["map"] = {"refusal": REFUSAL}

    assert f"Style map Not measured. {REFUSAL}." in read_part(render_html(full_report), "style")


def test_page_of_a_bare_report_says_what_is_missing(report: Report) -> None:
    html = render_html(report)

    assert "No blind test." in read_part(html, "blind")
    assert "No samples." in read_part(html, "samples")
    assert "Not measured." in read_part(html, "copying")
    assert '<section id="curves"' not in html and '<section id="style"' not in html
    links = re.findall(r'href="#([\w-]+)"', html)
    assert {link for link in links if f'id="{link}"' not in html} == set()


def test_write_html_reads_the_training_s_samples(report: Report, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for when, text in (("before", " wild words."), ("after", " tame words.")):
        rows = [SampleRow(when, 0, "emma, section 1", "It was late when", text)]
        (tmp_path / f"samples/{when}.txt").write_text(render_continuations(rows), encoding="utf-8")

    write_html(
        report,
        tmp_path / "report.html",
        metrics=METRICS,
        control_metrics=CONTROL,
        written=[],
        training=TRAINING,
        manifest=MANIFEST,
    )

    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Before: base model wild words. After: adapter tame words." in read_part(html, "samples")
    assert "run id mine-1" in read_part(html, "provenance")
    assert {path.name for path in tmp_path.iterdir()} == {"samples", "report.html"}


def test_write_html_into_an_empty_folder_is_a_page(report: Report, tmp_path: Path) -> None:
    write_html(report, tmp_path / "report.html", metrics=[], control_metrics=[], written=[])

    assert "What it learned is Jane Austen" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_page_of_many_long_texts_stays_small(render: Callable[..., str]) -> None:
    written = [
        Written(**{**vars(text), "text": text.text * 20, "real": text.real and text.real * 20})
        for text in build_written(places=100)
    ]

    assert len(render(written=written).encode()) < 300_000
