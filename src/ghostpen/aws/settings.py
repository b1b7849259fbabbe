"""A deployment's settings: whose account, which group and image, how long, where to.

Owns their names, limits and texts, and how late each guard fires. Nothing about the owner's account has a default:
what is missing is asked for by name. Never enters the container, and holds no secret: only the secrets' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from ghostpen.errors import ConfigError
from ghostpen.settings import Root, Section, apply_overrides, build_settings, list_settings, read_toml

DEFAULT_FILE = Path("configs/deploy.toml")
EXAMPLE_FILE = Path("configs/deploy.example.toml")
ENVIRONMENT_PREFIX = "GHOSTPEN_"
SHOW_ACCOUNT = "aws sts get-caller-identity --query Account"
LIST_REPOSITORIES = "aws ecr describe-repositories --query 'repositories[].repositoryName'"

SecretName = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]


def declare(
    description: str,
    *,
    find: str,
    look_up: str = "",
    proposal: str = "{}",
    write: str = "",
    pattern: str | None = None,
    example: str = "",
    default: Any = ...,
    instead: str = "",
    variable: str = "",
) -> Any:
    """Declare a setting that only the owner knows: what it is for, and how to find its value.

    Args:
        find: shown to people; {} in it is the command.
        look_up: a command whose answer holds values; {section.key} in it is another setting's value.
        proposal: what one of them makes of the setting. write: which characters it takes.
        instead: the key of the setting that may be set in place of this one; one of both is needed.
        variable: of GitHub, which the workflows read it from beside GHOSTPEN_SECTION_KEY.
    """
    command = re.sub(r"\{\w+\.(\w+)\}", lambda match: match[1].upper(), look_up)
    extra: dict[str, Any] = {
        "find": find.replace("{}", f"`{command}`"),
        "look_up": look_up,
        "proposal": proposal,
        "write": write,
        "example": example,
        "instead": instead,
        "variable": variable,
    }
    return Field(default=default, description=description, pattern=pattern, json_schema_extra=extra)


class AccountConfig(Section):
    """Say where in AWS."""

    region: str = declare(
        "The region of all the rest.",
        find="{} shows your usual one.",
        look_up="aws configure get region",
        variable="AWS_REGION",
        pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$",
        write="write a region such as eu-central-1",
    )
    account_id: str = declare(
        "The account that must be in use: 12 digits, in quotes. Any other is refused.",
        find="{}.",
        look_up=SHOW_ACCOUNT,
        pattern=r"^\d{12}$",
        write="write its 12 digits, in quotes",
    )


class GroupConfig(Section):
    """Say which Auto Scaling group the GPU comes from."""

    name: str = declare(
        "The Auto Scaling group that is at 0 and may go to 1.",
        find="{}.",
        look_up="aws autoscaling describe-auto-scaling-groups --query 'AutoScalingGroups[].AutoScalingGroupName'",
        pattern=r"^[A-Za-z0-9._/-]{1,255}$",
        write="use letters, digits and . _ / -",
    )


class ImageConfig(Section):
    """Say which image runs: tag or digest, one of them."""

    repository: str = declare(
        "The ECR repository that holds the image: its name, without the registry.",
        find="{}.",
        look_up=LIST_REPOSITORIES,
        variable="ECR_REPOSITORY",
        pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$",
        write="write the repository's name alone, such as team/ghostpen",
    )
    tag: str | None = declare(
        "The image's tag; what it stands for when the deployment begins is what runs.",
        find="A release's tag is its commit; {} lists what is there, the newest first.",
        look_up=(
            "aws ecr describe-images --repository-name {image.repository} "
            "--query 'reverse(sort_by(imageDetails,&imagePushedAt))[].imageTags[]'"
        ),
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$",
        write="it is no tag of an image",
        default=None,
        instead="image.digest",
    )
    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="Or its digest, sha256:...",
        json_schema_extra={"write": "write sha256: and 64 hexadecimal digits"},
    )

    @model_validator(mode="after")
    def _check_one(self) -> ImageConfig:
        if (self.tag is None) == (self.digest is None):
            raise ValueError(
                "image.tag and image.digest: set exactly one of them, which says what runs. `aws ecr describe-images "
                "--repository-name NAME --query 'imageDetails[].[imageTags,imageDigest]'` lists what is there"
            )
        return self


class StorageConfig(Section):
    """Say where data and results are."""

    uri: str = declare(
        "Where data/ is read from and runs/ is written to.",
        find="{} lists your buckets; `ghostpen data push` puts the data below it.",
        look_up="aws s3api list-buckets --query 'Buckets[].Name'",
        proposal="s3://{}",
        # Two slashes, or a part of dots alone, mean one place here and another one to the instance's tools.
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\.*[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*/?$",
        write="write s3://BUCKET/PREFIX, with single slashes",
    )


class SecretsConfig(Section):
    """Say which variables of the environment are handed to the container, and where they stand until it has them."""

    path: str = declare(
        "Parameter Store path under which secrets wait for the instance; its role may read it.",
        find="The template infra/ghostpen.yaml has it as an output; else choose one, such as /ghostpen.",
        pattern=r"^(/[A-Za-z0-9._-]+)+$",
        write="write /NAME or /NAME/NAME, without a slash at its end",
    )
    names: Annotated[tuple[SecretName, ...], Field(strict=False)] = declare(
        "Variables of your environment that the container needs; their values are taken from there.",
        find="WANDB_API_KEY is for Weights & Biases; without it a run's curves stay in its folder.",
        write="use A-Z, 0-9 and _",
        example='a list of names, such as ["WANDB_API_KEY"]',
        default=(),
    )


class LogsConfig(Section):
    """Say where the container's output goes while it runs."""

    group: str = declare(
        "The CloudWatch log group that the container's output goes to.",
        find="{}.",
        look_up="aws logs describe-log-groups --query 'logGroups[].logGroupName'",
        pattern=r"^[A-Za-z0-9._/#-]{1,512}$",
        write="use letters, digits and . _ / # -",
    )


