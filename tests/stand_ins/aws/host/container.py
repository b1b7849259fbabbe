"""One container of the docker stand-in: its process, its state, its lines in CloudWatch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from machine import ENVIRONMENT, FOLDER, PLAN, fail, leave_behind, read_state, write_state

START_LIMIT_S = 30
FLUSH_S = 0.5
# Of the machine's environment, a container gets the way to AWS, a place to write, and the machine's mark.
SHARED = ("TMPDIR", "GHOSTPEN_MACHINE", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT")


def find_log(name: str) -> Path:
    """Find the file of a container's lines."""
    return FOLDER / "containers" / f"{name}.log"


def read_environment(options: dict[str, list[str]]) -> dict[str, str]:
    """Read what the container's environment is: the image's, then --env-file, then --env."""
    variables: dict[str, str] = dict(PLAN["container_environment"])
    for path in options.get("--env-file", []):
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.partition("=")
                variables[name] = value
    for assignment in [*options.get("--env", []), *options.get("-e", [])]:
        name, _, value = assignment.partition("=")
        variables[name] = value
    return variables


def start_container(
    name: str, options: dict[str, list[str]], command: list[str], *, supervise_with: list[str]
) -> str:
    """Start a container, and give its id once it runs."""
    path = FOLDER / "containers" / f"{name}.json"
    if path.exists():
        fail(f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use.', 125)
    container_id = uuid.uuid4().hex * 2
    log_options = dict(option.partition("=")[::2] for option in options.get("--log-opt", []))
    secrets = FOLDER / "run" / f"container-{name}"  # what the daemon keeps in its memory
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps(read_environment(options)), encoding="utf-8")
    state = {"Status": "created", "Running": False, "ExitCode": 0, "OOMKilled": False}
    write_state(path, {"id": container_id, "command": command, "logs": log_options, "pid": None, "State": state})
    leave_behind(*supervise_with)
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if (read_state(path) or {})["State"]["Status"] != "created":
            return container_id
        time.sleep(0.02)
    fail(f"docker: the container {name} did not start within {START_LIMIT_S} s", 125)


def supervise(name: str) -> None:
    """Run the container's process, pass its lines on, and keep how it ended."""
    path = FOLDER / "containers" / f"{name}.json"
    container = read_state(path) or {}
    secrets = FOLDER / "run" / f"container-{name}"
    variables = json.loads(secrets.read_text(encoding="utf-8"))
    secrets.unlink()
    home = FOLDER / "home" / name
    home.mkdir()
    shared = {variable: ENVIRONMENT[variable] for variable in SHARED} | {"PATH": os.defpath, "HOME": str(home)}
    process = subprocess.Popen(
        make_command(container["command"]),
        env=shared | variables,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    running = {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False}
    write_state(path, container | {"pid": process.pid, "State": running})
    pass_lines_on(process, name, container["logs"])
    exit_code = process.wait()
    ended = {
        "Status": "exited",
        "Running": False,
        "ExitCode": exit_code if exit_code >= 0 else 128 - exit_code,
        "OOMKilled": bool(PLAN["out_of_memory"]),
    }
    write_state(path, container | {"State": ended})


def make_command(arguments: list[str]) -> list[str]:
    """Give what runs: the machine's command, or in its place what the plan lets go wrong."""
    if PLAN["out_of_memory"]:
        return ["/bin/sh", "-c", "echo 'allocating'; kill -KILL $$"]
    if PLAN["exit_code"]:
        return ["/bin/sh", "-c", f"echo 'injected failure'; exit {PLAN['exit_code']}"]
    if not PLAN["command"]:
        return ["/bin/sh", "-c", "echo 'the machine has no command for containers'; exit 127"]
    return [*PLAN["command"], *arguments]


def pass_lines_on(process: subprocess.Popen[bytes], name: str, log_options: dict[str, str]) -> None:
    """Write each line to the container's log at once, and to CloudWatch soon after, until the last."""
    lines: Queue[dict[str, Any] | None] = Queue()
    sender = threading.Thread(target=send_lines, args=(lines, log_options))
    sender.start()
    assert process.stdout is not None
    with find_log(name).open("ab", buffering=0) as log:
        for line in process.stdout:
            log.write(line)
            text = line.decode(errors="replace").rstrip("\n")
            if text:
                lines.put({"timestamp": round(time.time() * 1000), "message": text})
    lines.put(None)
    sender.join()


def send_lines(lines: Queue[dict[str, Any] | None], log_options: dict[str, str]) -> None:
    """Send lines in batches; docker's non-blocking mode drops what CloudWatch does not take."""
    if "awslogs-group" not in log_options:
        return
    stream = {"logGroupName": log_options["awslogs-group"], "logStreamName": log_options["awslogs-stream"]}
    call_logs("CreateLogStream", stream)
    open_ended = True
    while open_ended:
        batch = []
        try:
            while (line := lines.get(timeout=FLUSH_S)) is not None:
                batch.append(line)
            open_ended = False
        except Empty:
            pass
        if batch:
            call_logs("PutLogEvents", {**stream, "logEvents": batch})


def call_logs(operation: str, parameters: dict[str, Any]) -> None:
    """Call CloudWatch with the machine's role; the simulator checks no signature."""
    machine = int(ENVIRONMENT["AWS_EC2_METADATA_SERVICE_ENDPOINT"].rstrip("/").rpartition("/i-")[2], 16)
    scope = f"ASIAINSTANCE{machine:08}/20260101/{ENVIRONMENT['AWS_DEFAULT_REGION']}/logs/aws4_request"
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"Logs_20140328.{operation}",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    body = json.dumps(parameters).encode()
    request = urllib.request.Request(ENVIRONMENT["AWS_ENDPOINT_URL"], data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
    except urllib.error.URLError as error:
        print(f"awslogs: {operation}: {error}", file=sys.stderr)
