"""The facade over S3 against an HTTP server that answers as S3 does; what it never refuses, a small client does."""

import json
import socket
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.headers import GPT_OSS_20B, list_gpt_oss_20b, write_header, write_index
from typer.testing import CliRunner

from ghostpen.aws.s3 import ObjectStore, S3Location, download_description, make_client, parse_location
from ghostpen.cli import app
from ghostpen.errors import CloudError


def put(bucket: str, **objects: bytes) -> None:
    for name, content in objects.items():
        make_client().put_object(Bucket=bucket, Key=name, Body=content)


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("s3://models", S3Location("models", "")),
        ("s3://models/", S3Location("models", "")),
        ("s3://models/gpt-oss/20b/", S3Location("models", "gpt-oss/20b")),
    ],
)
def test_location_is_a_bucket_and_a_prefix(uri: str, location: S3Location) -> None:
    assert parse_location(uri) == location


@pytest.mark.parametrize("uri", ["s3://", "s3://Models/a", "s3:///a", "s3://a_b/c", "S3://models"])
def test_location_that_is_none_says_how_to_write_one(uri: str) -> None:
    with pytest.raises(CloudError, match=r"names no place in S3; write s3://BUCKET/PREFIX"):
        parse_location(uri)


def test_read_object_gives_all_of_it_or_a_part(bucket: str) -> None:
    make_client().put_object(Bucket=bucket, Key="a/b", Body=b"0123456789")
    store = ObjectStore(make_client(), S3Location(bucket, "a"))

    assert store.read_object("b") == b"0123456789"
    assert store.read_object("b", start=2, size_bytes=3) == b"234"
    assert store.read_object("c") is None


def write_model(bucket: str, prefix: str, folder: Path, *, index: bool) -> None:
    """Put a description of gpt-oss-20b in MXFP4, and where it is a single file, some of its weights."""
    client = make_client()
    client.put_object(Bucket=bucket, Key=f"{prefix}config.json", Body=json.dumps(GPT_OSS_20B).encode())
    path = folder / "written"
    if index:
        write_index(path, list_gpt_oss_20b("mxfp4"))
        client.put_object(Bucket=bucket, Key=f"{prefix}model.safetensors.index.json", Body=path.read_bytes())
    else:
        write_header(path, list_gpt_oss_20b("mxfp4"))
        client.put_object(Bucket=bucket, Key=f"{prefix}model.safetensors", Body=path.read_bytes() + b"w" * 5000)


@pytest.mark.parametrize("prefix", ["", "gpt-oss/20b/"])
@pytest.mark.parametrize("index", [False, True], ids=["single file", "index"])
def test_description_is_settings_and_names_without_a_weight(
    bucket: str, tmp_path: Path, prefix: str, index: bool
) -> None:
    write_model(bucket, prefix, tmp_path, index=index)
    folder = tmp_path / "description"
    folder.mkdir()
    download_description(ObjectStore(make_client(), S3Location(bucket, prefix.strip("/"))), folder)

    names = "model.safetensors.index.json" if index else "model.safetensors"
    assert {path.name for path in folder.iterdir()} == {"config.json", names}
    assert (folder / names).read_bytes() == (tmp_path / "written").read_bytes()
    assert json.loads((folder / "config.json").read_bytes()) == GPT_OSS_20B


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({}, "s3://models/ holds no config.json; name the prefix that a model was copied to"),
        ({"config.json": b"{}"}, "holds neither model.safetensors nor model.safetensors.index.json"),
        ({"config.json": b"{}", "model.safetensors": b"1234"}, "model.safetensors is not a safetensors file"),
        ({"config.json": b"{}", "model.safetensors": b"\xff" * 20}, "model.safetensors is not a safetensors file"),
        (
            {"config.json": b"{}", "model.safetensors": struct.pack("<Q", 100) + b"{}"},
            "model.safetensors is not a safetensors file",
        ),
    ],
)
def test_description_that_is_not_there_or_torn_is_one_line(
    bucket: str, tmp_path: Path, objects: dict[str, bytes], message: str
) -> None:
    put(bucket, **objects)

    with pytest.raises(CloudError) as caught:
        download_description(ObjectStore(make_client(), S3Location(bucket, "")), tmp_path)
    assert message in caught.value.message


