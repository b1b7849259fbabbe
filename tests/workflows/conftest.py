"""A server that stands for AWS, and repositories whose workflows can be run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests.workflows.act import Repository, require_git

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """Start moto's server, and return its address."""
    require_git()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def ecr(aws_server: str) -> Any:
    """Talk to the server's ECR."""
    return boto3.client(
        "ecr",
        endpoint_url=aws_server,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def image_repository(ecr: Any) -> Iterator[str]:
    """Make an empty repository whose tags never change, as the real one's."""
    made = ecr.create_repository(repositoryName="ghostpen", imageTagMutability="IMMUTABLE")["repository"]
    yield made["repositoryName"]
    ecr.delete_repository(repositoryName=made["repositoryName"], force=True)


@pytest.fixture
def make_repository(tmp_path: Path, aws_server: str) -> Callable[[], Repository]:
    return lambda: Repository(tmp_path, aws=aws_server)
