"""The last words of a deployment: what they say, and that they prove nothing that was not seen."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.stand_ins.scripted import NOON

from ghostpen.aws.follow import explain_end
from ghostpen.aws.handover import InstanceStatus
from ghostpen.aws.outcome import DeployOutcome, render_markdown, render_rows, render_terminal
from ghostpen.aws.results import Results
from ghostpen.errors import (
    CloudError,
    ContainerFailedError,
    DeployError,
    GpuSmokeError,
    Interrupted,
    ShutdownNotConfirmedError,
    Terminated,
)

GOOD = DeployOutcome(
    mode="train", run_id="emma", group="gpu", region="eu-central-1", run_uri="s3://texts/austen/runs/emma",
    instance_id="i-0a", instance_type="g6.2xlarge", zone="eu-central-1a", spot=True,
    phases=(("run", 1812.4), ("let go", 84.0)), billed_s=2221.7,
    results=Results(("runs/emma/results/author",), 44.123), tracker="https://wandb.ai/a/b/runs/emma",
    armed_at=NOON + timedelta(hours=2), emptied_at=NOON, settle_s=30,
)  # fmt: skip


def test_summary_of_a_good_end_has_everything_and_the_proof_last() -> None:
    assert render_terminal(GOOD).splitlines() == [
        "outcome     completed (exit code 0)",
        "run         emma",
        "instance    i-0a, g6.2xlarge spot in eu-central-1a",
        "seconds     run 1812, let go 84",
        "billed      about 2222 instance seconds",
        "perplexity  44.12 on the author's held-out text",
        "in S3       s3://texts/austen/runs/emma (https://eu-central-1.console.aws.amazon.com/s3/buckets/texts"
        "?prefix=austen/runs/emma/)",
        "curves      https://wandb.ai/a/b/runs/emma",
        "group       gpu: desired capacity 0, no instance (seen so from 12:00:00 UTC on, for 30 s)",
    ]


@pytest.mark.parametrize(
    ("error", "word", "code"),
    [
        (None, "completed", 0),
        (GpuSmokeError("no GPU"), "gpu-smoke-failed", 22),
        (CloudError("access denied"), "refused", 2),
        (Interrupted("cancelled"), "cancelled", 130),
        (Terminated("cancelled"), "cancelled", 143),
    ],
)
def test_outcome_has_a_word_and_a_code(error: Any, word: str, code: int) -> None:
    outcome = replace(GOOD, error=error)
    assert (outcome.word, outcome.exit_code) == (word, code)
    if error is not None:
        assert ("why", error.message) in render_rows(outcome)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"detached": True},
            "the run goes on by itself on i-0a and gives it back at its end, at the latest at 2026-11-24 14:00 UTC",
        ),
        (
            {"error": Terminated("x")},
            "desired capacity was set to 0; NOT WAITED FOR: `ghostpen down --group gpu --region eu-central-1`",
        ),
        (
            {"error": Terminated("x"), "instance_id": "", "raised": True},
            "desired capacity was set to 0; NOT WAITED FOR: `ghostpen down --group gpu --region eu-central-1`",
        ),
        ({"error": ShutdownNotConfirmedError("x")}, "NOT SEEN AT 0, a GPU may be running"),
        ({"error": ShutdownNotConfirmedError("x"), "instance_id": ""}, "NOT SEEN AT 0, a GPU may be running"),
        ({"error": CloudError("x"), "instance_id": ""}, "no instance was started, desired capacity was not raised"),
    ],
)
def test_last_line_says_only_what_was_seen(changes: dict[str, Any], said: str) -> None:
    heading, text = render_rows(replace(GOOD, emptied_at=None, **changes))[-1]
    assert heading == "group"
    assert said in text
    assert "no instance (seen" not in text


def test_markdown_is_a_table_that_no_text_breaks() -> None:
    outcome = replace(GOOD, error=ContainerFailedError("its last lines: a | <b> c"), notes=("a note",))
    text = render_markdown(outcome)

    assert text.startswith("### ❌ ghostpen train: container-failed\n\n| | |\n|---|---|\n")
    assert "| why | its last lines: a \\| &lt;b> c |" in text
    assert text.splitlines()[-2] == "| note | a note |"
    assert text.splitlines()[-1].startswith("| group | gpu: desired capacity 0")


def test_smoke_has_no_results_to_link() -> None:
    assert "in S3" not in dict(render_rows(replace(GOOD, mode="smoke")))


@pytest.mark.parametrize("reason", [error.reason for error in DeployError.__subclasses__()])
def test_last_word_of_the_instance_becomes_the_error_of_that_name(reason: str) -> None:
    by_instance = {
        "out-of-memory", "max-runtime", "spot-interruption", "image-pull-failed", "start-failed", "container-failed",
    }  # fmt: skip
    status = InstanceStatus(
        handover_id="1", instance_id="i-0a", phase="ended", reason=reason, container_exit_code=3,
        last_log_lines=("one", "two"),
    )  # fmt: skip
    error = explain_end(status)

    assert error is not None
    assert error.reason == (reason if reason in by_instance else "container-failed")


def test_container_that_left_with_an_error_shows_its_last_lines() -> None:
    lines = tuple(f"line {number}" for number in range(9))
    status = InstanceStatus(
        handover_id="1", instance_id="i-0a", phase="ended", reason="container-failed", container_exit_code=3,
        last_log_lines=lines,
    )  # fmt: skip
    error = explain_end(status)

    assert error is not None
    assert error.message == (
        "the container left with exit code 3; its last lines: line 4 | line 5 | line 6 | line 7 | line 8"
    )
