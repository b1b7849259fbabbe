"""docker without containers: `run --detach` starts a process of the machine, with the environment a container has.

Commands and exit codes as of docker 29, as far as ghostpen uses them. The image is what the registry of the simulated
account lists; what runs in its place is the machine's `command`. Isolation, GPUs and limits are not modelled. With an
engine in the machine's plan, the image is pulled from a registry and containers are the engine's (engine.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import engine
from container import find_log, start_container, supervise
from machine import FOLDER, PLAN, fail, is_alive, note_call, read_state, write_state

SUPERVISE = "--as-supervisor"
PASSWORD = "registry-password"
VALUE_OPTIONS = {
    "--name", "--gpus", "--ipc", "--ulimit", "--env-file", "--env", "-e", "--log-driver", "--log-opt", "--entrypoint",
    "--volume", "-v", "--shm-size", "--network", "--user", "--workdir", "--stop-timeout",
}  # fmt: skip
IMAGES = FOLDER / "images.json"


def login(arguments: list[str]) -> None:
    registry, given = arguments[-1], sys.stdin.read().strip()
    if "--password-stdin" not in arguments:
        fail("docker: the stand-in takes a password from stdin only")
    if given != PASSWORD or registry != PLAN["registry"]:
        fail("Error response from daemon: login attempt failed with status: 401 Unauthorized")
    write_state(find_credentials(), {"registry": registry})
    print("Login Succeeded")


def find_credentials() -> Path:
    folder = Path(os.environ.get("DOCKER_CONFIG", Path(os.environ["HOME"]) / ".docker"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "stand-in.json"


def pull(image: str) -> None:
    if PLAN["pull"] == "does not return":
        time.sleep(86400)
    if read_state(find_credentials()) is None:
        fail("Error response from daemon: no basic auth credentials")
    repository, _, digest = image.removeprefix(f"{PLAN['registry']}/").partition("@")
    if digest not in PLAN["images"].get(repository, []):
        fail(f"Error response from daemon: manifest for {image} not found: manifest unknown")
    time.sleep(PLAN["pull_s"])
    if PLAN["pull"] == "fails":
        fail("failed to register layer: write /usr/lib/x: no space left on device")
    if PLAN["engine"]:
        engine.exec_engine("pull", "--quiet", image)
    pulled = read_state(IMAGES) or {}
    write_state(IMAGES, pulled | {image: f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"})
    print(image)


def parse_run(arguments: list[str]) -> tuple[dict[str, list[str]], str, list[str]]:
    """Part options, image and the container's arguments."""
    options: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if not equals and name in VALUE_OPTIONS:
            value = rest.pop(0)
        options.setdefault(name, []).append(value)
    if not rest:
        fail("docker: 'docker run' requires at least 1 argument", 125)
    return options, rest[0], rest[1:]


def run(arguments: list[str]) -> None:
    options, image, command = parse_run(arguments)
    looks_at_gpu = "--entrypoint" in options
    # The check itself, where it is to find no GPU: there is none.
    if PLAN["engine"] and (not looks_at_gpu or PLAN["smoke"] == "CUDA fails in the image"):
        engine.run(options, image, command, supervise_with=[SUPERVISE, *options.get("--name", [""])])
    if looks_at_gpu and PLAN["engine"]:
        check_gpu(command)
        return
    if image not in (read_state(IMAGES) or {}):
        fail(f"docker: Unable to find image '{image}' locally", 125)
    if looks_at_gpu:
        check_gpu(command)
        return
    if "--detach" not in options and "-d" not in options:
        fail("docker: the stand-in runs containers detached only", 125)
    name = (options.get("--name") or [f"c{os.getpid()}"])[0]
    print(start_container(name, options, command, supervise_with=[SUPERVISE, name]))


def check_gpu(command: list[str]) -> None:
    """Stand for the check of CUDA inside of the image."""
    if PLAN["smoke"] == "CUDA fails in the image":
        fail("CUDA is not available inside of the image")
    if PLAN["smoke"] == "too little free GPU memory":
        fail(f"too little free memory for {' '.join(command)}")
    print("CUDA computes (stand-in): NVIDIA L40S, 44.0 GB free")


def find_container(name: str) -> dict[str, Any]:
    state = read_state(FOLDER / "containers" / f"{name}.json")
    if state is None:
        fail(f"Error response from daemon: No such container: {name}")
    return state


def inspect(arguments: list[str]) -> None:
    template, name = read_format(arguments), arguments[-1]
    state = find_container(name)
    known = {f"{{{{.State.{key}}}}}": render(value) for key, value in state["State"].items()} | {
        "{{.Id}}": state["id"]
    }
    for field, value in known.items():
        template = template.replace(field, value)
    if "{{" in template:
        fail(f"template: the stand-in does not know {template}")
    print(template)


def inspect_image(arguments: list[str]) -> None:
    found = (read_state(IMAGES) or {}).get(arguments[-1])
    if found is None:
        fail(f"Error response from daemon: No such image: {arguments[-1]}")
    print(found)


def read_format(arguments: list[str]) -> str:
    for number, argument in enumerate(arguments):
        if argument in {"--format", "-f"}:
            return arguments[number + 1]
        if argument.startswith("--format="):
            return argument.partition("=")[2]
    fail("docker: the stand-in inspects with --format only")


def render(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def stop(arguments: list[str]) -> None:
    """Send SIGTERM, and after the grace SIGKILL to all that the container has started."""
    name, grace_s = arguments[-1], 10
    if grace := re.search(r"(?:^| )(?:-t|--time|--timeout)[ =](\d+)", " ".join(arguments)):
        grace_s = int(grace[1])
    pid: int | None = find_container(name).get("pid")
    if pid is not None and is_alive(pid) and not PLAN["ignores_sigterm"]:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + grace_s
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    if pid is not None and is_alive(pid):
        os.killpg(pid, signal.SIGKILL)
    wait_for_end(name)
    print(name)


def wait_for_end(name: str) -> int:
    while (state := find_container(name))["State"]["Status"] != "exited":
        time.sleep(0.05)
    return int(state["State"]["ExitCode"])


def logs(arguments: list[str]) -> None:
    find_container(arguments[-1])
    lines = find_log(arguments[-1]).read_text(encoding="utf-8", errors="replace").splitlines()
    tail = re.search(r"(?:-n|--tail)[ =](\d+)", " ".join(arguments))
    for line in lines[-int(tail[1]) :] if tail else lines:
        print(line)


def main() -> None:
    if sys.argv[1:2] == [SUPERVISE]:
        (engine.supervise if PLAN["engine"] else supervise)(sys.argv[2])
        return
    note_call("docker")
    if PLAN["engine"] and sys.argv[1:2] not in (["login"], ["pull"], ["run"]):
        engine.answer(sys.argv[1:])
    match sys.argv[1:]:
        case ["login", *arguments]:
            login(arguments)
        case ["pull", *arguments]:
            pull(arguments[-1])
        case ["image", "inspect", *arguments]:
            inspect_image(arguments)
        case ["run", *arguments]:
            run(arguments)
        case ["inspect", *arguments]:
            inspect(arguments)
        case ["rm", *arguments]:
            find_container(arguments[-1])  # one that has ended is gone already (--rm)
        case ["stop", *arguments]:
            stop(arguments)
        case ["wait", name]:
            print(wait_for_end(name))
        case ["logs", *arguments]:
            logs(arguments)
        case _:
            fail(f"docker: the stand-in does not know {sys.argv[1:]}")


main()
