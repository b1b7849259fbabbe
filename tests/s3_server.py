"""An S3 server on this machine (moto's), and credentials that open nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REGION = "eu-central-1"
FAKE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",  # or botocore would ask the machine's own address for a role
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@contextmanager
def serve_s3() -> Iterator[str]:
    """Serve until the block ends; gives the server's address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def make_bucket(url: str, name: str) -> Iterator[Any]:
    """Make an empty bucket, and delete it when the block ends."""
    import boto3

    session = boto3.Session("testing", "testing", region_name=REGION)
    resource = session.resource("s3", endpoint_url=url)
    made = resource.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    try:
        yield made
    finally:
        made.objects.delete()
        made.delete()
