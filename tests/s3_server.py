"""An S3 server on this machine (moto's), and credentials that open nothing else: fixtures to import."""

from collections.abc import Iterator
from typing import Any

import pytest

FAKE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # or botocore would ask the machine's own address for a role
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start moto's server, and return its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def aws_variables(s3_server: str) -> dict[str, str]:
    """Name the server and the credentials as a process's environment does."""
    return FAKE_CREDENTIALS | {"AWS_ENDPOINT_URL": s3_server}


@pytest.fixture(scope="session")
def make_bucket(aws_variables: dict[str, str]) -> Any:
    """Give what makes an empty bucket."""

    def make(name: str) -> Any:
        import boto3

        session = boto3.Session("testing", "testing", region_name=FAKE_CREDENTIALS["AWS_DEFAULT_REGION"])
        resource = session.resource("s3", endpoint_url=aws_variables["AWS_ENDPOINT_URL"])
        place = {"LocationConstraint": FAKE_CREDENTIALS["AWS_DEFAULT_REGION"]}
        return resource.create_bucket(Bucket=name, CreateBucketConfiguration=place)

    return make
