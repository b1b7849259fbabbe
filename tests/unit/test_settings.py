"""What both kinds of settings share: texts that look like numbers, and where a wrong one came from."""

import pytest

from ghostpen.errors import ConfigError
from ghostpen.settings import Root, Section, apply_overrides, build_settings, list_settings


class Colour(Section):
    name: str
    shade: str | None = None
    parts: tuple[int, ...] = ()
    depth: int | None = None


class Picture(Root):
    title: str = "none"
    colour: Colour


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("colour.name=007", {"colour": {"name": "007"}}),
        ("colour.name=12", {"colour": {"name": "12"}}),
        ("colour.shade=1e5", {"colour": {"shade": "1e5"}}),
        ('colour.shade="1e5"', {"colour": {"shade": "1e5"}}),
        ("title=true", {"title": "true"}),
        ("colour.depth=12", {"colour": {"depth": 12}}),
        ("colour.parts=[1, 2]", {"colour": {"parts": [1, 2]}}),
    ],
)
def test_override_of_a_text_stays_a_text(override: str, values: dict[str, object]) -> None:
    read: dict[str, object] = {}
    apply_overrides(read, [override], root=Picture)
    assert read == values


def test_settings_are_listed_by_section_and_name() -> None:
    assert set(list_settings(Picture)) == {"title", "colour.name", "colour.shade", "colour.parts", "colour.depth"}


def test_problem_names_where_its_value_came_from() -> None:
    values = {"title": 1, "colour": {"name": 2, "depth": "x"}}

    with pytest.raises(ConfigError) as caught:
        build_settings(Picture, values, where="a.toml", overrides=["colour.depth=x"], sources={"title": "THE_TITLE"})
    title, name, depth = caught.value.message.split("; ")
    assert title.startswith("THE_TITLE: title ")
    assert name.startswith("a.toml: colour.name ")
    assert depth.startswith("--set colour.depth: colour.depth ")
