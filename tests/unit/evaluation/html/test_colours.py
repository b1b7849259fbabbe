"""The page's colours against WCAG 2.2: 4.5 to 1 for text, 3 to 1 for what is drawn, in light and in dark."""

import re
from pathlib import Path

import pytest

import ghostpen.evaluation.html

CSS = (Path(ghostpen.evaluation.html.__file__).parent / "page.css").read_text(encoding="utf-8")
TEXT = ("ink", "muted", "author", "control", "others", "real", "base", "good", "open", "bad", "none")


def read_colours(css: str) -> dict[str, dict[str, str]]:
    """Read the colours of light and dark: the first two blocks of :root."""
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    return {
        name: dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for name, block in (("light", light), ("dark", dark))
    }


def compute_contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, "relative luminance" and "contrast ratio"."""

    def compute_luminance(colour: str) -> float:
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((compute_luminance(one), compute_luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_wcag_s() -> None:
    assert compute_contrast("#000000", "#ffffff") == pytest.approx(21)
    assert compute_contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # just too little


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", TEXT)
def test_text_is_readable_on_paper_and_panel(scheme: str, name: str) -> None:
    colours = read_colours(CSS)[scheme]

    for ground in ("paper", "panel"):
        assert compute_contrast(colours[name], colours[ground]) >= 4.5, ground


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marked_text_buttons_and_focus_are_readable(scheme: str) -> None:
    colours = read_colours(CSS)[scheme]

    assert compute_contrast(colours["ink"], colours["mark"]) >= 4.5
    assert compute_contrast(colours["paper"], colours["ink"]) >= 4.5  # a button's words on it
    for ground in ("paper", "panel"):
        assert compute_contrast(colours["focus"], colours[ground]) >= 3


def test_both_schemes_have_all_colours() -> None:
    colours = read_colours(CSS)

    assert colours["light"].keys() == colours["dark"].keys() >= {*TEXT, "paper", "panel", "mark", "focus"}
    assert set(re.findall(r"var\(--(\w+)\)", CSS)) - {"tone"} <= colours["light"].keys()
    assert re.findall(r"#[0-9a-f]{3,6}", CSS.split("* { box-sizing", 1)[1].split("@media print")[0]) == []
