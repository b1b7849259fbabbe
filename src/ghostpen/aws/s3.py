"""Objects in S3: the calls that are in use, with botocore's errors translated once.

The client is an argument: `make_client` makes the real one from the environment's credentials. Must not import
anything of ghostpen's ML packages.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.errors import CloudError

S3_PREFIX = "s3://"
# Of one connection and of one answer; with RETRIES more tries, a call ends within three minutes.
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30
RETRIES = 3
# What describes a model without its weights: the settings, and an index of many files or one file's header.
SETTINGS_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_SIGN_IN = "sign in (aws sso login, aws configure), set AWS_PROFILE, or run where a role gives them"
_NOT_THERE = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled"}
_WRONG_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestExpired"}


@dataclass(frozen=True)
class S3Location:
    """A bucket, and what all names of a model's objects begin with."""

    bucket: str
    prefix: str  # without a slash at its end; "" is the whole bucket

    def locate(self, name: str) -> str:
        """Give the key of the object `name` below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        """Write it as a person does."""
        return f"{S3_PREFIX}{self.bucket}/{self.prefix}"


def parse_location(uri: str) -> S3Location:
    """Read s3://bucket/prefix.

    Raises:
        CloudError: it is no such name.
    """
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", uri)
    if not match:
        raise CloudError(f"{uri} names no place in S3; write s3://BUCKET/PREFIX")
    return S3Location(match[1], (match[2] or "").strip("/"))


def make_client() -> Any:
    """Make an S3 client with the credentials of the environment, and a deadline for every call.

    Raises:
        CloudError: AWS_PROFILE or AWS's files in the home folder can't be used.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    retries = {"total_max_attempts": 1 + RETRIES, "mode": "standard"}
    config = Config(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, retries=retries)
    try:
        return boto3.Session().client("s3", config=config)  # boto3.client would keep credentials for all later ones
    except BotoCoreError as error:
        raise CloudError(f"credentials of AWS can't be used ({error}); {_SIGN_IN}") from error


class ObjectStore:
    """Read objects below one location."""

    def __init__(self, client: Any, location: S3Location) -> None:
        """Take boto3's S3 client, or what answers like it."""
        self._client = client
        self.location = location

    def read_object(self, name: str, *, start: int = 0, size_bytes: int | None = None) -> bytes | None:
        """Read an object, or `size_bytes` of it from `start` on; None where it is not there.

        Raises:
            CloudError: no credentials, no such bucket, no right to read, no answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        key = self.location.locate(name)
        byte_range = {} if size_bytes is None else {"Range": f"bytes={start}-{start + size_bytes - 1}"}
        try:
            answer = self._client.get_object(Bucket=self.location.bucket, Key=key, **byte_range)
            content: bytes = answer["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_THERE:
                return None
            raise _translate_refusal(error, bucket=self.location.bucket, key=key) from error
        except BotoCoreError as error:
            raise _translate_failure(error, bucket=self.location.bucket) from error
        return content


def _translate_refusal(error: Any, *, bucket: str, key: str) -> CloudError:
    """Say what an answer of S3 means."""
    code = error.response["Error"]["Code"]
    if code == "NoSuchBucket":
        return CloudError(
            f"{S3_PREFIX}{bucket}: there is no such bucket; correct its name, or the account (AWS_PROFILE)"
        )
    if code in _REFUSED:
        return CloudError(
            f"{S3_PREFIX}{bucket}/{key}: access denied; the credentials in use need s3:GetObject on it, and "
            "s3:ListBucket on the bucket, without which S3 says the same of an object that is not there"
        )
    if code in _WRONG_CREDENTIALS:
        return CloudError(
            f"AWS does not accept the credentials in use ({code}); sign in again (aws sso login), or set "
            "AWS_PROFILE to another profile"
        )
    return CloudError(f"{S3_PREFIX}{bucket}/{key} could not be read: S3 answered {code}; try again later")


def _translate_failure(error: Any, *, bucket: str) -> CloudError:
    """Say why S3 was not asked, or did not answer."""
    from botocore.exceptions import (
        NoCredentialsError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    )

    missing = (
        NoCredentialsError, PartialCredentialsError, SSOError, TokenRetrievalError,
        UnauthorizedSSOTokenError,
    )  # fmt: skip
    reason = " ".join(str(error).split())
    if isinstance(error, missing):
        return CloudError(
            f"{S3_PREFIX}{bucket} needs credentials of AWS, and none can be used ({reason}); {_SIGN_IN}"
        )
    return CloudError(
        f"{S3_PREFIX}{bucket} did not answer: {reason}; check the network, the region and AWS_ENDPOINT_URL"
    )


def download_description(store: ObjectStore, folder: Path) -> None:
    """Download what describes a model into `folder`: its settings, and the index or the header of its weights.

    The header is written as a file of weights that ends where the first weight would begin.

    Raises:
        CloudError: there is no model at the location, or it can't be read.
    """
    settings = store.read_object(SETTINGS_FILE)
    if settings is None:
        raise CloudError(f"{store.location} holds no {SETTINGS_FILE}; name the prefix that a model was copied to")
    (folder / SETTINGS_FILE).write_bytes(settings)
    if (header := _read_header(store)) is not None:  # transformers' order: a single file beats an index
        (folder / SINGLE_FILE).write_bytes(header)
    elif (index := store.read_object(INDEX_FILE)) is not None:
        (folder / INDEX_FILE).write_bytes(index)
    else:
        raise CloudError(f"{store.location} holds neither {SINGLE_FILE} nor {INDEX_FILE}; copy the model again")


def _read_header(store: ObjectStore) -> bytes | None:
    """Read a safetensors file's header: 8 bytes of length (little-endian), then as many of JSON."""
    length_bytes = store.read_object(SINGLE_FILE, size_bytes=8)
    if length_bytes is None:
        return None
    length = struct.unpack("<Q", length_bytes)[0] if len(length_bytes) == 8 else MAX_HEADER_BYTES + 1
    header = store.read_object(SINGLE_FILE, start=8, size_bytes=length) if 0 < length <= MAX_HEADER_BYTES else None
    if header is None or len(header) != length:
        raise CloudError(f"{store.location}/{SINGLE_FILE} is not a safetensors file; copy the model again")
    return length_bytes + header
