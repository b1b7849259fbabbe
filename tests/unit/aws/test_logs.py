"""The container's output: each line once, however CloudWatch pages it."""

from typing import Any

import pytest
from tests.stand_ins.scripted import NOON, ScriptedClient, refuse

from ghostpen.aws.logs import LogReader
from ghostpen.errors import CloudError

NOON_MS = int(NOON.timestamp() * 1000)


def write_page(*numbers: int, token: str | None = None) -> dict[str, Any]:
    events = [
        {"eventId": str(number), "timestamp": NOON_MS + 1000 * number, "message": f"line {number}\n"}
        for number in numbers
    ]
    return {"events": events} | ({"nextToken": token} if token else {})


def test_lines_come_once_over_pages_and_looks() -> None:
    pages = [
        write_page(token="a"),
        write_page(1, 2, token="b"),
        write_page(3),
        write_page(2, 3, 100),
        write_page(100),
    ]
    client = ScriptedClient("logs", filter_log_events=pages)
    reader = LogReader(client, "/ghostpen", "emma", since=NOON)

    assert reader.read_new() == ["line 1", "line 2", "line 3"]
    assert reader.read_new() == ["line 100"]
    assert reader.read_new() == []
    first, second, _, fourth, fifth = client.list_calls("filter_log_events")
    assert first == {"logGroupName": "/ghostpen", "logStreamNamePrefix": "emma/", "startTime": NOON_MS}
    assert second["nextToken"] == "a"
    assert fourth["startTime"] == NOON_MS  # lines may come late
    assert fifth["startTime"] == NOON_MS + 40_000


def test_one_look_ends_although_there_are_ever_more_pages() -> None:
    client = ScriptedClient("logs", filter_log_events=lambda **_: write_page(1, token="more"))
    assert LogReader(client, "/ghostpen", "emma").read_new() == ["line 1"]
    assert len(client.calls) == 50


def test_group_that_is_not_there_names_the_setting() -> None:
    client = ScriptedClient("logs", filter_log_events=refuse("ResourceNotFoundException"))

    with pytest.raises(CloudError, match=r"^log group /ghostpen: there is none of this name; correct logs\.group"):
        LogReader(client, "/ghostpen", "emma").read_new()
