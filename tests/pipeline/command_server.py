"""Runs `ghostpen` commands as processes of their own, with Unsloth and torch imported once for all of them.

Importing Unsloth takes ten seconds and replaces parts of transformers, PEFT and TRL. So it is imported here,
not in pytest's process: what a test computes to check ghostpen, it computes with the plain libraries. Each
command is a fork: it has its own exit code, output, working directory and Ctrl-C.

A request is a line of JSON on standard input: {"arguments", "code", "environment", "folder", "stdout",
"stderr"}. `code`, if not null, is run in place of the command line. Answers: the process id, then the exit code.
"""

import contextlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Hold forks to the rule that tests/conftest.py sets for pytest's own process."""
    if event in {"socket.connect", "socket.sendto"} and not is_loopback(arguments[1]):
        raise PermissionError(f"a command tried to reach {arguments[1]!r}")
    if event == "socket.getaddrinfo" and not is_loopback(arguments[0]):
        raise PermissionError(f"a command tried to look up {arguments[0]!r}")


def run_command(request: dict[str, Any]) -> int:
    """Turn this fork into what was asked for; returns its exit code."""
    os.setpgid(0, 0)  # a group of its own, as a shell gives it: Ctrl-C reaches what it has started, too
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, request["stdout"]), (2, request["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["ghostpen", *request["arguments"]]
    try:
        if request["code"] is None:
            app()
        else:
            exec(compile(request["code"], "<code of a test>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    """Run one request after the other until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    requests = os.fdopen(os.dup(0))
    for line in requests:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            exit_code = run_command(request)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)  # as multiprocessing does: what libraries clean up at exit is the server's
        with contextlib.suppress(OSError):  # it did so itself, or has ended
            os.setpgid(child, child)  # here, too, as shells do: who reads the answer may send it a signal at once
        print(child, file=answers)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers)


if __name__ == "__main__":
    is_loopback = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["is_loopback"]
    sys.addaudithook(refuse_network)
    from ghostpen.model.loading import import_unsloth

    import_unsloth(require_gpu=False)
    # More of what the verbs load.
    import ghostpen.evaluation.run
    import ghostpen.training.trainer  # noqa: F401
    from ghostpen.cli import app

    serve()
