"""The verbs of a GPU in AWS: deploy, smoke, status, logs, down. What each does is `ghostpen.aws`' matter."""

import enum
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostpen.cli.front import app, describe_remote
from ghostpen.errors import ConfigError, GhostpenError

if TYPE_CHECKING:
    from ghostpen.aws.deployment import Tools
    from ghostpen.aws.facts import Request
    from ghostpen.aws.outcome import DeployOutcome
    from ghostpen.aws.settings import DeployConfig
    from ghostpen.config import RunConfig

DeployConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--deploy-config",
        metavar="FILE",
        help="Account, group, image, limits; configs/deploy.toml and GHOSTPEN_SECTION_KEY if left out.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one of these, such as limits.max_runtime_s=7200."),
]
GroupOption = Annotated[
    str | None, typer.Option("--group", metavar="NAME", help="With --region, all that is needed: no settings.")
]
RegionOption = Annotated[str | None, typer.Option("--region", metavar="REGION", help="Where the group is.")]

A_YEAR_S = 31_536_000  # longer than any run, and there is a date so far away: for inf there is none


class DeployMode(enum.Enum):
    """What the container does."""

    train = "train"
    test = "test"


@app.command()
def deploy(
    mode: Annotated[DeployMode, typer.Option(help="What to do on the GPU.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The run's settings; those of the last time if left out."),
    ] = None,
    deploy_config: DeployConfigOption = None,
    overrides: SetOption = None,
    run_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The run to begin or to go on with; the settings' name if left out."),
    ] = None,
    max_runtime_s: Annotated[
        int | None,
        typer.Option(
            "--max-runtime", min=60, max=A_YEAR_S, metavar="SECONDS", help="In place of limits.max_runtime_s."
        ),
    ] = None,
    follow_for_s: Annotated[
        float | None,
        typer.Option(
            "--follow-for", min=0, max=A_YEAR_S, metavar="SECONDS", help="Then leave; the run goes on by itself."
        ),
    ] = None,
    control: Annotated[bool, typer.Option(help="Train the control, too, which a test needs.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at everything, print the plan, do nothing.")
    ] = False,
) -> None:
    """Start a GPU, train or test on it, bring everything home, and end at desired capacity 0."""
    from ghostpen.aws.facts import Request
    from ghostpen.aws.secrets import collect_values
    from ghostpen.config import check_run_id, parse_run_config
    from ghostpen.container.job import PLACES

    settings = _load_settings(deploy_config, overrides)
    content = _read_file(config) if config is not None else None
    run_config = parse_run_config(content, PLACES, where=str(config)) if content is not None else None
    if run_id is None and run_config is None:
        raise ConfigError("name the run: with --config FILE a new one, with --run-id ID one that was deployed before")
    request = Request(
        mode=mode.value,
        run_id=check_run_id(run_id or (run_config.name if run_config else "")),
        run_config=content,
        run_grace_s=run_config.storage.grace_s if run_config else None,
        control=control,
        max_runtime_s=max_runtime_s,
        follow_for_s=follow_for_s,
        need_gb=_find_need_gb(settings, run_config),
        secrets=collect_values(settings.secrets.names, os.environ),
    )
    _deploy(settings, request, tracker=_describe_tracker(run_config, request, os.environ), dry_run=dry_run)


@app.command()
def smoke(
    deploy_config: DeployConfigOption = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at everything, print the plan, do nothing.")
    ] = False,
) -> None:
    """Start a GPU, test it from the host and inside the image, and end at desired capacity 0."""
    from ghostpen.aws.facts import Request

    settings = _load_settings(deploy_config, overrides)
    request = Request(
        mode="smoke",
        run_id=f"smoke-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        need_gb=settings.limits.gpu_memory_gb or 0.0,
    )
    _deploy(settings, request, tracker="", dry_run=dry_run)


