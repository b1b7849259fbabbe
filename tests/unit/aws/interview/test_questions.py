"""What is asked: what is needed and not known; the setting's own rules check each answer; one text for all."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.aws.test_settings import NEEDED

from ghostpen.aws.interview.dialogue import update_document
from ghostpen.aws.interview.github import list_github_questions
from ghostpen.aws.interview.known import read_known
from ghostpen.aws.interview.questions import (
    BEGIN_MARK,
    END_MARK,
    Question,
    is_needed,
    list_questions,
    plan_questions,
    put_values,
    read_answer,
    render_document,
    render_markdown,
    render_open,
)
from ghostpen.aws.settings import DeployConfig
from ghostpen.errors import ConfigError

ROOT = Path(__file__).parents[4]
QUESTIONS = {question.key: question for question in list_questions(DeployConfig)}
WHOLE = {
    "aws": {"region": "eu-central-1", "account_id": "123456789012"},
    "group": {"name": "gpu"},
    "image": {"repository": "ghostpen", "tag": "v1"},
    "storage": {"uri": "s3://texts/austen"},
    "secrets": {"path": "/ghostpen", "names": []},
    "logs": {"group": "/ghostpen"},
    "limits": {"max_runtime_s": 3600},
}


def plan(values: dict[str, Any]) -> dict[str, str]:
    return {item.question.key: item.reason for item in plan_questions(QUESTIONS.values(), values)}


def test_questions_are_all_that_has_no_default_and_what_is_worth_asking() -> None:
    needed = {key for key, question in QUESTIONS.items() if is_needed(question)}

    assert needed == NEEDED | {"image.tag"}
    assert set(QUESTIONS) - needed == {"secrets.names"}
    assert list(QUESTIONS)[:2] == ["aws.region", "aws.account_id"]  # look-ups need these first


def test_nothing_known_plans_every_question() -> None:
    assert plan({}) == {key: "" for key in QUESTIONS}


def test_all_known_plans_none() -> None:
    assert plan(WHOLE) == {}


@pytest.mark.parametrize("key", sorted(QUESTIONS))
def test_one_that_is_missing_is_the_one_that_is_planned(key: str) -> None:
    assert plan(put_values(WHOLE, {key: None})) == {key: ""}


def test_digest_stands_for_the_tag() -> None:
    assert plan(put_values(WHOLE, {"image.tag": None, "image.digest": "sha256:" + "0" * 64})) == {}


def test_tag_and_digest_at_once_are_asked_for() -> None:
    planned = plan(put_values(WHOLE, {"image.digest": "sha256:" + "0" * 64}))
    assert planned == {"image.tag": "image.tag and image.digest are both set, and only one of them can be"}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("aws.region", "Frankfurt", 'aws.region is "Frankfurt": write a region such as eu-central-1'),
        ("aws.account_id", 123456789012, "aws.account_id should be a valid string, but is 123456789012"),
        ("limits.max_runtime_s", 5, "limits.max_runtime_s should be greater than or equal to 60, but is 5"),
        ("secrets.names", ["a b"], 'secrets.names is "a b": use A-Z, 0-9 and _'),
    ],
)
def test_wrong_value_is_planned_with_its_reason(key: str, value: object, reason: str) -> None:
    assert plan(put_values(WHOLE, {key: value})) == {key: reason}


@pytest.mark.parametrize(
    ("key", "text", "changes"),
    [
        ("aws.region", " eu-central-1 ", {"aws.region": "eu-central-1"}),
        ("aws.account_id", "012345678901", {"aws.account_id": "012345678901"}),
        ("aws.account_id", '"012345678901"', {"aws.account_id": "012345678901"}),
        ("group.name", "7", {"group.name": "7"}),
        ("image.tag", "1e5", {"image.tag": "1e5", "image.digest": None}),
        ("image.tag", "sha256:" + "0" * 64, {"image.digest": "sha256:" + "0" * 64, "image.tag": None}),
        ("secrets.names", "A_KEY, B_KEY C", {"secrets.names": ["A_KEY", "B_KEY", "C"]}),
        ("secrets.names", '["A_KEY"]', {"secrets.names": ["A_KEY"]}),
        ("limits.max_runtime_s", "3600", {"limits.max_runtime_s": 3600}),
    ],
)
def test_answer_is_read_as_its_setting_takes_it(key: str, text: str, changes: dict[str, Any]) -> None:
    assert read_answer(QUESTIONS[key], text) == changes


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("aws.account_id", "12", 'aws.account_id is "12": write its 12 digits, in quotes'),
        ("storage.uri", "texts", 'storage.uri is "texts": write s3://BUCKET/PREFIX, with single slashes'),
        ("secrets.names", "a_key", 'secrets.names is "a_key": use A-Z, 0-9 and _'),
        ("limits.max_runtime_s", "2h", 'limits.max_runtime_s should be a valid integer, but is "2h"'),
        ("limits.max_runtime_s", "0", "limits.max_runtime_s should be greater than or equal to 60, but is 0"),
        (
            "image.tag",
            "a b",
            'image.tag is "a b": it is no tag of an image; image.digest is "a b": write sha256: and 64 hexadecimal '
            "digits",
        ),
    ],
)
def test_answer_that_breaks_the_setting_s_rules_says_what_to_write(key: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_answer(QUESTIONS[key], text)
    assert caught.value.message == reason


def test_values_that_changes_are_put_over_stay_as_they_are() -> None:
    values = {"aws": {"region": "a"}, "image": {"tag": "b"}}

    assert put_values(
        values, {"aws.account_id": "1", "image.tag": None, "image.digest": None, "logs.group": "g"}
    ) == {
        "aws": {"region": "a", "account_id": "1"},
        "image": {},
        "logs": {"group": "g"},
    }
    assert values == {"aws": {"region": "a"}, "image": {"tag": "b"}}


def test_list_says_of_each_what_it_is_for_and_how_to_find_and_set_it() -> None:
    planned = plan_questions(QUESTIONS.values(), put_values(WHOLE, {"aws.region": "x", "image.tag": None}))

    region, image = render_open(planned, Path("a.toml")).split("\n\n")
    assert region.splitlines() == [
        "aws.region",
        "  what for:  The region of all the rest.",
        "  to find:   `aws configure get region` shows your usual one.",
        "  to set:    region = ... below [aws] in a.toml, or GHOSTPEN_AWS_REGION in the environment; GitHub's "
        "variable AWS_REGION",
        '  wrong:     aws.region is "x": write a region such as eu-central-1',
    ]
    assert "describe-images --repository-name REPOSITORY" in image
    assert image.endswith("in the environment; or image.digest in its place")


def test_environment_s_settings_are_known(tmp_path: Path) -> None:
    known = read_known(tmp_path / "deploy.toml", {"GHOSTPEN_GROUP_NAME": "gpu", "GHOSTPEN_IMAGE_TAG": "v1"})
    assert {item.question.key for item in known.planned} == set(QUESTIONS) - {"group.name", "image.tag"}


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("[group]\nnam = 'gpu'", {}, "{file}: group.nam is not a setting; did you mean group.name?"),
        ("[timeouts]\npoll_s = 0", {}, "{file}: timeouts.poll_s should be greater than 0, but is 0"),
        ("aws = 1", {}, "{file}: aws must be a section: write [aws] and its settings below it"),
        (
            "",
            {"GHOSTPEN_AWS_REGION": "Paris"},
            'GHOSTPEN_AWS_REGION: aws.region is "Paris": write a region such as eu-central-1; put the environment '
            "right first",
        ),
        (
            "[image]\ntag = 'v1'",
            {"GHOSTPEN_IMAGE_DIGEST": "sha256:" + "0" * 64},
            "GHOSTPEN_IMAGE_DIGEST: image.tag and image.digest are both set, and only one of them can be; put the "
            "environment right first",
        ),
        ("[aws", {}, "{file}: is not valid TOML: "),
    ],
)
def test_what_no_answer_puts_right_is_said_before_anything_is_asked(
    tmp_path: Path, text: str, environ: dict[str, str], message: str
) -> None:
    file = tmp_path / "deploy.toml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        read_known(file, environ)
    assert caught.value.message.startswith(message.format(file=file))


def test_document_holds_the_questions_as_the_settings_have_them() -> None:
    path = ROOT / "docs/questions.md"
    text = path.read_text(encoding="utf-8")
    part = render_markdown([*QUESTIONS.values(), *list_github_questions().values()])
    assert render_document(text, part, where=str(path)) == text, (
        "docs/questions.md is not what the settings say: run `ghostpen ask --markdown docs/questions.md`"
    )


def test_document_is_changed_between_its_marks_only(tmp_path: Path) -> None:
    path = tmp_path / "questions.md"
    path.write_text(f"before\n{BEGIN_MARK}\nstale\n{END_MARK}\nafter\n", encoding="utf-8")
    update_document(path)

    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN_MARK}\n\n### `aws.region`\n- **What for:** The region of all the rest.\n")
    assert text.endswith(f"\n\n{END_MARK}\nafter\n")
    assert "stale" not in text
    assert max(map(len, text.splitlines())) <= 120
    update_document(path)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["", BEGIN_MARK, f"{END_MARK}{BEGIN_MARK}", f"{BEGIN_MARK}{BEGIN_MARK}{END_MARK}"])
def test_document_without_its_marks_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "questions.md"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="does not hold the lines"):
        update_document(path)
    assert path.read_text(encoding="utf-8") == text


def test_every_question_has_what_a_person_needs() -> None:
    questions: list[Question] = [*QUESTIONS.values(), *list_github_questions().values()]
    assert [question.key for question in questions if not (question.what_for and question.find)] == []
