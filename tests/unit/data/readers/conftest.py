"""Reading one file as a source does, everybody wanted."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from ghostpen.data.readers.isolation import IsolatedReader
from ghostpen.data.readers.passages import Passage, Reading, SourceFile

ASSETS = Path(__file__).parents[3] / "assets"
ReadAsset = Callable[[str, str], Passage]


@pytest.fixture
def assets() -> Path:
    return ASSETS


@pytest.fixture
def reading() -> Reading:
    return Reading(wants=lambda sender: True)


@pytest.fixture
def make_file() -> Callable[[Path], SourceFile]:
    return lambda path: SourceFile(PurePosixPath(path.name), str(path), path)


@pytest.fixture(scope="session")
def isolated() -> Iterator[IsolatedReader]:
    with IsolatedReader() as reader:
        yield reader