@app.command()
def status(
    group: GroupOption = None,
    region: RegionOption = None,
    deploy_config: DeployConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show the group, its instance, which run holds it and how far that is."""
    from ghostpen.aws.clients import make_clients
    from ghostpen.aws.fleet import Fleet
    from ghostpen.aws.overview import read_overview, render_overview
    from ghostpen.aws.s3 import ObjectStore, parse_location

    name, where, settings = _find_group(group, region, deploy_config, overrides)
    clients = make_clients(where)
    store = ObjectStore(clients.s3, parse_location(settings.storage.uri)) if settings else None
    overview = read_overview(Fleet(clients.autoscaling, name), clients.ec2, store=store)
    typer.echo("\n".join(render_overview(overview, now=datetime.now(UTC))))


@app.command()
def logs(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN_ID", help="The run; the one that holds the group if left out.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run is over.")] = False,
    deploy_config: DeployConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show what a run's container has written, from its beginning."""
    from ghostpen.aws.clients import make_clients
    from ghostpen.aws.fleet import Fleet
    from ghostpen.aws.logs import LogReader
    from ghostpen.aws.overview import find_run, follow_logs
    from ghostpen.aws.s3 import ObjectStore, parse_location
    from ghostpen.aws.waiting import Waiting
    from ghostpen.redaction import find_secrets, redact

    settings = _load_settings(deploy_config, overrides)
    clients = make_clients(settings.aws.region)
    fleet = Fleet(clients.autoscaling, settings.group.name)
    chosen = run_id or find_run(fleet)
    reader = LogReader(clients.logs, settings.logs.group, chosen)
    secrets = find_secrets(os.environ)

    def show(line: str) -> None:
        typer.echo(redact(line, secrets))

    if follow:
        store = ObjectStore(clients.s3, parse_location(settings.storage.uri))
        follow_logs(reader, Waiting(settings.timeouts.poll_s), fleet, store, run_id=chosen, show=show)
        return
    while lines := reader.read_new():
        for line in lines:
            show(line)


@app.command()
def down(
    group: GroupOption = None,
    region: RegionOption = None,
    run_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Only if this run holds the group; else it is left alone.")
    ] = None,
    deploy_config: DeployConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """End whatever is on the group, see it at desired capacity 0 without an instance, and free it."""
    from ghostpen.aws.clients import make_clients
    from ghostpen.aws.down import take_down
    from ghostpen.aws.fleet import Fleet
    from ghostpen.aws.settings import TimeoutsConfig
    from ghostpen.aws.waiting import Waiting

    name, where, settings = _find_group(group, region, deploy_config, overrides)
    clients, waits = make_clients(where), settings.timeouts if settings else TimeoutsConfig()
    outcome = take_down(
        Fleet(clients.autoscaling, name), Waiting(waits.poll_s), waits=waits, report=_make_report({}), run_id=run_id,
        ssm=clients.ssm, secrets=settings.secrets if settings else None,
    )  # fmt: skip
    for note in outcome.notes:
        typer.echo(note)
    if outcome.emptied_at is not None:
        freed = f"; freed of run {', '.join(outcome.run_ids)}" if outcome.run_ids else ""
        typer.echo(
            f"{name}: desired capacity 0, no instance (seen so from {outcome.emptied_at:%H:%M:%S} UTC on){freed}"
        )


def _deploy(settings: "DeployConfig", request: "Request", *, tracker: str, dry_run: bool) -> None:
    """Look, plan, and execute or print."""
    from dataclasses import replace

    from ghostpen.aws.deployment import execute_deploy, prepare_deploy
    from ghostpen.aws.plan import render_plan

    request = replace(request, tracker=tracker)
    tools = _make_tools(settings, request.secrets)
    _write_github("GITHUB_OUTPUT", f"run_id={request.run_id}\n")
    plan = prepare_deploy(settings, request, tools=tools)
    if dry_run:
        typer.echo("\n".join(render_plan(plan, settings, request)))
        return
    _write_github("GITHUB_OUTPUT", "begun=true\n")  # without it nothing was changed, and nothing is to be ended
    outcome = execute_deploy(plan, settings, request, tools=tools)
    _tell(outcome)
    if outcome.error is not None:
        raise outcome.error


def _tell(outcome: "DeployOutcome") -> None:
    from ghostpen.aws.outcome import render_markdown, render_terminal

    typer.echo(render_terminal(outcome))
    detached = str(outcome.detached).lower()
    _write_github("GITHUB_OUTPUT", f"outcome={outcome.word}\ndetached={detached}\n")
    _write_github("GITHUB_STEP_SUMMARY", render_markdown(outcome))


def _write_github(variable: str, text: str) -> None:
    """Append to a file that GitHub reads; not being able to must not hide how the deployment went."""
    path = os.environ.get(variable)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        typer.echo(f"{variable}: {error.strerror}", err=True)


def _make_tools(settings: "DeployConfig", secrets: Mapping[str, str]) -> "Tools":
    from ghostpen.aws.clients import make_clients
    from ghostpen.aws.deployment import Tools

    report = _make_report(secrets)
    return Tools(
        clients=make_clients(settings.aws.region),
        hurried=make_clients(settings.aws.region, hurried=True),
        report=report,
        show_log=lambda line: report(f"| {line}"),
    )


def _make_report(secrets: Mapping[str, str]) -> Callable[[str], None]:
    """Make what tells a person what happens, with the seconds since the beginning, and no secret."""
    from ghostpen.redaction import find_secrets, redact

    known = {value for value in secrets.values() if len(value) >= 6}  # shorter ones are words, too
    hidden = sorted(known | set(find_secrets(os.environ)), key=len, reverse=True)
    start_s = time.monotonic()

    def report(text: str) -> None:
        typer.echo(f"{time.monotonic() - start_s:6.0f} s  {redact(text, hidden)}")
        sys.stdout.flush()  # a job's log is a pipe

    return report


def _load_settings(path: Path | None, overrides: list[str] | None) -> "DeployConfig":
    from ghostpen.aws.settings import load_deploy_config

    return load_deploy_config(path, overrides or (), environ=os.environ)


def _find_group(
    group: str | None, region: str | None, path: Path | None, overrides: list[str] | None
) -> "tuple[str, str, DeployConfig | None]":
    """Find the group's name and region: as given, or from the settings."""
    if group and region and path is None and not overrides:
        return group, region, None
    if bool(group) != bool(region):
        raise ConfigError("--group and --region go together: name both, or neither and take the settings'")
    settings = _load_settings(path, overrides)
    return group or settings.group.name, region or settings.aws.region, settings


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config file; configs/ holds examples") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder; name a TOML file in it") from error


