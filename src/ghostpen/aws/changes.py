"""Which settings a deployment asks for that differ from those its run was deployed with. Pure.

What counts is what a resumed training compares: `ghostpen.config.select_decisive`.
"""

from __future__ import annotations

import json
from typing import Any

from ghostpen.config import parse_run_config, select_decisive
from ghostpen.errors import ConfigError

_NAMED = 5  # another profile differs in twenty


def list_changes(deployed: bytes, wanted: bytes) -> tuple[str, ...]:
    """Name the decisive settings of two run.toml that differ, each with both values; all others may.

    What this version can't read differs as a whole, unless both are the same file.
    """
    if deployed == wanted:
        return ()
    try:
        then, now = _read_decisive(deployed, where="then"), _read_decisive(wanted, where="now")
    except ConfigError as error:
        return (f"can't be compared: {error.message}",)
    changed = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    more = (f"{len(changed) - _NAMED} more",) if len(changed) > _NAMED else ()
    named = (f"{key} was {json.dumps(then.get(key))}, now {json.dumps(now.get(key))}" for key in changed[:_NAMED])
    return (*named, *more)


def _read_decisive(content: bytes, *, where: str) -> dict[str, Any]:
    """Read what decides a result, by section.key."""
    # Where the texts lie is the container's own matter, and so may be left out.
    config = parse_run_config(content, ["data.dir=."], where=where)
    decisive = select_decisive(config.model_dump(mode="json"))
    return {
        f"{section}.{key}" if key else section: value
        for section, values in decisive.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", values)])
    }
