"""The template, rendered once."""

from typing import Any

import pytest
from tests.unit.infra.template import render

POLICIES = {"btr": "BtrPolicy", "deploy": "DeployPolicy", "instance": "InstancePolicy"}


@pytest.fixture(scope="session")
def stack() -> dict[str, Any]:
    """The template with the tests' parameters."""
    return render()


@pytest.fixture(scope="session")
def properties(stack: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each resource's properties, by its name in the template."""
    return {name: body.get("Properties", {}) for name, body in stack["Resources"].items()}


@pytest.fixture(scope="session")
def policies(properties: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The policy document of each role."""
    return {role: properties[name]["PolicyDocument"] for role, name in POLICIES.items()}


@pytest.fixture(scope="session")
def statements(policies: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The statements of each role's policy."""
    return {role: policy["Statement"] for role, policy in policies.items()}
