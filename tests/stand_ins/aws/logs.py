"""CloudWatch Logs: streams of lines, read page by page. A page may be empty and not the last, as AWS documents."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request, read_page
from tests.stand_ins.aws.timeline import Timeline
from tests.stand_ins.aws.world import World

PAGE_SIZE = 10_000
EMPTY_FIRST_PAGE = "first"  # the token that stands for "begin at last"


@dataclass(frozen=True)
class Line:
    """One event of a stream."""

    id: str
    stream: str
    at_ms: int
    written_ms: int
    text: str


@dataclass
class Logs:
    """All log groups of the account."""

    world: World
    timeline: Timeline
    streams: dict[str, dict[str, list[Line]]] = field(init=False)
    _written: int = 0

    def __post_init__(self) -> None:
        self.streams = {name: {} for name in self.world.log_groups}

    def list_handlers(self) -> dict[str, Handler]:
        return {
            "FilterLogEvents": self._filter,
            "CreateLogStream": self._create_stream,
            "PutLogEvents": self._put,
        }

    def _find_group(self, name: str) -> dict[str, list[Line]]:
        if name not in self.streams:
            raise ApiError("ResourceNotFoundException", "The specified log group does not exist.")
        return self.streams[name]

    def _create_stream(self, request: Request) -> Answer:
        group = self._find_group(request.params["logGroupName"])
        if request.params["logStreamName"] in group:
            raise ApiError("ResourceAlreadyExistsException", "The specified log stream already exists")
        group[request.params["logStreamName"]] = []
        return {}

    def _put(self, request: Request) -> Answer:
        group = self._find_group(request.params["logGroupName"])
        name = request.params["logStreamName"]
        if name not in group:
            raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")
        for event in request.params["logEvents"]:
            self._written += 1
            now_ms = round(self.timeline.now() * 1000)
            group[name].append(Line(f"{self._written:056d}", name, event["timestamp"], now_ms, event["message"]))
        return {"nextSequenceToken": str(self._written)}

    def _filter(self, request: Request) -> Answer:
        """Give the lines of all streams in order of time, after an empty first page.

        Raises:
            ApiError: no such group or stream, or a filter that is not modelled.
        """
        params = request.params
        group = self._find_group(params["logGroupName"])
        if "filterPattern" in params:
            raise ApiError("NotImplemented", "the simulator knows no filter patterns", status=501)
        names = params.get(
            "logStreamNames", [name for name in group if name.startswith(params.get("logStreamNamePrefix", ""))]
        )
        if any(name not in group for name in names):
            raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")
        if "nextToken" not in params:
            return {"events": [], "searchedLogStreams": [], "nextToken": EMPTY_FIRST_PAGE}
        start_ms, end_ms = params.get("startTime", 0), params.get("endTime")
        lines = [
            line
            for name in names
            for line in group[name]
            if line.at_ms >= start_ms and (end_ms is None or line.at_ms < end_ms)
        ]
        lines.sort(key=lambda line: (line.at_ms, line.written_ms, line.id))
        asked = {} if params["nextToken"] == EMPTY_FIRST_PAGE else {"nextToken": params["nextToken"]}
        page, more = read_page(lines, asked, size=params.get("limit", PAGE_SIZE), token="nextToken")
        return {"events": [_render(line) for line in page], "searchedLogStreams": [], **more}


def _render(line: Line) -> Answer:
    return {
        "logStreamName": line.stream,
        "timestamp": line.at_ms,
        "message": line.text,
        "ingestionTime": line.written_ms,
        "eventId": line.id,
    }
