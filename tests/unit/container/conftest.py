"""A job on a small S3, with a program in place of the training that does what a test tells it to."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.s3_server import aws_variables, make_bucket, s3_server  # noqa: F401

from ghostpen.aws.bundle import push_bundle
from ghostpen.aws.s3 import ObjectStore, S3Location, make_client
from ghostpen.container.command import plan_job
from ghostpen.container.run import Job

PROGRAM = Path(__file__).with_name("training_program.py")
CONFIG = """
name = "mine"
[model]
name = "base"
[storage]
uri = "s3://{bucket}/some/where"
grace_s = {grace_s}
"""


@pytest.fixture
def bucket(
    aws_variables: dict[str, str],  # noqa: F811
    make_bucket: Callable[[str], Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    for name, value in aws_variables.items():
        monkeypatch.setenv(name, value)
    made = make_bucket("container")
    yield made
    made.objects.delete()
    made.delete()


@pytest.fixture
def store(bucket: Any) -> ObjectStore:
    return ObjectStore(make_client(), S3Location(bucket.name, "some/where"))


@pytest.fixture
def data(store: ObjectStore, tmp_path: Path) -> Path:
    """Push prepared data: only their names matter here."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    names = ["manifest.json", *(f"{split}.jsonl" for split in ("train", "val", "test"))]
    names += [f"contrast_{split}.jsonl" for split in ("train", "val", "test")]
    for name in names:
        (folder / name).write_text(f"{name} as it was pushed", encoding="utf-8")
    push_bundle(store, "data", {name: folder / name for name in names}, info={})
    return folder


@pytest.fixture
def make_job(bucket: Any, tmp_path: Path) -> Callable[..., Job]:
    def make(mode: Any = "train", *, run_id: str = "run-1", work: str = "work", grace_s: float = 60) -> Job:
        path = tmp_path / "run.toml"
        path.write_text(CONFIG.format(bucket=bucket.name, grace_s=grace_s), encoding="utf-8")
        return plan_job(
            mode, path=path, overrides=(), run_id=run_id, work=tmp_path / work, processes=None, with_control=True
        )

    return make


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Callable[..., list[str]]]:
    """Give what makes a child's command of a script: a list of what training_program.py does."""

    def make(*script: Any, control: Any = (("checkpoint", 2), ("finish",))) -> Callable[..., list[str]]:
        def build_command(job: Job, *, verb: str, role: str) -> list[str]:
            acts = control if role == "control" else script
            return [sys.executable, "-S", str(PROGRAM), str(job.locate(role)), verb, json.dumps(acts)]

        return build_command

    return make
