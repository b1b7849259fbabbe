"""Secrets of the environment, taken out of what is shown or kept. Must import the standard library only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

HIDDEN = "***"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
_SETTINGS = "GHOSTPEN_SECRETS_"  # of a deployment: where secrets lie and what they are called, no secret itself
_URL_LOGIN = re.compile(r"//[^/@\s]+@")
_SHORTEST_SECRET = 8  # shorter values are words that a text may hold for other reasons


def find_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """List the values of variables that are named like a secret, line by line: a text is shown in lines.

    The longest come first, so that one which is a part of another leaves nothing of it.
    """
    values = {
        line.strip()
        for name, value in environ.items()
        if _SECRET_NAME.search(name.removeprefix(_SETTINGS))
        for line in value.splitlines()
        if len(line.strip()) >= _SHORTEST_SECRET
    }
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def redact(text: str, secrets: Collection[str]) -> str:
    """Replace secrets, and the login of a URL, by ***."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _URL_LOGIN.sub(f"//{HIDDEN}@", text)
