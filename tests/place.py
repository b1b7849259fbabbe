"""A person's folder before a simulated account: the verbs of a deployment, as processes, over HTTP.

The instances are folders, and in the container runs a program without a model (`stand_ins/container_program.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN, make_machines
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.world import World

ROOT = Path(__file__).parents[1]
SECRET = "k3y-of-wandb"
TIMEOUT_S = 120
DEPLOY = """
[aws]
region = "eu-central-1"
account_id = "123456789012"
[group]
name = "gpu-runs"
[image]
repository = "ghostpen"
tag = "v1"
[storage]
uri = "{uri}"
[secrets]
path = "/ghostpen"
names = ["WANDB_API_KEY"]
[logs]
group = "/ghostpen/runs"
[limits]
max_runtime_s = 600
gpu_memory_gb = 1
[timeouts]
poll_s = 0.2
settle_s = 1
terminate_s = 60
"""
RUN = 'name = "{name}"\n[data]\ndir = "data"\n[model]\nname = "embedded:tiny"\n[train]\nmax_steps = 1\n'


@dataclass
class Place:
    """A person's folder, with settings, before a simulated account."""

    server: AwsServer
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")},
            **self.server.make_environment("job"),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "WANDB_API_KEY": SECRET,
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
        }

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ghostpen", *words], cwd=self.folder, env=self.environ | environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words, **environ) as process:
            try:
                output, errors = process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def deploy(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("deploy", "--mode", "train", "--config", self.write_config(name), *more)

    def write_config(self, name: str) -> str:
        """Write the settings of a run."""
        path = self.folder / f"{name}.toml"
        path.write_text(RUN.format(name=name), encoding="utf-8")
        return path.name

    def write_settings(self, uri: str) -> None:
        """Write the settings of deployments whose data and runs are below a place in S3."""
        (self.folder / "configs").mkdir(exist_ok=True)
        (self.folder / "configs/deploy.toml").write_text(DEPLOY.format(uri=uri), encoding="utf-8")

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def left(self) -> list[str]:
        return self.server.simulator.list_leftovers()


@contextmanager
def serve_account(bucket: str) -> Iterator[AwsServer]:
    """Serve one account with an empty bucket."""
    command = (sys.executable, str(ROOT / "tests/stand_ins/container_program.py"))
    image_sets = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    world = World(delays=QUICK_DELAYS, buckets=(bucket,))
    with (
        make_machines(command=command, container_environment=image_sets) as machines,
        AwsServer(machines, world=world, faults=Faults(plan=QUICK_PLAN)).serve() as aws,
    ):
        yield aws
