"""The document AWS-RunShellScript: its parameters, and what it makes of wrong ones."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tests.stand_ins.aws.api import ApiError

DOCUMENT = "AWS-RunShellScript"
DEFAULT_EXECUTION_TIMEOUT_S = 3600  # also in place of one that is out of range, without a word
LONGEST_EXECUTION_TIMEOUT_S = 172800
MAX_COMMAND_BYTES = 65536
PARAMETERS = {"commands", "workingDirectory", "executionTimeout"}


@dataclass(frozen=True)
class ShellCommand:
    """What AWS-RunShellScript is told."""

    script: str
    timeout_s: float


def read_shell_command(parameters: Mapping[str, list[str]]) -> ShellCommand:
    """Read what SendCommand was given for it.

    Raises:
        ApiError: a parameter that the document does not have, no command, or too long a one.
    """
    if unknown := set(parameters) - PARAMETERS:
        raise ApiError("InvalidParameters", f"document {DOCUMENT} does not support parameters {sorted(unknown)}")
    if not parameters.get("commands"):
        raise ApiError("InvalidParameters", f"document {DOCUMENT} needs the parameter commands")
    if len(json.dumps(dict(parameters)).encode()) > MAX_COMMAND_BYTES:
        raise ApiError("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")
    script = "\n".join(parameters["commands"]) + "\n"
    if folders := parameters.get("workingDirectory"):
        script = f"cd {shlex.quote(folders[0])} || exit 1\n{script}"
    timeout_text = parameters.get("executionTimeout", [str(DEFAULT_EXECUTION_TIMEOUT_S)])[0]
    timeout_s = int(timeout_text) if timeout_text.isdecimal() else 0
    if not 5 <= timeout_s <= LONGEST_EXECUTION_TIMEOUT_S:
        timeout_s = DEFAULT_EXECUTION_TIMEOUT_S
    return ShellCommand(script, timeout_s)
