"""Charts as SVG that is part of a page: their elements, scales and ticks.

Colours and letters are the page's style sheet's, by class, so that a chart follows light and dark. What is written
comes in as text and is escaped here.
"""

import math
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

WIDTH = 328  # of a phone's 360 pixels: letters are as large there as on a wide screen, where two charts stand abreast
LETTER = 7.8  # an average letter's width at the charts' 14 pixels, in wide and bold letters

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a value stands."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)


class Chart:
    """A drawing that a screen reader takes for one picture with a title and a description."""

    def __init__(self, name: str, *, height: float, title: str, description: str) -> None:
        """Begin.

        Args:
            name: unlike that of any other chart of the page.
            title: what is shown. description: what is to be seen, for those who can't.
        """
        self.root = Element(
            "svg",
            {
                "viewBox": f"0 0 {WIDTH} {_render_number(height)}",
                "class": "chart",
                "role": "img",
                "aria-labelledby": f"{name}-title {name}-desc",
            },
        )
        for part, text in (("title", title), ("desc", description)):
            SubElement(self.root, part, {"id": f"{name}-{part}"}).text = text

    def add(self, tag: str, look: str, **place: float | str) -> Element:
        """Draw an element; numbers become pixels."""
        shown = {name: value if isinstance(value, str) else _render_number(value) for name, value in place.items()}
        return SubElement(self.root, tag, {"class": look, **shown})

    def write(self, text: str, look: str = "", *, x: float, y: float, anchor: Anchor = "start") -> None:
        """Write a text, its middle at height y."""
        place = {"text-anchor": anchor} if anchor != "start" else {}
        self.add("text", look, x=x, y=y + 5, **place).text = text

    def draw_line(self, points: list[tuple[float, float]], look: str) -> None:
        """Draw a line through points."""
        self.add("polyline", look, points=" ".join(f"{_render_number(x)},{_render_number(y)}" for x, y in points))

    def render(self) -> Markup:
        """Render for the page."""
        return Markup(tostring(self.root, encoding="unicode"))


def plan_ticks(low: float, high: float, *, most: int) -> list[float]:
    """Choose round numbers from low to high, both included: multiples of 1, 2 or 5 times a power of ten."""
    if not low < high:
        return [low]
    power = math.floor(math.log10(high - low))
    for step in (factor * 10.0**exponent for exponent in range(power - 2, power + 2) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(place * step, 12) for place in range(first, last + 1)]
    return [low, high]


def render_signed(value: float, *, digits: int = 3) -> str:
    """Render as +0.061, with a minus sign as long as the plus."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def cut_name(name: str, *, width: float) -> str:
    """Cut a name to what stands in so many pixels, the last an ellipsis; line breaks become blanks."""
    words, length = " ".join(name.split()), max(1, int(width / LETTER))
    return words if len(words) <= length else words[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _render_number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
