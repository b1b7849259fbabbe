"""deploy.yml before a simulated AWS account: act is GitHub, and everything from `ghostpen deploy` on is real."""

import runpy
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import Fault
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN, make_machines
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.world import Image, World
from tests.stand_ins.deploy_install import make_command
from tests.workflows.act import ROOT, Repository, Started, WorkflowRun, require_git

SECRET = "c0ffee5ec4e7" + "0123456789abcdef" * 2
PREFIX = "book"
# A wait of a real deployment takes minutes, one of these seconds.
QUICK_WAITS = {"POLL_S": "0.3", "SETTLE_S": "1", "TERMINATE_S": "60"}


@dataclass
class Stage:
    """A repository, an account with one group, and what the one has done to the other."""

    server: AwsServer
    repository: Repository
    bucket: str
    digest: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{PREFIX}"

    @property
    def left(self) -> list[str]:
        """Say what stands in the account that a deployment must not leave."""
        return self.server.simulator.list_leftovers()

    @property
    def variables(self) -> dict[str, str]:
        world = self.server.simulator.world
        return {
            "AWS_REGION": world.region,
            "AWS_DEPLOY_ROLE_ARN": f"arn:aws:iam::{world.account_id}:role/{world.deploy_role}",
            "ECR_REPOSITORY": "ghostpen",
            "GHOSTPEN_AWS_ACCOUNT_ID": world.account_id,
            "GHOSTPEN_GROUP_NAME": world.groups[0].name,
            "GHOSTPEN_STORAGE_URI": self.uri,
            "GHOSTPEN_SECRETS_PATH": "/ghostpen",
            "GHOSTPEN_SECRETS_NAMES": '["WANDB_API_KEY"]',
            "GHOSTPEN_LOGS_GROUP": world.log_groups[0],
            "GHOSTPEN_LIMITS_MAX_RUNTIME_S": "3600",
        }

    def start(self, **inputs: str) -> Started:
        """Start the workflow, as a person with these inputs does."""
        return self.repository.start(
            "deploy.yml",
            "workflow_dispatch",
            {"inputs": inputs},
            variables=self.variables,
            secrets={"WANDB_API_KEY": SECRET},
        )

    def dispatch(self, *, limit_s: float = 120, **inputs: str) -> WorkflowRun:
        """Start the workflow, and wait for its end."""
        return self.start(**inputs).finish(limit_s=limit_s)

    def write_config(self, name: str, text: str) -> str:
        """Put a run's settings into the repository, and the image of the new commit into the registry."""
        path = self.repository.checkout / "configs" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.release()
        return f"configs/{name}.toml"

    def release(self) -> None:
        """Commit what the checkout holds, as far as it is new, and do what btr.yml would."""
        images = self.server.simulator.world.repositories
        images["ghostpen"] = (Image(self.digest, (self.repository.make_commit(),)),)


@contextmanager
def open_stage(
    folder: Path,
    *,
    bucket: str,
    container_environment: dict[str, str],
    container: Sequence[str] = (),
    engine: Sequence[str] = (),
    digest: str = "sha256:" + "1" * 64,
    faults: Iterable[Fault] = (),
) -> Iterator[Stage]:
    """Set everything up.

    Args:
        container_environment: what the image sets. container: what a container runs in place of the image's program.
        engine: the client of a container engine that runs the image, in place of `container`. digest: of that image.
    """
    require_git()
    world = World(delays=QUICK_DELAYS, buckets=(bucket,))
    with (
        make_machines(command=container, container_environment=container_environment, engine=engine) as machines,
        AwsServer(machines, world=world, faults=Faults(faults, plan=QUICK_PLAN)).serve() as server,
    ):
        environment = {f"GHOSTPEN_TIMEOUTS_{name}": value for name, value in QUICK_WAITS.items()}
        environment["STAND_IN_ACCESS_KEY"] = server.make_environment("job")["AWS_ACCESS_KEY_ID"]
        stage = Stage(server, Repository(folder, aws=server.url, environment=environment), bucket, digest)
        install_small(stage.repository, folder / "installed")
        stage.release()
        try:
            yield stage
        finally:
            for started in stage.repository.started:
                started.lose()


def install_small(repository: Repository, folder: Path) -> None:
    """Let `scripts/install-deploy` install ghostpen with the packages that the real one takes, without an index."""
    tool = runpy.run_path(str(ROOT / "tools/deploy_requirements.py"))
    part = tool["compute_part"]((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    command = shlex.join(make_command(tool["read_packages"](part), folder, source=ROOT / "src"))
    script = f"""#!/bin/sh
set -eu
mkdir -p "$1/bin"
printf '%s\\n' '#!/bin/sh' 'exec {command} "$@"' >"$1/bin/ghostpen"
chmod +x "$1/bin/ghostpen"
"""
    (repository.checkout / "scripts/install-deploy").write_text(script, encoding="utf-8")


def make_s3(server: AwsServer) -> Any:
    """Make a client of S3 for the account's owner."""
    environ = server.make_environment("owner")
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=environ["AWS_REGION"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
    )
