"""How pictures look: their size, colours and letters, and how they reach the disk.

matplotlib is imported inside the functions, without pyplot and its global state; the same drawing gives the
same PNG, byte for byte.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpen.files import write_bytes_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1f2328", "#656d76", "#d0d7de", "#ffffff"
AUTHOR, CONTROL, OTHERS, TRAIN = "#0b57a4", "#6e7781", "#b35c00", "#b6c6d6"
TRAIN_TEXT = "#5b7a99"  # the line's hue, dark enough to read
SIZE_IN = (7.0, 4.0)
DPI = 200  # 7 inches are 1,400 pixels: sharp when a README shows them 700 wide
STYLE = {
    "font.family": "DejaVu Sans",  # the font which matplotlib brings: the same picture on every machine
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.solid_capstyle": "round",
}


@contextmanager
def open_figure(path: Path) -> Iterator["Figure"]:
    """Give an empty figure, and write it to path atomically when the block ends without an error."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a matplotlibrc of the person who runs this must not change the picture
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=SIZE_IN, dpi=DPI, facecolor=PAPER)
        canvas = FigureCanvasAgg(figure)
        yield figure
        png = io.BytesIO()
        canvas.print_png(png, metadata={"Software": None})
    write_bytes_atomically(png.getvalue(), path)


def write_heading(figure: "Figure", title: str, subtitle: str) -> None:
    """Write what is shown, and below it how to read it."""
    figure.text(0.012, 0.975, title, fontsize=12, fontweight="bold", va="top")
    figure.text(0.012, 0.905, subtitle, fontsize=9.5, color=MUTED, va="top")


def shorten(name: str, length: int) -> str:
    """Cut a name to `length` characters, the last an ellipsis, and keep it from being read as mathematics."""
    short = name if len(name) <= length else name[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")  # matplotlib would set what stands between two of them as mathematics
