from typing import Any

import pytest

from ghostpen.errors import ConfigError
from ghostpen.evaluation.run import check_comparable


def make_manifests(**changes: Any) -> dict[Any, dict[str, Any]]:
    settings = {
        "name": "austen",
        "data": {"dir": "data", "sequence_length": 64},
        "train": {"seed": 0},
        "tracking": {"tracker": "wandb"},
    }
    return {
        "control": {"data_sha256": "d", "config": settings | changes},
        "author": {"data_sha256": "d", "config": settings},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "other"},
        {"tracking": {"tracker": "none"}},
        {"output": {"dir": "elsewhere"}},
        {"storage": {"uri": "s3://elsewhere"}},
        {"data": {"dir": "elsewhere", "sequence_length": 64}},
        {"eval": {"topics": 1, "temperatures": [0.5], "max_copied_words": 20}},
    ],
)
def test_control_that_differs_in_name_tracking_place_or_test_compares(changes: dict[str, Any]) -> None:
    check_comparable(make_manifests(**changes), "d")


@pytest.mark.parametrize(
    "changes",
    [{"train": {"seed": 1}}, {"data": {"dir": "data", "sequence_length": 32}}, {"eval": {"max_val_bytes": 1}}],
)
def test_control_of_other_settings_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="with other settings than the author's"):
        check_comparable(make_manifests(**changes), "d")
