"""What the container writes, as CloudWatch has it: lines that are new since the last look.

Owns the name of a run's log streams: RUN_ID/INSTANCE_ID.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ghostpen.aws.errors import get_code, translated
from ghostpen.errors import CloudError

PAGES = 50  # of one look: what is left comes with the next one
OVERLAP_MS = 60_000  # lines may arrive late, and out of order


class LogReader:
    """Read the lines of a run, each once."""

    def __init__(self, client: Any, group: str, run_id: str, *, since: datetime | None = None) -> None:
        """Take boto3's logs client, or what answers like it; None begins with the first line that is kept."""
        self._client = client
        self._group = group
        self._prefix = f"{run_id}/"
        self._start_ms = 0 if since is None else int(since.timestamp() * 1000)
        self._newest_ms = self._start_ms
        self._seen: set[str] = set()
        self._token: str | None = None

    def read_new(self) -> list[str]:
        """Read what came since the last look; none where the container has not written anything yet.

        Raises:
            CloudError: a refusal, or no answer.
        """
        lines = []
        for _ in range(PAGES):
            page = self._read_page()
            for event in page.get("events", []):
                if event["eventId"] not in self._seen:
                    self._seen.add(event["eventId"])
                    self._newest_ms = max(self._newest_ms, event["timestamp"])
                    lines.append(event["message"].rstrip("\n"))
            self._token = page.get("nextToken")
            if self._token is None:
                self._start_ms = max(self._start_ms, self._newest_ms - OVERLAP_MS)
                break
        return lines

    def _read_page(self) -> dict[str, Any]:
        token = {} if self._token is None else {"nextToken": self._token}
        try:
            with translated(f"log group {self._group}", service="logs"):
                page: dict[str, Any] = self._client.filter_log_events(
                    logGroupName=self._group,
                    logStreamNamePrefix=self._prefix,
                    startTime=self._start_ms,
                    **token,
                )
        except CloudError as error:
            if get_code(error.__cause__) == "ResourceNotFoundException":
                raise CloudError(
                    f"log group {self._group}: there is none of this name; correct logs.group, or create it"
                ) from error
            raise
        return page
