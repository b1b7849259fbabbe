"""A job on a small S3, with a program in place of the training that does what a test tells it to."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.s3_server import FAKE_CREDENTIALS, make_bucket, serve_s3

from ghostpen.aws.bundle import push_bundle
from ghostpen.aws.s3 import ObjectStore, S3Location, make_client
from ghostpen.container.job import Job, plan_job
from ghostpen.container.run import run_job
from ghostpen.container.signals import EndOnSignal
from ghostpen.data.sections import SPLITS

PROGRAM = Path(__file__).with_name("training_program.py")
CONFIG = """
name = "mine"
[model]
name = "base"
[storage]
uri = "s3://container/some/where"
grace_s = {grace_s}
"""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with serve_s3() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (FAKE_CREDENTIALS | {"AWS_ENDPOINT_URL": s3_server}).items():
        monkeypatch.setenv(name, value)
    with make_bucket(s3_server, "container") as made:
        yield made


@pytest.fixture
def store(bucket: Any) -> ObjectStore:
    return ObjectStore(make_client(), S3Location(bucket.name, "some/where"))


@pytest.fixture
def data(store: ObjectStore, tmp_path: Path) -> Path:
    """Push prepared data: only their names matter here."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    names = ["manifest.json", *(f"{split}.jsonl" for split in SPLITS)]
    for name in names:
        (folder / name).write_text(f"{name} as it was pushed", encoding="utf-8")
    push_bundle(store, "data", {name: folder / name for name in names}, info={})
    return folder


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    def make(
        mode: Any = "train", *, run_id: str = "run-1", work: str = "work", grace_s: float = 60, control: bool = True
    ) -> Job:
        return plan_job(
            mode, content=CONFIG.format(grace_s=grace_s).encode(), where="run.toml", overrides=(), run_id=run_id,
            work=tmp_path / work, processes=None, with_control=control,
        )  # fmt: skip

    return make


def build_script(job: Job, role: str, script: Any) -> list[str]:
    """Build the command line of a program that does what `script` lists."""
    run_id = job.run_id if role == "author" else f"{job.run_id}-{role}"
    command = [sys.executable, "-S", str(PROGRAM), str(job.locate(role)), job.mode, run_id]
    return [*command, json.dumps(script)]


@pytest.fixture
def do(store: ObjectStore) -> Callable[..., None]:
    """Give what does a job with a script in place of the author's training, and another for the control's."""

    def do(
        job: Job,
        *script: Any,
        control: Any = (("checkpoint", 2), ("finish",)),
        environ: Mapping[str, str] = os.environ,
        store: ObjectStore = store,
        signals: EndOnSignal | None = None,
    ) -> None:
        def build(job: Job, *, role: str) -> list[str]:
            return build_script(job, role, control if role == "control" else script)

        with signals or EndOnSignal(grace_s=job.config.storage.grace_s) as taken:
            run_job(job, store=store, heartbeat_store=store, signals=taken, environ=environ, build=build)

    return do
