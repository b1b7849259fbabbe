"""S3 for in-process tests: buckets in memory, with conditional writes, ranges and listing by page.

Over HTTP moto answers instead (`server.py`). No versions, no multipart uploads, no rights.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request
from tests.stand_ins.aws.timeline import Timeline, to_utc

PAGE_SIZE = 1000


@dataclass(frozen=True)
class StoredObject:
    """One object's content and what was said about it."""

    content: bytes
    metadata: Mapping[str, str]
    content_type: str
    written_at: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


class Buckets:
    """All buckets of the account. Tests read and write `objects` as a dict of bucket and key."""

    def __init__(self, names: tuple[str, ...], timeline: Timeline) -> None:
        self._timeline = timeline
        self.objects: dict[str, dict[str, StoredObject]] = {name: {} for name in names}

    def list_handlers(self) -> dict[str, Handler]:
        return {
            "GetObject": self._get,
            "HeadObject": self._head,
            "PutObject": self._put,
            "DeleteObject": self._delete,
            "ListObjectsV2": self._list,
            "HeadBucket": self._head_bucket,
        }

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object there, past the API."""
        self.objects[bucket][key] = StoredObject(content, {}, "binary/octet-stream", to_utc(self._timeline.now()))

    def read(self, bucket: str, key: str) -> bytes | None:
        """Read an object past the API; None where it is not there."""
        found = self.objects[bucket].get(key)
        return None if found is None else found.content

    def _find_bucket(self, request: Request) -> dict[str, StoredObject]:
        name = request.params["Bucket"]
        if name not in self.objects:
            code = "404" if request.operation.startswith("Head") else "NoSuchBucket"
            raise ApiError(code, "The specified bucket does not exist", status=404)
        return self.objects[name]

    def _find(self, request: Request) -> StoredObject:
        found = self._find_bucket(request).get(request.params["Key"])
        if found is None:
            if request.operation == "HeadObject":
                raise ApiError("404", "Not Found", status=404)
            raise ApiError("NoSuchKey", "The specified key does not exist.", status=404)
        return found

    def _head_bucket(self, request: Request) -> Answer:
        self._find_bucket(request)
        return {}

    def _head(self, request: Request) -> Answer:
        return _describe(self._find(request))

    def _get(self, request: Request) -> Answer:
        from botocore.response import StreamingBody

        found = self._find(request)
        content, answer = found.content, _describe(found)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", request.params.get("Range", "")):
            start, size = int(asked[1]), len(content)
            if start >= size:
                raise ApiError("InvalidRange", "The requested range is not satisfiable", status=416)
            end = min(int(asked[2]) if asked[2] else size - 1, size - 1)
            content = content[start : end + 1]
            answer |= {"ContentLength": len(content), "ContentRange": f"bytes {start}-{end}/{size}"}
        return answer | {"Body": StreamingBody(io.BytesIO(content), len(content))}

    def _put(self, request: Request) -> Answer:
        params = request.params
        bucket, key = self._find_bucket(request), params["Key"]
        if params.get("IfNoneMatch") == "*" and key in bucket:
            raise ApiError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412
            )
        content = _read_body(params.get("Body", b""))
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        if params.get("ChecksumSHA256", checksum) != checksum:
            raise ApiError("BadDigest", "The SHA256 you specified did not match the calculated checksum.")
        content_type = params.get("ContentType", "binary/octet-stream")
        stored = StoredObject(content, dict(params.get("Metadata", {})), content_type, to_utc(self._timeline.now()))
        bucket[key] = stored
        return {"ETag": stored.etag}

    def _delete(self, request: Request) -> Answer:
        self._find_bucket(request).pop(request.params["Key"], None)
        return {}

    def _list(self, request: Request) -> Answer:
        params = request.params
        bucket = self._find_bucket(request)
        prefix, delimiter = params.get("Prefix", ""), params.get("Delimiter", "")
        after = params.get("ContinuationToken") or params.get("StartAfter", "")
        rows: dict[str, StoredObject | None] = {}  # common prefixes have no object
        for key in sorted(bucket):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                rows[prefix + rest.partition(delimiter)[0] + delimiter] = None
            else:
                rows[key] = bucket[key]
        names = [name for name in rows if name > after]
        page = names[: params.get("MaxKeys", PAGE_SIZE)]
        answer: Answer = {
            "Name": params["Bucket"],
            "Prefix": prefix,
            "KeyCount": len(page),
            "MaxKeys": params.get("MaxKeys", PAGE_SIZE),
            "IsTruncated": len(page) < len(names),
        }
        contents = [_list_entry(name, found) for name in page if (found := rows[name]) is not None]
        prefixes = [{"Prefix": name} for name in page if rows[name] is None]
        answer |= {"Contents": contents} if contents else {}
        answer |= {"CommonPrefixes": prefixes} if prefixes else {}
        return answer | ({"NextContinuationToken": page[-1]} if len(page) < len(names) else {})


def _read_body(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, bytes | bytearray) else bytes(body.read())


def _describe(found: StoredObject) -> Answer:
    return {
        "ContentLength": len(found.content),
        "ETag": found.etag,
        "ContentType": found.content_type,
        "Metadata": dict(found.metadata),
        "LastModified": found.written_at,
        "AcceptRanges": "bytes",
    }


def _list_entry(key: str, found: StoredObject) -> Answer:
    return {
        "Key": key,
        "LastModified": found.written_at,
        "ETag": found.etag,
        "Size": len(found.content),
        "StorageClass": "STANDARD",
    }
