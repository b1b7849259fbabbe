"""The file: answers go in, comments and other values stay, and what can't be followed is written anew."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.aws.interview.deploy_file import render_file
from ghostpen.aws.interview.questions import list_questions, put_values
from ghostpen.aws.settings import DeployConfig

ROOT = Path(__file__).parents[4]
EXAMPLE = (ROOT / "configs/deploy.example.toml").read_text(encoding="utf-8")
ANSWERS: dict[str, Any] = {
    "aws.region": "eu-central-1",
    "aws.account_id": "012345678901",
    "group.name": "gpu",
    "image.repository": "ghostpen",
    "image.digest": "sha256:" + "0" * 64,
    "image.tag": None,
    "storage.uri": "s3://texts/austen",
    "secrets.path": "/ghostpen",
    "secrets.names": ["WANDB_API_KEY"],
    "logs.group": "/ghostpen",
    "limits.max_runtime_s": 3600,
}


def change(text: str, changes: dict[str, Any]) -> str:
    return render_file(text, changes, root=DeployConfig)


def test_new_file_has_sections_with_what_each_setting_is_for() -> None:
    assert change("", {"aws.region": "eu-central-1", "image.tag": "v1", "image.digest": None}) == (
        "[aws]\n"
        "# The region of all the rest.\n"
        'region = "eu-central-1"\n'
        "\n"
        "[image]\n"
        "# The image's tag; what it stands for when the deployment begins is what runs.\n"
        'tag = "v1"\n'
    )


def test_example_is_filled_in_where_it_waits_for_a_value() -> None:
    changed = change(EXAMPLE, ANSWERS).splitlines()
    before = EXAMPLE.splitlines()

    assert len(changed) == len(before)
    differing = [(old, new) for old, new in zip(before, changed, strict=True) if old != new]
    assert len(differing) == len(ANSWERS) - 1  # the tag has no value
    assert all(old.startswith("# ") and not new.startswith("#") for old, new in differing)
    assert 'region = "eu-central-1"      # of all the rest; your usual one: aws configure get region' in changed
    assert DeployConfig.model_validate(tomllib.loads("\n".join(changed))).group.name == "gpu"


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (
            '[aws]\nregion = "x#y"  # mine # still\n\n[logs]\ngroup = "g"\n',
            {"aws.region": "a", "aws.account_id": "1"},
            '[aws]\nregion = "a"  # mine # still\n# The account that must be in use: 12 digits, in quotes. Any other '
            'is refused.\naccount_id = "1"\n\n[logs]\ngroup = "g"\n',
        ),
        (
            '[image]\ntag = "a"  # b\ndigest = "c"\n',
            {"image.tag": None, "image.digest": "d"},
            '[image]\ndigest = "d"\n',
        ),
        (
            '[ secrets ]  # s\nnames = [\n  "A",  # first\n  "[B]",\n]\npath = "/p"',
            {"secrets.names": []},
            '[ secrets ]  # s\nnames = []\npath = "/p"',
        ),
        (
            "[limits]\n\n# all of it\n",
            {"limits.max_runtime_s": 60},
            "[limits]\n\n# all of it\n# Seconds that the container may run; then it is told to save and upload, and "
            "the GPU goes.\nmax_runtime_s = 60\n",
        ),
        ('[logs]\r\ngroup = "a"  # b\r\n', {"logs.group": "c"}, '[logs]\r\ngroup = "c"  # b\r\n'),
        ("# mine\n", {"logs.group": "c"}, None),
    ],
)
def test_line_of_a_setting_changes_and_others_stay(before: str, changes: dict[str, Any], after: str | None) -> None:
    if after is None:
        assert change(before, changes).startswith(before)
    else:
        assert change(before, changes) == after


@pytest.mark.parametrize(
    "text",
    [
        'aws = { region = "a", account_id = "1" }\n',
        'aws.region = "a"\naws.account_id = "1"\n',
        '["aws"]\nregion = "a"\naccount_id = "1"\n',
        '[aws]\n"region" = "a"\naccount_id = "1"\n',
    ],
)
def test_file_that_is_laid_out_otherwise_keeps_its_values(text: str) -> None:
    assert tomllib.loads(change(text, {"aws.region": "b", "logs.group": "g"})) == {
        "aws": {"region": "b", "account_id": "1"},
        "logs": {"group": "g"},
    }


@given(
    before=st.dictionaries(st.sampled_from(sorted(ANSWERS)), st.text(max_size=20).filter(str.isprintable)),
    changes=st.dictionaries(
        st.sampled_from([question.key for question in list_questions(DeployConfig)]),
        st.one_of(st.none(), st.integers(), st.text(max_size=20).filter(str.isprintable)),
    ),
    start=st.sampled_from(["", EXAMPLE, "\n[image] # x\n\n\n[timeouts]\npoll_s = 1.5"]),
)
def test_what_is_written_reads_as_what_was_meant(before: dict[str, Any], changes: dict[str, Any], start: str) -> None:
    first = change(start, before)
    assert tomllib.loads(first) == put_values(tomllib.loads(start), before)
    assert tomllib.loads(change(first, changes)) == put_values(tomllib.loads(first), changes)
