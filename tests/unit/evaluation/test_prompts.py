from collections.abc import Callable

import pytest

from ghostpen.config import EvalConfig
from ghostpen.data.sections import Section
from ghostpen.evaluation.prompts import load_openings, plan_tasks

Maker = Callable[..., Section]


def count_words(text: str | None) -> int:
    return len((text or "").split())


def make_settings(**changes: object) -> EvalConfig:
    return EvalConfig.model_validate({"continuations": 100, "topics": 0, "written_words": 100} | changes)


def write_paragraphs(count: int, words: int) -> str:
    return "\n\n".join(" ".join(f"p{paragraph}w{word}" for word in range(words)) for paragraph in range(count))


def test_plan_tasks_cuts_passages_at_paragraphs_and_gives_fifty_words(make_section: Maker) -> None:
    # 10 paragraphs of 40 words; a passage has 150: it takes four paragraphs' room, and there are two of them.
    text = write_paragraphs(10, 40)
    tasks = plan_tasks([make_section(text, section=3)], settings=make_settings())
    assert [task.prompt.split()[0] for task in tasks] == ["p0w0", "p4w0"]
    assert [(count_words(task.prompt), count_words(task.real), task.words) for task in tasks] == [(50, 100, 100)] * 2
    assert all(task.prompt + str(task.real) in text for task in tasks)
    assert [(task.kind, task.document, task.section) for task in tasks] == [("continuation", "emma", 3)] * 2


def test_plan_tasks_cuts_a_text_without_paragraphs_anywhere(make_section: Maker) -> None:
    tasks = plan_tasks([make_section(write_paragraphs(1, 310))], settings=make_settings())
    assert [task.prompt.split()[0] for task in tasks] == ["p0w0", "p0w150"]


@pytest.mark.parametrize(("words", "given"), [(39, None), (40, 10), (100, 25), (149, 37)])
def test_plan_tasks_gives_a_quarter_of_a_short_text(make_section: Maker, words: int, given: int | None) -> None:
    tasks = plan_tasks([make_section(write_paragraphs(1, words))], settings=make_settings())
    assert [(count_words(task.prompt), count_words(task.real), task.words) for task in tasks] == (
        [] if given is None else [(given, words - given, words - given)]
    )


def test_plan_tasks_deals_out_temperatures_and_seeds(make_section: Maker) -> None:
    sections = [make_section(write_paragraphs(1, 60), document=f"letter-{number}") for number in range(10)]
    settings = make_settings(continuations=3, topics=2, temperatures=[0.5, 1.0])
    tasks = plan_tasks(sections, settings=settings)
    assert [task.document for task in tasks] == ["letter-1", "letter-5", "letter-8", None, None]
    assert [task.kind for task in tasks] == ["continuation"] * 3 + ["topic"] * 2
    assert [task.seed for task in tasks] == [0, 1, 2, 3, 4]
    assert [task.temperature for task in tasks] == [0.5, 1.0, 0.5, 1.0, 0.5]
    assert [task.words for task in tasks[3:]] == [100, 100]
    assert [task.real for task in tasks[3:]] == [None, None]


def test_plan_tasks_of_nothing_is_nothing(make_section: Maker) -> None:
    assert plan_tasks([make_section(write_paragraphs(9, 90))], settings=make_settings(continuations=0)) == []


def test_openings_are_fifty_different_short_ones() -> None:
    openings = load_openings()
    assert len(openings) == len(set(openings)) == 50 == EvalConfig.model_fields["topics"].metadata[1].le
    assert all(5 <= count_words(opening) <= 20 for opening in openings)
