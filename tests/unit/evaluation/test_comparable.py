from typing import Any

import pytest

from ghostpen.errors import ConfigError
from ghostpen.evaluation.run import check_comparable


def make_manifests(**changes: Any) -> dict[Any, dict[str, Any]]:
    settings = {"name": "austen", "train": {"seed": 0}, "tracking": {"tracker": "wandb"}}
    return {
        "control": {"data_sha256": "d", "config": settings | changes},
        "author": {"data_sha256": "d", "config": settings},
    }


@pytest.mark.parametrize("changes", [{}, {"name": "other"}, {"tracking": {"tracker": "none"}}])
def test_control_whose_name_or_tracking_differs_compares(changes: dict[str, Any]) -> None:
    check_comparable(make_manifests(**changes), "d")


def test_control_of_other_settings_is_refused() -> None:
    with pytest.raises(ConfigError, match="with other settings than the author's"):
        check_comparable(make_manifests(train={"seed": 1}), "d")
