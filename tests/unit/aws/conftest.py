"""An S3 server on this machine, and credentials that open nothing else."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.s3_server import FAKE_CREDENTIALS, make_bucket, serve_s3
from tests.stand_ins.faulty_s3 import Call, Fault, FaultyS3

from ghostpen.aws.s3 import ATTEMPTS, ObjectStore, S3Location, make_client
from ghostpen.aws.settings import DeployConfig
from ghostpen.settings import build_settings


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start moto's server, and return its address."""
    with serve_s3() as url:
        yield url


@pytest.fixture
def aws_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point boto3 at the server, with fake credentials and none of the developer's files."""
    for name, value in (FAKE_CREDENTIALS | {"AWS_ENDPOINT_URL": s3_server}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(aws_environment: None, s3_server: str) -> Iterator[str]:
    """Make an empty bucket."""
    with make_bucket(s3_server, "models") as made:
        yield made.name


@pytest.fixture
def store(bucket: str) -> ObjectStore:
    """Look into the bucket, below a prefix."""
    return ObjectStore(make_client(), S3Location(bucket, "ghost/pen"))


@pytest.fixture
def deploy_config() -> DeployConfig:
    """Make a deployment's settings with nothing left to the defaults that has to be set."""
    return build_settings(
        DeployConfig,
        {
            "aws": {"region": "eu-central-1", "account_id": "123456789012"},
            "group": {"name": "gpu"},
            "image": {"repository": "ghostpen", "tag": "v1"},
            "storage": {"uri": "s3://texts/austen"},
            "secrets": {"path": "/ghostpen", "names": ["WANDB_API_KEY"]},
            "logs": {"group": "/ghostpen"},
            "limits": {"max_runtime_s": 3600},
        },
    )


@pytest.fixture
def spoil(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FaultyS3]]:
    """Return a function that puts faults between boto3 and the server: the test says into which calls."""
    with ExitStack() as stack:

        def start(choose: Callable[[Call], Fault | None]) -> FaultyS3:
            server = stack.enter_context(FaultyS3(s3_server, choose))
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            return server

        yield start


@pytest.fixture
def open_store(bucket: str) -> Callable[..., ObjectStore]:
    """Return a function that looks into the bucket through whatever lies between, without pauses between tries."""
    clients: dict[tuple[str, int], Any] = {}

    def look(*, attempts: int = ATTEMPTS) -> ObjectStore:
        key = (os.environ["AWS_ENDPOINT_URL"], attempts)
        if key not in clients:
            clients[key] = make_client(attempts=attempts)
        return ObjectStore(clients[key], S3Location(bucket, "ghost/pen"), sleep=lambda _: None)

    return look
