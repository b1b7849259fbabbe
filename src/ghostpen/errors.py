"""The errors that ghostpen raises, and the exit code of each.

Drawn here once::

    GhostpenError               2    something the person at the keyboard can put right
    ├── ConfigError             2    unknown key, wrong type, missing setting
    ├── DataError               2    missing file, empty text, not UTF-8, too short
    ├── ModelError              2    not a gpt-oss, missing weights, adapter of another base
    ├── TargetError             2    LoRA targets that are not there, not attached or not trained
    ├── CloudError              2    no credentials, no such bucket or object, access denied
    │   └── BundleExistsError   2    other files stand complete where these were to go
    ├── NothingCountedError     2    a perplexity over zero tokens
    ├── ExportError             2    no converter, no room on the disk, a folder that is not ours
    ├── TrainingStopped         1    the loss became NaN or diverged
    └── Interrupted           130    Ctrl-C; a checkpoint was written
        └── Terminated        143    SIGTERM; a checkpoint was written

Every message is one line that says what is wrong, where, and what to do. An error is raised once and
printed once, by ``cli.py``; nobody logs it in between.
"""

from typing import ClassVar


class GhostpenError(Exception):
    """Carry one line of text to the person at the keyboard, and the exit code to leave with."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str) -> None:
        """Keep the message on one line: line breaks and runs of blanks become one blank."""
        self.message = " ".join(message.split())
        super().__init__(self.message)


class ConfigError(GhostpenError):
    """Say which key of which file is unknown, missing or wrong, and what to write there."""


class DataError(GhostpenError):
    """Say which text can't be used (file:line where there is one), and why."""


class ModelError(GhostpenError):
    """Say why a model or an adapter can't be loaded."""


class TargetError(GhostpenError):
    """Say which LoRA targets were asked for but are not there, not attached or not trained."""


class CloudError(GhostpenError):
    """Say what the cloud refused or did not have, and which right, name or setting would change that."""


class BundleExistsError(CloudError):
    """Say that other files stand complete in S3 where these were to go: nothing of them was overwritten."""


class NothingCountedError(GhostpenError):
    """Say that a perplexity was asked for over zero tokens or zero bytes."""


class ExportError(GhostpenError):
    """Say why a run can't be exported, or not into that folder."""


class TrainingStopped(GhostpenError):
    """Say that training can't go on: the loss became NaN, or diverged."""

    exit_code: ClassVar[int] = 1


class Interrupted(GhostpenError):
    """Say where the checkpoint lies that was written on Ctrl-C, and how to go on from it."""

    exit_code: ClassVar[int] = 130  # 128 + SIGINT, as shells report it


class Terminated(Interrupted):
    """Say the same for SIGTERM, which is how a container or an instance is told to end."""

    exit_code: ClassVar[int] = 143
