"""What is written about continuations can be read again."""

from hypothesis import given
from hypothesis import strategies as st

from ghostpen.training.continuations import parse_continuations, render_continuations
from ghostpen.training.recorder import SampleRow

# All that a text may hold, line breaks and brackets among it.
TEXTS = st.text(st.sampled_from("a >[]\n,é"), max_size=12)


@given(pairs=st.lists(st.tuples(TEXTS.filter(lambda text: ">" not in text), TEXTS), max_size=4))
def test_rendered_continuations_are_read_as_they_were(pairs: list[tuple[str, str]]) -> None:
    rows = [SampleRow("after", 7, f"emma, section {place}", *pair) for place, pair in enumerate(pairs)]
    assert parse_continuations(render_continuations(rows)) == pairs


def test_file_of_something_else_holds_no_continuation() -> None:
    assert parse_continuations("[a note]\nnothing >>>of this kind\n") == []
