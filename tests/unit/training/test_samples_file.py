"""What is written about continuations can be read again, and without a model's libraries."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.training.recorder import SampleRow
from ghostpen.training.samples_file import parse_continuations, read_continuations, render_continuations

# All that a text may hold, line breaks and brackets among it.
TEXTS = st.text(st.sampled_from("a >[]\n,é"), max_size=12)


@given(pairs=st.lists(st.tuples(TEXTS.filter(lambda text: ">" not in text), TEXTS), max_size=4))
def test_rendered_continuations_are_read_as_they_were(pairs: list[tuple[str, str]]) -> None:
    rows = [SampleRow("after", 7, f"emma, section {place}", *pair) for place, pair in enumerate(pairs)]
    assert parse_continuations(render_continuations(rows)) == pairs


def test_file_of_something_else_holds_no_continuation() -> None:
    assert parse_continuations("[a note]\nnothing >>>of this kind\n") == []


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b""])
def test_file_that_is_missing_or_none_of_ours_holds_no_continuation(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "after.txt").write_bytes(content)
    assert read_continuations(tmp_path / "after.txt") == []


def test_reading_samples_for_a_report_loads_no_model_s_libraries() -> None:
    code = """
import sys
from pathlib import Path
from ghostpen.evaluation.html.samples import read_comparisons
from ghostpen.evaluation.measures import measure_copying
read_comparisons(Path("nowhere"))
print(*{"torch", "transformers"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
