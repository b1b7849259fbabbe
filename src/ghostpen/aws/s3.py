"""Objects in S3: the calls that are in use, with botocore's errors translated once.

The client is an argument: `make_client` makes the real one from the environment's credentials. Must not import
anything of ghostpen's ML packages.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.aws.errors import (
    NOT_THERE,
    TAKEN,
    get_code,
    list_failures,
    retry_passing,
    translate_failure,
    translate_session_failure,
)
from ghostpen.errors import CloudError

S3_PREFIX = "s3://"
# Of one connection and of one answer. With ATTEMPTS tries, a call survives that every third answer is a refusal,
# and ends within two minutes where no connection is made, within nine where connections stay silent.
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30
ATTEMPTS = 10
CONNECTIONS = 16  # more than the transfers of transfer.py use at once
# What describes a model without its weights: the settings, and an index of many files or one file's header.
SETTINGS_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


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


def make_client(*, attempts: int = ATTEMPTS) -> Any:
    """Make an S3 client with the credentials of the environment, and a deadline for every call.

    Raises:
        CloudError: AWS_PROFILE or AWS's files in the home folder can't be used.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        # botocore's own defaults, which AWS's settings files could turn off.
        request_checksum_calculation="when_supported",
        response_checksum_validation="when_supported",
    )
    try:
        return boto3.Session().client("s3", config=config)  # boto3.client would keep credentials for all later ones
    except BotoCoreError as error:
        raise translate_session_failure(error) from error


class ObjectStore:
    """Read, write and list objects below one location."""

    def __init__(self, client: Any, location: S3Location, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take boto3's S3 client, or what answers like it."""
        self.client = client
        self.location = location
        self.sleep = sleep

    def read_object(self, name: str, *, start: int = 0, size_bytes: int | None = None) -> bytes | None:
        """Read an object, or `size_bytes` of it from `start` on; None where it is not there.

        Raises:
            CloudError: no credentials, no such bucket, no right to read, no answer.
        """
        place = self._place(name)
        byte_range = {} if size_bytes is None else {"Range": f"bytes={start}-{start + size_bytes - 1}"}

        def read() -> bytes:
            content: bytes = self.client.get_object(**place, **byte_range)["Body"].read()
            return content

        try:
            return retry_passing(read, sleep=self.sleep)
        except list_failures() as error:
            if get_code(error) in NOT_THERE:
                return None
            raise translate_failure(error, bucket=place["Bucket"], key=place["Key"]) from error

    def write_object(self, name: str, data: bytes, *, only_if_absent: bool = False, tag: str | None = None) -> bool:
        """Write a small object, or leave alone what is there with `only_if_absent`; tell whether it was written.

        False may also mean that an earlier try of the same call was the one that wrote it: its answer was lost.

        Raises:
            CloudError: no credentials, no such bucket, no right to write, no answer.
        """
        place = self._place(name)
        condition = ({"IfNoneMatch": "*"} if only_if_absent else {}) | ({"Tagging": tag} if tag else {})
        try:
            retry_passing(lambda: self.client.put_object(**place, **condition, Body=data), sleep=self.sleep)
        except list_failures() as error:
            if only_if_absent and get_code(error) in TAKEN:
                return False
            raise translate_failure(error, bucket=place["Bucket"], key=place["Key"]) from error
        return True

    def list_objects(self, name: str) -> dict[str, int]:
        """List what is below `name`: what each key has after it and a slash, and its size in bytes.

        Raises:
            CloudError: no credentials, no such bucket, no right to list, no answer.
        """
        prefix = self.location.locate(f"{name}/")

        def read_pages() -> dict[str, int]:
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.location.bucket, Prefix=prefix)
            found = [entry for page in pages for entry in page.get("Contents", ())]
            return {entry["Key"].removeprefix(prefix): entry["Size"] for entry in found}

        try:
            return retry_passing(read_pages, sleep=self.sleep)
        except list_failures() as error:
            raise translate_failure(error, bucket=self.location.bucket, key=prefix) from error

    def _place(self, name: str) -> dict[str, str]:
        return {"Bucket": self.location.bucket, "Key": self.location.locate(name)}


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
