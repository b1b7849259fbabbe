"""How an attempt ended: in a line for people, and in a word for programs. Pure."""

from __future__ import annotations

from typing import Any

from ghostpen.container.child import Ended
from ghostpen.errors import CloudError, GhostpenError, Interrupted, JobFailed


def explain_end(ended: Ended, *, what: str) -> JobFailed:
    """Say why a child failed: in its own words, if it had any."""
    if ended.error:
        return JobFailed(f"{what}: {ended.error}", exit_code=ended.exit_code)
    if ended.signal_name == "SIGKILL":
        return JobFailed(
            f"{what} was killed (SIGKILL): most often the machine had no memory left; take a larger one, or lower "
            "train.batch_size or data.sequence_length. The same command and run id go on from the newest checkpoint",
            exit_code=ended.exit_code,
        )
    how = ended.signal_name or f"exit code {ended.exit_code}"
    return JobFailed(f"{what} ended with {how}; the log says more", exit_code=ended.exit_code)


def describe_outcome(failure: BaseException | None) -> dict[str, Any]:
    """Name how an attempt ended, for programs."""
    if failure is None:
        return {"outcome": "finished", "exit_code": 0, "reason": None}
    if not isinstance(failure, GhostpenError):
        return {"outcome": "failed", "exit_code": 1, "reason": f"{type(failure).__name__}: {failure}"}
    word = "failed"
    if isinstance(failure, Interrupted):
        word = "stopped"
    elif failure.exit_code == 137:
        word = "killed"
    return {"outcome": word, "exit_code": failure.exit_code, "reason": failure.message}


def extend_failure(failure: BaseException | None, problem: str) -> BaseException:
    """Say beside how it ended what is not in S3; where nothing else went wrong, that is the error."""
    if failure is None:
        return CloudError(problem)
    if isinstance(failure, JobFailed):
        return JobFailed(f"{failure.message}; {problem}", exit_code=failure.exit_code)
    return type(failure)(f"{failure.message}; {problem}") if isinstance(failure, GhostpenError) else failure
