"""report.html in a real Chromium: silent, offline, readable on a phone, operable and labelled without a mouse."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.reports import HOSTILE, REAL, build_written
from tests.unit.evaluation.html.browser import Browser, open_browser

from ghostpen.evaluation.html.game import render_outcome
from ghostpen.evaluation.html.page import render_html
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.written import Written

FOCUSABLE = """
const shown = (one) => one.checkVisibility({visibilityProperty: true});
return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')].filter(shown)
    .filter((one) => !one.disabled);
"""
# What a screen reader would call an element, for the ways of naming that the page uses.
NAMES = """
const read = (id) => document.getElementById(id)?.textContent.trim() ?? '';
const name = (one) => one.getAttribute('aria-label')
    || (one.getAttribute('aria-labelledby') ?? '').split(' ').map(read).join(' ').trim()
    || [...(one.labels ?? [])].map((label) => label.textContent).join(' ').trim()
    || (['A', 'BUTTON', 'SUMMARY'].includes(one.tagName) ? one.textContent.trim() : '');
return [...arguments[0]].map(name);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(render: Callable[..., str], tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render(), encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 360])
def test_page_is_silent_and_asks_the_network_for_nothing(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)

    assert browser.run("return document.readyState") == "complete"
    assert browser.run("return document.querySelector('.game').hidden") is False  # the script ran
    assert browser.read_console() == []
    assert [url for url in browser.read_requests() if not url.startswith(("data:", "about:"))] == [page.as_uri()]


def test_policy_refuses_what_a_text_would_load(browser: Browser, page: Path) -> None:
    browser.open(page)

    browser.run("const image = new Image(); image.src = 'http://127.0.0.1:9/seen'; document.body.append(image)")
    browser.run(
        "const one = document.createElement('script'); one.text = 'window.broken = 1'; document.body.append(one)"
    )

    assert browser.run("return window.broken ?? null") is None
    assert sum("Content Security Policy" in message for message in browser.read_console()) == 2


def test_hostile_texts_run_nothing(browser: Browser, full_report: Report, tmp_path: Path) -> None:
    full_report["author"] = HOSTILE
    full_report["author_test"]["parts"][0]["name"] = HOSTILE
    written = [
        Written(**{**vars(text), "text": text.text + HOSTILE, "prompt": text.prompt + HOSTILE, "document": HOSTILE})
        for text in build_written()
    ]
    path = tmp_path / "report.html"
    path.write_text(render_html(full_report, written=written), encoding="utf-8")

    browser.open(path)

    assert browser.run("return document.title").startswith("What it learned is </script>")
    assert browser.run("return document.images.length") == 0
    assert browser.read_console() == []
    assert HOSTILE in browser.run("return document.querySelector('.sample .version').textContent")


@pytest.mark.parametrize("width", [360, 740, 1040, 1600])
def test_page_never_scrolls_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    assert browser.run("return document.documentElement.scrollWidth") <= width
    # Nothing but a table may be wider than the screen, and that scrolls by itself.
    wide = browser.run(
        """
        return [...document.body.querySelectorAll('*')].filter((one) => !one.closest('.scroll, .skip'))
            .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > arguments[0] + 0.5)
            .map((one) => one.outerHTML.slice(0, 120));
        """,
        width,
    )
    assert wide == []


def test_letters_are_large_enough_on_a_phone(browser: Browser, page: Path) -> None:
    browser.open(page, width=360)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    sizes = browser.run(
        """
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        const sizes = [];
        while (walker.nextNode()) {
            const one = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || !one.checkVisibility()) continue;
            if (one.closest('script, style, title, desc')) continue;
            const svg = one.closest('svg');
            const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
            sizes.push([parseFloat(getComputedStyle(one).fontSize) * scale, walker.currentNode.data.trim()]);
        }
        return sizes;
        """
    )
    assert len(sizes) > 200
    assert [found for found in sizes if found[0] < 13.9] == []


def test_whatever_takes_the_focus_has_a_name_and_a_visible_ring(browser: Browser, page: Path) -> None:
    browser.open(page, width=360)

    names = browser.run(NAMES, browser.run(FOCUSABLE))

    assert len(names) > 15
    assert "" not in names


def test_tab_reaches_everything_in_the_order_of_the_page(browser: Browser, page: Path) -> None:
    browser.open(page)
    expected = browser.run(f"window.wanted = (() => {{ {FOCUSABLE} }})(); return window.wanted.length")

    order: list[Any] = []
    for _ in range(expected + 2):
        browser.press("\ue004")
        order.append(
            browser.run(
                """
                const one = document.activeElement;
                return [window.wanted.indexOf(one), getComputedStyle(one).outlineStyle !== 'none'];
                """
            )
        )

    reached = [place for place, _ in order if place >= 0]
    # Of two radio buttons one takes the tab: the browser's own way, the arrows reach the other.
    assert reached[: len(set(reached))] == sorted(set(reached))
    assert len(set(reached)) == expected - 1
    assert all(ring for place, ring in order if place >= 0)


