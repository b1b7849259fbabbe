"""docker with a container engine behind it: images are pulled, and containers are containers.

The machine's plan names the command of a client, and an address of an engine that runs beside the simulator, as
dockerd does beside an instance's scripts. What this machine can't give is left out of the calls: the GPU, memory
locked without a limit, and CloudWatch's log driver, whose lines are sent from here.
"""

from __future__ import annotations

import os
import subprocess
from typing import NoReturn

from container import SHARED, find_log, pass_lines_on
from machine import ENVIRONMENT, FOLDER, PLAN, leave_behind, read_state, write_state

ENGINE: list[str] = PLAN["engine"]
NOT_HERE = ("--gpus", "--log-driver", "--log-opt")
LIMIT_NOT_HERE = "memlock=-1"  # a machine within a machine may not lock all of its memory
# Where a call names any limit, podman adds defaults of its own, which can be more than the machine itself has.
LIMITS = ("--ulimit=nofile=20000:20000", "--ulimit=nproc=32768:32768")
# The registry asks for no password; the stand-in has taken the account's.
VARIABLES = {name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"}
# Names are an instance's own; here all instances share one engine.
OWN = f"{FOLDER.name}-"


def exec_engine(*arguments: str) -> NoReturn:
    """Let the engine answer, and end as it does."""
    raise SystemExit(subprocess.run([*ENGINE, *arguments], env=VARIABLES, check=False).returncode)


def run(options: dict[str, list[str]], image: str, command: list[str], *, supervise_with: list[str]) -> NoReturn:
    """Run a container on the machine's network; the lines of one that is detached go to CloudWatch."""
    detached = "--detach" in options
    name = options.get("--name", [""])[0]
    kept = {key: values for key, values in options.items() if key not in (*NOT_HERE, "--name")}
    words = [f"{key}={value}" if value else key for key, values in kept.items() for value in values]
    words = [word for word in words if word != f"--ulimit={LIMIT_NOT_HERE}"]
    words += LIMITS
    words += [f"--env={key}={ENVIRONMENT[key]}" for key in SHARED if key != "TMPDIR"]
    words += [f"--env={key}={value}" for key, value in PLAN["container_environment"].items()]
    if name:
        words.append(f"--name={OWN}{name}")
    done = subprocess.run([*ENGINE, "run", "--network=host", *words, image, *command], env=VARIABLES, check=False)
    if detached and done.returncode == 0:
        logs = dict(option.partition("=")[::2] for option in options.get("--log-opt", []))
        write_state(FOLDER / "containers" / f"{name}.json", {"logs": logs})
        leave_behind(*supervise_with)
    raise SystemExit(done.returncode)


def supervise(name: str) -> None:
    """Pass a container's lines on until it ends."""
    container = read_state(FOLDER / "containers" / f"{name}.json") or {}
    find_log(name).touch()
    follower = subprocess.Popen(
        [*ENGINE, "logs", "--follow", f"{OWN}{name}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    pass_lines_on(follower, name, container["logs"])
    follower.wait()


def answer(arguments: list[str]) -> NoReturn:
    """Answer a call about a container, whose name comes last, or about an image."""
    *words, last = arguments
    exec_engine(*words, last if words[:1] == ["image"] else f"{OWN}{last}")
