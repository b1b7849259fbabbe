"""Sources read as prepare reads them, with the texts in memory."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from ghostpen.data import sources as reading
from ghostpen.data.sources import ReadingOptions, Source
from ghostpen.data.stored import TextStore


def read_sources(
    sources: Sequence[str | Path], *, author: str | None, options: ReadingOptions | None = None
) -> list[Source]:
    """Read sources together."""
    options = options or ReadingOptions()
    return reading.read_sources(sources, author=author, options=options, store=TextStore(BytesIO()))


def read_source(source: str | Path, *, author: str | None, options: ReadingOptions | None = None) -> Source:
    """Read one source."""
    return read_sources([source], author=author, options=options)[0]
