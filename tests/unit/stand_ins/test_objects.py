"""S3 in memory, through boto3 and its transfer manager."""

import io
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.stand_ins.aws.in_process import find_door
from tests.unit.stand_ins.conftest import OpenSimulator

BUCKET = "runs-bucket"


@pytest.fixture
def s3(open_simulator: OpenSimulator) -> Any:
    open_simulator()
    return find_door("owner").client("s3")


def get_code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_object_is_read_whole_and_in_part(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="a/b", Body=b"0123456789", Metadata={"sha256": "x"})
    assert s3.get_object(Bucket=BUCKET, Key="a/b")["Body"].read() == b"0123456789"
    part = s3.get_object(Bucket=BUCKET, Key="a/b", Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert s3.get_object(Bucket=BUCKET, Key="a/b", Range="bytes=8-")["Body"].read() == b"89"
    head = s3.head_object(Bucket=BUCKET, Key="a/b")
    assert (head["ContentLength"], head["Metadata"]) == (10, {"sha256": "x"})


def test_conditional_write_over_an_object_is_refused(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="manifest.json", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=BUCKET, Key="manifest.json", Body=b"second", IfNoneMatch="*")
    assert (get_code(error), error.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (
        "PreconditionFailed",
        412,
    )
    assert s3.get_object(Bucket=BUCKET, Key="manifest.json")["Body"].read() == b"first"


def test_wrong_checksum_is_refused(s3: Any) -> None:
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=BUCKET, Key="a", Body=b"content", ChecksumSHA256="A" * 43 + "=")


def test_missing_object_and_bucket_have_their_codes(s3: Any) -> None:
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=BUCKET, Key="none")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=BUCKET, Key="none")
    assert get_code(error) == "404"
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket="other-bucket")


def test_listing_goes_by_page_and_folds_at_a_delimiter(s3: Any) -> None:
    for key in ("runs/a/1", "runs/a/2", "runs/b/1", "runs/top", "other"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix="runs/", PaginationConfig={"PageSize": 3}
    )
    assert [[entry["Key"] for entry in page["Contents"]] for page in pages] == [
        ["runs/a/1", "runs/a/2", "runs/b/1"],
        ["runs/top"],
    ]
    folded = s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/", Delimiter="/")
    assert [entry["Prefix"] for entry in folded["CommonPrefixes"]] == ["runs/a/", "runs/b/"]
    assert [entry["Key"] for entry in folded["Contents"]] == ["runs/top"]
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="none/")


def test_transfer_manager_uploads_and_downloads(s3: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "up").write_bytes(content)
    s3.upload_file(str(tmp_path / "up"), BUCKET, "file")
    s3.download_file(BUCKET, "file", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == content
    s3.upload_fileobj(io.BytesIO(content), BUCKET, "object")
    assert s3.get_object(Bucket=BUCKET, Key="object")["Body"].read() == content