def test_skip_link_leads_to_the_findings(browser: Browser, page: Path) -> None:
    browser.open(page)

    browser.press("\ue004")
    assert browser.run("return document.activeElement.getBoundingClientRect().left") >= 0
    browser.press("\ue007")

    assert browser.run("return location.hash") == "#main"


def test_page_is_built_for_screen_readers(browser: Browser, page: Path) -> None:
    browser.open(page)

    assert browser.run("return document.documentElement.lang") == "en"
    assert browser.run("return document.querySelectorAll('main, header.head, footer').length") == 3
    assert browser.run("return document.querySelectorAll('h1').length") == 1
    levels = browser.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))"
    )
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    unnamed = browser.run(
        """
        const isNamed = (one) => one.getAttribute('aria-labelledby').split(' ')
            .every((id) => document.getElementById(id)?.textContent.trim());
        return [...document.querySelectorAll('svg:not([aria-hidden])')]
            .filter((one) => one.getAttribute('role') !== 'img' || !isNamed(one)).length;
        """
    )
    assert unnamed == 0
    assert browser.run("return document.querySelectorAll('svg[role=img]').length") >= 10
    # Every chart has its numbers as a table, with headings that say what they are of.
    assert browser.run("return [...document.querySelectorAll('figure')].filter((one) => one.querySelector('svg')"
                       " && !one.querySelector('table caption')).length") == 0  # fmt: skip
    assert browser.run("return document.querySelectorAll('th:not([scope])').length") == 0
    names = browser.run(
        NAMES, browser.run("return document.querySelectorAll('section, nav, form, article, [role=region]')")
    )
    assert "" not in names


def test_chooser_shows_one_passage_at_a_time(browser: Browser, page: Path) -> None:
    browser.open(page)
    shown = "return [...document.querySelectorAll('.sample:not([hidden])')].map((one) => one.dataset.number)"

    assert browser.run(shown) == ["1"]
    browser.run("document.getElementById('sample').focus()")
    browser.press("\ue015")  # down

    assert browser.run(shown) == ["2"]


def read_shown(browser: Browser, what: str) -> list[str]:
    """Read the texts of these elements in the question that is shown."""
    return browser.run(
        "return [...document.querySelectorAll(`.round:not([hidden]) ${arguments[0]}`)].map((one) => one.textContent)",
        what,
    )


def find_real(browser: Browser) -> int:
    """Find which text of the question that is shown is the real one, as only the test knows."""
    texts = read_shown(browser, ".passage")
    return next(place for place, text in enumerate(texts, start=1) if REAL in text)


@pytest.mark.parametrize("keys", ["digits", "arrows"])
def test_blind_test_played_by_keyboard_scores_right(browser: Browser, page: Path, keys: str) -> None:
    browser.open(page)
    browser.run("document.querySelector('.round:not([hidden]) h3').focus()")
    rounds = browser.run("return document.querySelectorAll('.round').length")
    assert rounds == 6

    for number in range(1, rounds + 1):
        real = find_real(browser)
        chosen = 3 - real if number == 2 else real  # one answer is wrong
        browser.press(str(chosen) if keys == "digits" else {1: "\ue012", 2: "\ue014"}[chosen])
        assert browser.run("return document.querySelector('.round:not([hidden]) input:checked').value") == str(chosen)
        browser.press("\ue007")
        [said] = read_shown(browser, ".answer")
        score = number if number < 2 else number - 1
        word = "Wrong" if number == 2 else "Right"
        assert said == f"{word}: text {real} is the real one. {score} of {number} right so far."
        assert read_shown(browser, ".told")[real - 1] == "the real one"
        browser.press("\ue007")

    shown = (
        "return [...document.querySelectorAll('.outcome [data-right]:not([hidden])')].map((one) => one.textContent)"
    )
    assert browser.run(shown) == [render_outcome(5, 6)]
    assert browser.run("return document.activeElement.className") == "outcome"
    assert browser.read_console() == []


def test_blind_test_wants_an_answer_and_can_be_played_again(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('.round:not([hidden]) h3').focus()")

    browser.press("\ue007")
    assert browser.run("return document.querySelector('.answer').textContent") == "Choose one of the two first."
    for _ in range(6):
        browser.press("1", "\ue007", "\ue007")
    browser.press("\ue004", "\ue007")

    assert browser.run("return document.activeElement.textContent") == "Question 1 of 6"
    assert browser.run("return document.querySelectorAll('input:checked, input:disabled, .is-real').length") == 0


def test_page_without_script_shows_all_passages_and_says_so(browser: Browser, page: Path) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(page)
        hidden = browser.driver.find_elements("css selector", ".sample")
        assert len(hidden) == 5 and all(one.is_displayed() for one in hidden)
        assert not browser.driver.find_element("css selector", ".game").is_displayed()
        assert "needs JavaScript" in browser.driver.find_element("css selector", "#blind").text
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_printed_page_shows_all_passages_and_no_blind_test(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        samples = browser.run("return [...document.querySelectorAll('.sample')].map((one) => one.checkVisibility())")
        assert samples == [True] * 5
        assert browser.run("return document.getElementById('blind').checkVisibility()") is False
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