class LimitsConfig(Section):
    """Say what a run may cost at most, in time."""

    max_runtime_s: int = Field(
        ge=60,
        le=31_536_000,  # a year: there is a date so far away
        description="Seconds that the container may run; then it is told to save and upload, and the GPU goes.",
        json_schema_extra={
            "find": "Price per hour times this is what a run may cost; `ghostpen status` shows a run's age.",
        },
    )
    gpu_memory_gb: float | None = Field(
        default=None,
        gt=0,
        description="Free GPU memory (GB) that the smoke test asks for. None is the estimate of `ghostpen inspect`, "
        "where --config and the training packages are there, and else nothing.",
    )


class TimeoutsConfig(Section):
    """Say how long each wait may take, in seconds."""

    capacity_s: int = Field(default=900, ge=1, description="Until the group has an instance.")
    online_s: int = Field(default=600, ge=1, description="From then until its SSM agent answers.")
    smoke_s: int = Field(default=1800, ge=5, le=172_800, description="Of the GPU smoke test, image pull included.")
    start_s: int = Field(default=300, ge=5, le=172_800, description="Of the command that starts the run.")
    terminate_s: int = Field(default=600, ge=1, description="Until the group is seen at 0 without an instance.")
    settle_s: int = Field(default=30, ge=0, description="How long the group must be seen so.")
    poll_s: float = Field(default=10, gt=0, description="Between two looks.")
    grace_s: int = Field(default=120, ge=1, description="From SIGTERM to the container's end, for the upload.")
    boot_allowance_s: int = Field(
        default=900, ge=0, description="For booting and pulling, beside the run, until the run's own timers count."
    )
    margin_s: int = Field(
        default=900, ge=0, description="From one guard to the next: container, instance's timer, scheduled action."
    )


class DeployConfig(Root):
    """Hold every setting of a deployment."""

    aws: AccountConfig
    group: GroupConfig
    image: ImageConfig
    storage: StorageConfig
    secrets: SecretsConfig
    logs: LogsConfig
    limits: LimitsConfig
    timeouts: TimeoutsConfig = TimeoutsConfig()

    @property
    def registry(self) -> str:
        """Give the host name of the account's registry."""
        domain = "amazonaws.com.cn" if self.aws.region.startswith("cn-") else "amazonaws.com"
        return f"{self.aws.account_id}.dkr.ecr.{self.aws.region}.{domain}"


@dataclass(frozen=True)
class Guards:
    """How late each layer ends a run, counted from when it is armed; each comes after the one before it.

    The smoke test's guards cover the whole start, because nothing else is armed yet if the deployment dies there.
    """

    container_s: int  # SIGTERM, then grace_s to save and upload
    timer_s: int  # the instance's own timer, armed when the run starts
    smoke_timer_s: int  # the same, armed by the smoke test before it
    action_s: int  # the group's scheduled action, put again when the run starts
    first_action_s: int  # the same, put before there is an instance

    def compute_action(self, now: datetime, *, first: bool) -> datetime:
        """Compute when the scheduled action has to fire; AWS keeps no fractions of a second."""
        seconds = self.first_action_s if first else self.action_s
        return (now + timedelta(seconds=seconds)).replace(microsecond=0)


def compute_guards(config: DeployConfig, *, max_runtime_s: int | None = None) -> Guards:
    """Compute the staggered ends from the settings."""
    waits = config.timeouts
    container_s = config.limits.max_runtime_s if max_runtime_s is None else max_runtime_s
    timer_s = container_s + waits.grace_s + waits.margin_s
    action_s = timer_s + waits.margin_s
    start_s = waits.smoke_s + waits.start_s
    return Guards(
        container_s=container_s,
        timer_s=timer_s,
        smoke_timer_s=start_s + timer_s,
        action_s=action_s,
        first_action_s=waits.capacity_s + waits.online_s + start_s + waits.boot_allowance_s + action_s,
    )


def load_deploy_config(
    path: Path | None = None, overrides: Sequence[str] = (), *, environ: Mapping[str, str]
) -> DeployConfig:
    """Read a deployment's settings: the file, then GHOSTPEN_SECTION_KEY of the environment, then the overrides.

    Args:
        path: None is configs/deploy.toml, which may be missing where the environment says all.

    Raises:
        ConfigError: the file can't be read, or settings are unknown, missing or wrong: one message for all of them.
    """
    where = DEFAULT_FILE if path is None else path
    values = {} if path is None and not where.is_file() else read_toml(where)
    sources = apply_environment(values, environ)
    apply_overrides(values, overrides, root=DeployConfig)
    try:
        return build_settings(DeployConfig, values, where=str(where), overrides=overrides, sources=sources)
    except ConfigError as error:
        if path is None and not where.is_file():
            advice = f"copy {EXAMPLE_FILE} to it and fill it in, or let `ghostpen ask` do it"
            raise ConfigError(f"{where} is not there; {advice}: {error}") from error
        raise


def name_variable(key: str) -> str:
    """Name the variable of the environment that a setting can come from."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "_")


def apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Put GHOSTPEN_SECTION_KEY of the environment over what was read from a file.

    Returns:
        The variable that each setting came from, by key.
    """
    sources = {key: name_variable(key) for key in list_settings(DeployConfig) if environ.get(name_variable(key))}
    for key, name in sources.items():
        apply_overrides(values, [f"{key}={environ[name]}"], root=DeployConfig)
    return sources
