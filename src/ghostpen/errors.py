"""The errors that ghostpen raises, and the exit code of each.

Drawn here once::

    GhostpenError               2    something the person at the keyboard can put right
    ├── ConfigError             2    unknown key, wrong type, missing setting
    ├── DataError               2    missing file, empty text, not UTF-8, too short
    ├── ModelError              2    not a gpt-oss, missing weights, adapter of another base
    ├── TargetError             2    LoRA targets that are not there, not attached or not trained
    ├── CloudError              2    no credentials, no such bucket or object, access denied
    │   ├── BundleExistsError   2    other files stand complete where these were to go
    │   └── BundleDamagedError  2    what S3 holds is not what was pushed
    ├── NothingCountedError     2    a perplexity over zero tokens
    ├── UnprovenError           2    a measure of style that means nothing for these texts
    ├── ExportError             2    no converter, no room on the disk, a folder that is not ours
    ├── CopyingError            3    the adapter writes text that it was trained on, more than it may
    ├── TrainingStopped         1    the loss became NaN or diverged
    ├── DeployError             1    a deployment came to a bad end; each has a word for programs, its `reason`
    │   ├── NoCapacityError            20    the group got no instance
    │   ├── InstanceNeverOnlineError   21    an instance that no command reaches
    │   ├── GpuSmokeError              22    no GPU, no CUDA in the image, too little memory
    │   ├── ImagePullError             23    the instance can't get the image
    │   ├── ContainerFailedError       24    the container left with an error
    │   ├── ContainerMemoryError       25    the container was killed for memory
    │   ├── MaxRuntimeError            26    the run took longer than it may
    │   ├── SpotInterruptionError      27    AWS took the instance back
    │   ├── ResultsMissingError        28    the container left well, and its results are not in S3
    │   ├── ShutdownNotConfirmedError  29    the group was not seen at 0: money may be running
    │   ├── ActiveRunError             30    another run holds the group
    │   ├── InstanceLostError          31    the instance was gone before the run was over
    │   └── StartFailedError           32    the command that starts the run failed on the instance
    ├── JobFailed               1    what `ghostpen run` started has failed; leaves with the exit code of that
    └── Interrupted           130    Ctrl-C; a checkpoint was written, a deployment let its GPU go
        └── Terminated        143    SIGTERM; the same

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

    def __init__(self, message: str, *, passing: bool = False) -> None:
        """Take whether the same call may go well later, with nothing changed: no answer, or too many calls."""
        self.passing = passing
        super().__init__(message)


class BundleExistsError(CloudError):
    """Say that other files stand complete in S3 where these were to go: nothing of them was overwritten."""


class BundleDamagedError(CloudError):
    """Say which object is missing, or is not what its bundle's manifest names."""


class NothingCountedError(GhostpenError):
    """Say that a perplexity was asked for over zero tokens or zero bytes."""


class UnprovenError(GhostpenError):
    """Say why a measure of style would mean nothing here; a report quotes it in the place of numbers."""


class ExportError(GhostpenError):
    """Say why a run can't be exported, or not into that folder."""


class CopyingError(GhostpenError):
    """Say how many words in a row were copied, from where, and which setting allows how many."""

    exit_code: ClassVar[int] = 3


class TrainingStopped(GhostpenError):
    """Say that training can't go on: the loss became NaN, or diverged."""

    exit_code: ClassVar[int] = 1


class DeployError(GhostpenError):
    """Say how a deployment came to a bad end; `reason` says it to programs."""

    exit_code: ClassVar[int] = 1
    reason: ClassVar[str] = "failed"


class NoCapacityError(DeployError):
    """Say that the group got no instance in time, in the words of the group's own activities."""

    exit_code: ClassVar[int] = 20
    reason: ClassVar[str] = "no-capacity"


class InstanceNeverOnlineError(DeployError):
    """Say that there is an instance, and its SSM agent takes no command."""

    exit_code: ClassVar[int] = 21
    reason: ClassVar[str] = "instance-never-online"


class GpuSmokeError(DeployError):
    """Say what the instance's GPU, or CUDA inside the image, can't do."""

    exit_code: ClassVar[int] = 22
    reason: ClassVar[str] = "gpu-smoke-failed"


class ImagePullError(DeployError):
    """Say that the instance can't get the image."""

    exit_code: ClassVar[int] = 23
    reason: ClassVar[str] = "image-pull-failed"


class ContainerFailedError(DeployError):
    """Say with which exit code the container left, and its last lines."""

    exit_code: ClassVar[int] = 24
    reason: ClassVar[str] = "container-failed"


class ContainerMemoryError(DeployError):
    """Say that the container was killed for memory."""

    exit_code: ClassVar[int] = 25
    reason: ClassVar[str] = "out-of-memory"


class MaxRuntimeError(DeployError):
    """Say that the run took longer than it may; its checkpoints are in S3."""

    exit_code: ClassVar[int] = 26
    reason: ClassVar[str] = "max-runtime"


class SpotInterruptionError(DeployError):
    """Say that AWS took the instance back; its checkpoints are in S3."""

    exit_code: ClassVar[int] = 27
    reason: ClassVar[str] = "spot-interruption"


class ResultsMissingError(DeployError):
    """Say which results are not in S3, or are not whole there."""

    exit_code: ClassVar[int] = 28
    reason: ClassVar[str] = "results-missing"


class ShutdownNotConfirmedError(DeployError):
    """Say that the group was not seen at 0 without an instance, and what to run by hand."""

    exit_code: ClassVar[int] = 29
    reason: ClassVar[str] = "shutdown-not-confirmed"


class ActiveRunError(DeployError):
    """Say which other run holds the group."""

    exit_code: ClassVar[int] = 30
    reason: ClassVar[str] = "active-run"


class InstanceLostError(DeployError):
    """Say that the instance was gone before the run was over, and nobody said why."""

    exit_code: ClassVar[int] = 31
    reason: ClassVar[str] = "instance-lost"


class StartFailedError(DeployError):
    """Say that the command that starts the run failed on the instance, and its last lines."""

    exit_code: ClassVar[int] = 32
    reason: ClassVar[str] = "start-failed"


class JobFailed(GhostpenError):
    """Say how the training or test that `ghostpen run` started has failed; its exit code is handed on."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Take the exit code of the process that failed."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # a class's elsewhere, an instance's here


class Interrupted(GhostpenError):
    """Say what Ctrl-C left behind: where the checkpoint lies and how to go on, or that the GPU was let go."""

    exit_code: ClassVar[int] = 130  # 128 + SIGINT, as shells report it


class Terminated(Interrupted):
    """Say the same for SIGTERM, which is how a container or an instance is told to end."""

    exit_code: ClassVar[int] = 143
