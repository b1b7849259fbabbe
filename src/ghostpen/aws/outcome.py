"""What a person is told at the end: how it went, where everything is, and that the GPU is gone.

Pure: rendered for a terminal and as Markdown for GitHub's summary of a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ghostpen.aws.handover import Mode
from ghostpen.aws.results import Results
from ghostpen.errors import DeployError, GhostpenError, Interrupted


@dataclass(frozen=True)
class DeployOutcome:
    """How a deployment ended."""

    mode: Mode
    run_id: str
    group: str
    region: str
    run_uri: str  # s3://BUCKET/PREFIX/runs/RUN_ID
    error: GhostpenError | None = None
    detached: bool = False
    instance_id: str = ""
    instance_type: str = ""
    zone: str = ""
    raised: bool = False  # desired 1 may have been sent
    spot: bool = False
    phases: tuple[tuple[str, float], ...] = ()  # seconds in each
    billed_s: float | None = None  # from the launch until the group was seen empty
    results: Results | None = None
    tracker: str = ""
    armed_at: datetime | None = None
    emptied_at: datetime | None = None
    held_by: str = ""  # another deployment, which had the group before this one let it go
    settle_s: float = 0
    notes: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """Give the outcome as a word for programs."""
        match self.error:
            case None:
                return "detached" if self.detached else "completed"
            case Interrupted():
                return "cancelled"
            case DeployError():
                return self.error.reason
            case _:
                return "refused"

    @property
    def exit_code(self) -> int:
        """Give the exit code to leave with."""
        return 0 if self.error is None else self.error.exit_code


def render_rows(outcome: DeployOutcome) -> list[tuple[str, str]]:
    """List what there is to say, each with its heading; the last says where the group stands."""
    rows = [("outcome", f"{outcome.word} (exit code {outcome.exit_code})"), ("run", outcome.run_id)]
    if outcome.error is not None:
        rows.append(("why", outcome.error.message))
    if outcome.instance_id:
        market = " spot" if outcome.spot else ""
        kind, zone = outcome.instance_type or "type not known", outcome.zone or "zone not known"
        described = f"{outcome.instance_id}, {kind}{market} in {zone}"
        rows.append(("instance", described))
    if outcome.phases:
        rows.append(("seconds", ", ".join(f"{name} {seconds:.0f}" for name, seconds in outcome.phases)))
    if outcome.billed_s is not None:
        rows.append(("billed", f"about {outcome.billed_s:.0f} instance seconds"))
    if outcome.results is not None:
        if outcome.results.perplexity is not None:
            rows.append(("perplexity", f"{outcome.results.perplexity:.2f} on the author's held-out text"))
        if outcome.results.verdict:
            rows.append(("verdict", outcome.results.verdict))
    if outcome.mode != "smoke":
        rows.append(("in S3", f"{outcome.run_uri} ({_link_console(outcome)})"))
    if outcome.tracker:
        rows.append(("curves", outcome.tracker))
    rows += [("note", note) for note in outcome.notes]
    return [*rows, ("group", _describe_group(outcome))]


def render_terminal(outcome: DeployOutcome) -> str:
    """Render for a terminal, without the error: that is printed after it, as every error is."""
    rows = [(heading, text) for heading, text in render_rows(outcome) if heading != "why"]
    width = max(len(heading) for heading, _ in rows)
    return "\n".join(f"{heading.ljust(width)}  {text}" for heading, text in rows)


def render_markdown(outcome: DeployOutcome) -> str:
    """Render for $GITHUB_STEP_SUMMARY."""
    mark = "✅" if outcome.exit_code == 0 else "❌"
    lines = [f"### {mark} ghostpen {outcome.mode}: {outcome.word}", "", "| | |", "|---|---|"]
    cells = [(heading, text.replace("|", "\\|").replace("<", "&lt;")) for heading, text in render_rows(outcome)]
    return "\n".join([*lines, *(f"| {heading} | {text} |" for heading, text in cells)]) + "\n"


def _describe_group(outcome: DeployOutcome) -> str:
    """Say whether a GPU may be running: only what was seen counts as proof."""
    down = f"`ghostpen down --group {outcome.group} --region {outcome.region}`"
    if outcome.emptied_at is not None:
        return (
            f"{outcome.group}: desired capacity 0, no instance (seen so from {outcome.emptied_at:%H:%M:%S} UTC on, "
            f"for {outcome.settle_s:.0f} s)"
        )
    if outcome.held_by:
        return f"{outcome.group}: held by another deployment, of run {outcome.held_by}, by now; left alone"
    if outcome.detached:
        end = f", at the latest at {outcome.armed_at:%Y-%m-%d %H:%M} UTC" if outcome.armed_at else ""
        return (
            f"{outcome.group}: the run goes on by itself on {outcome.instance_id} and gives it back at its end{end}; "
            f"follow it with `ghostpen logs --follow` and `ghostpen status`, end it with {down}"
        )
    if not (outcome.instance_id or outcome.raised) and outcome.word != "shutdown-not-confirmed":
        return f"{outcome.group}: no instance was started, desired capacity was not raised"
    if outcome.word == "cancelled":
        return f"{outcome.group}: desired capacity was set to 0; NOT WAITED FOR: {down} sees the instance out"
    return f"{outcome.group}: NOT SEEN AT 0, a GPU may be running: {down}"


def _link_console(outcome: DeployOutcome) -> str:
    bucket, _, prefix = outcome.run_uri.removeprefix("s3://").partition("/")
    return f"https://{outcome.region}.console.aws.amazon.com/s3/buckets/{bucket}?prefix={prefix}/"