def test_bucket_that_is_not_there_is_one_line(aws_environment: None) -> None:
    with pytest.raises(CloudError, match=r"^s3://nobodys: there is no such bucket; correct its name"):
        ObjectStore(make_client(), S3Location("nobodys", "")).read_object("config.json")


def test_no_credentials_is_one_line(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    with pytest.raises(CloudError, match=r"^s3://models needs credentials of AWS, and none can be used .* sign in"):
        ObjectStore(make_client(), S3Location("models", "")).read_object("config.json")


def test_half_of_the_credentials_is_one_line(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(CloudError, match=r"^credentials of AWS can't be used \(Partial credentials.*\); sign in"):
        make_client()


def test_profile_that_is_not_there_is_one_line(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(CloudError, match=r"^credentials of AWS can't be used \(.*nobody.*\); sign in"):
        make_client()


def test_server_that_does_not_answer_is_one_line(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    with pytest.raises(CloudError, match=r"^s3://models did not answer: Could not connect"):
        ObjectStore(make_client(attempts=2), S3Location("models", "")).read_object("config.json")


class RefusingClient:
    """Answer every call with one of S3's error codes: moto's server checks neither rights nor keys."""

    def __init__(self, code: str) -> None:
        self.code = code

    def get_object(self, **_: Any) -> Any:
        raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "GetObject")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", "access denied; the credentials in use need s3:GetObject on it, and s3:ListBucket"),
        ("403", "access denied; the credentials in use need s3:GetObject"),
        ("InvalidAccessKeyId", "AWS does not accept the credentials in use (InvalidAccessKeyId); sign in again"),
        ("ExpiredToken", "AWS does not accept the credentials in use (ExpiredToken); sign in again"),
        ("SlowDown", "s3://models/m/config.json could not be read: S3 answered SlowDown; try again later"),
    ],
)
def test_refusal_of_s3_says_what_to_do(code: str, message: str) -> None:
    with pytest.raises(CloudError) as caught:
        ObjectStore(RefusingClient(code), S3Location("models", "m"), sleep=lambda _: None).read_object("config.json")
    assert message in caught.value.message


class TornClient:
    """Promise ten bytes, and send four."""

    def get_object(self, **_: Any) -> Any:
        from botocore.response import StreamingBody

        return {"Body": StreamingBody(BytesIO(b"1234"), 10)}


def test_answer_that_breaks_off_is_an_error_after_four_tries_and_no_half_object() -> None:
    pauses_s: list[float] = []
    with pytest.raises(CloudError, match="did not answer: 4 read, but total bytes expected is 10"):
        ObjectStore(TornClient(), S3Location("models", ""), sleep=pauses_s.append).read_object("config.json")
    assert pauses_s == [0.5, 1.0, 2.0]


def test_client_has_a_deadline_for_every_call(aws_environment: None) -> None:
    config = make_client().meta.config

    assert (config.connect_timeout, config.read_timeout) == (10, 30)
    assert config.retries == {"total_max_attempts": 10, "mode": "standard"}


@pytest.mark.parametrize("module", ["s3", "deployment", "down", "overview"])
def test_aws_package_loads_no_model_and_no_boto3_until_it_is_used(module: str) -> None:
    heavy = "{'torch', 'transformers', 'boto3', 'botocore'}"
    code = f"import sys, ghostpen.aws.{module}; print(*{heavy} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("index", [False, True], ids=["single file", "index"])
def test_inspect_of_a_model_in_s3_says_what_it_would_of_a_folder(bucket: str, tmp_path: Path, index: bool) -> None:
    write_model(bucket, "gpt-oss/20b/", tmp_path, index=index)
    command = ["inspect", "s3://models/gpt-oss/20b", "--gpu-memory", "48", "--set", "lora.rank=4", "--json"]
    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["name"], told["checkpoint"]["experts"]) == ("s3://models/gpt-oss/20b", "mxfp4")
    assert told["checkpoint"]["size_bytes"] == 13_761_264_768  # the sum of the tensors in tests/headers.py
    assert (told["gpu_bytes"], told["fits"], told["lora_rank"]) == (48 * 10**9, True, 4)


def test_inspect_of_nothing_in_s3_is_one_line_and_exit_code_2(bucket: str) -> None:
    done = CliRunner().invoke(app, ["inspect", "s3://models/none"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: s3://models/none holds no config.json; name the prefix that a model was copied to\n"
    )
