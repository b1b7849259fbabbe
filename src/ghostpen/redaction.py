"""Secrets of the environment, taken out of what is shown or kept. Must import the standard library only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

HIDDEN = "***"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
_SETTINGS = "GHOSTPEN_SECRETS_"  # of a deployment: where secrets lie and what they are called, no secret itself
_NAMES = f"{_SETTINGS}NAMES"  # also in the container, for which they were taken out of the deployer's environment
_URL_LOGIN = re.compile(r"//[^/@\s]+@")
_SHORTEST_SECRET = 8  # shorter values are words that a text may hold for other reasons


def find_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List the values of secrets, line by line: a text is shown in lines.

    Secrets are the variables that are named like one, and those that the deployment's secrets.names names.
    The longest come first, so that one which is a part of another leaves nothing of it.
    """
    given = set(re.findall(r"\w+", environ.get(_NAMES, "")))
    values = {
        line.strip()
        for name, value in environ.items()
        if name in given or _SECRET_NAME.search(name.removeprefix(_SETTINGS))
        for line in value.splitlines()
        if len(line.strip()) >= _SHORTEST_SECRET
    }
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def redact(text: str, secrets: Collection[str]) -> str:
    """Replace secrets, and the login of a URL, by ***."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _URL_LOGIN.sub(f"//{HIDDEN}@", text)
