"""Which settings of two run.toml differ, and how that is said."""

import pytest

from ghostpen.aws.changes import list_changes

DEPLOYED = b'name = "emma"\n[model]\nname = "embedded:tiny"\n[train]\nmax_steps = 100\n'


@pytest.mark.parametrize(
    ("added", "changes"),
    [
        (b"", ()),
        (b"# a remark\n", ()),
        (b'[tracking]\ntracker = "none"\n[output]\ndir = "elsewhere"\n', ()),
        (b'[data]\ndir = "elsewhere"\n', ()),
        (b"[lora]\nrank = 7\n", ("lora.rank was null, now 7",)),
    ],
)
def test_changes_are_those_that_decide_a_result(added: bytes, changes: tuple[str, ...]) -> None:
    assert list_changes(DEPLOYED, DEPLOYED + added) == changes


def test_changes_name_the_run_s_name_and_no_more_than_five() -> None:
    other = b'name = "other"\n[model]\nname = "b"\n[train]\nmax_steps = 2\nseed = 3\nlearning_rate = 0.5\n'
    other += b"[lora]\nrank = 7\nalpha = 9\n"
    changes = list_changes(DEPLOYED, other)

    assert len(changes) == 6
    assert changes[-1] == "2 more"
    assert 'model.name was "embedded:tiny", now "b"' in changes


def test_settings_of_another_version_differ_as_a_whole_unless_the_file_is_the_same() -> None:
    unknown = DEPLOYED + b"unheard_of = 1\n"

    assert list_changes(unknown, unknown) == ()
    (change,) = list_changes(unknown, DEPLOYED)
    assert change.startswith("can't be compared: then: train.unheard_of is not a setting")