def _find_need_gb(settings: "DeployConfig", run_config: "RunConfig | None") -> float:
    """Take the GPU memory that the run needs from the settings, or else estimate it as `ghostpen inspect` does."""
    if settings.limits.gpu_memory_gb is not None:
        return settings.limits.gpu_memory_gb
    if run_config is None or not run_config.model.require_gpu:
        return 0.0
    name = run_config.model.name
    try:
        from ghostpen.model.inspection import inspect_model

        with describe_remote(name) as description:
            return inspect_model(name, run_config, description=description).memory.total / 1e9
    except (GhostpenError, ImportError) as error:
        typer.echo(f"GPU memory is not checked: {error}; set limits.gpu_memory_gb", err=True)
        return 0.0


def _describe_tracker(run_config: "RunConfig | None", request: "Request", environ: Mapping[str, str]) -> str:
    """Say where the run's curves will be; "" where they go nowhere."""
    if run_config is None or run_config.tracking.tracker != "wandb" or "WANDB_API_KEY" not in request.secrets:
        return ""
    project, entity = run_config.tracking.wandb_project, environ.get("WANDB_ENTITY")
    if entity:
        return f"https://wandb.ai/{entity}/{project}/runs/{request.run_id}"
    return f"Weights & Biases, project {project}, run {request.run_id}, in the account of WANDB_API_KEY"
