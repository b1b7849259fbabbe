"""systemd-run: a transient service, or a timer for one. Services get the machine's environment, not the caller's.

Only what ghostpen uses: --unit, --on-active=Ns; other options are taken and have no effect.
"""

import re
import subprocess
import sys
import time

from machine import ENVIRONMENT, FOLDER, fail, is_alive, leave_behind, note_call, post, read_state, write_state

SERVICE = "--as-service"
START_LIMIT_S = 30


def split_arguments(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Part the options from the command behind them."""
    options: dict[str, str] = {}
    for number, argument in enumerate(arguments):
        if argument == "--":
            return options, arguments[number + 1 :]
        if not argument.startswith("-"):
            return options, arguments[number:]
        name, _, value = argument.partition("=")
        options[name] = value
    return options, []


def name_unit(name: str) -> str:
    return name.removesuffix(".service")


def run_service(unit: str, command: list[str]) -> None:
    """Run the service's main process, and keep how it ended."""
    path = FOLDER / "units" / f"{unit}.json"
    log = FOLDER / "log" / unit
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=ENVIRONMENT, cwd=FOLDER / "tmp", stdout=output, stderr=output, start_new_session=True
        )
    write_state(path, {"pid": process.pid, "command": command})
    exit_code = process.wait()
    write_state(path, {"pid": None, "exit_code": exit_code})


def main() -> None:
    if sys.argv[1:2] == [SERVICE]:
        run_service(sys.argv[2], sys.argv[3:])
        return
    note_call("systemd-run")
    options, command = split_arguments(sys.argv[1:])
    unit = name_unit(options.get("--unit", ""))
    if not re.fullmatch(r"[a-zA-Z0-9_.@-]+", unit) or not command:
        fail("systemd-run: the stand-in needs --unit=NAME and a command")
    path = FOLDER / "units" / f"{unit}.json"
    state = read_state(path)
    if state is not None and (is_alive(state.get("pid")) or state.get("timer") or state.get("exit_code")):
        fail(
            f"Failed to start transient service unit: Unit {unit}.service was already loaded or has a fragment file."
        )
    if "--on-active" in options:
        seconds = re.fullmatch(r"(\d+)(?:s|sec)?", options["--on-active"])
        if not seconds:
            fail("systemd-run: the stand-in takes --on-active=NUMBERs only")
        write_state(path, {"timer": True})
        post("timers", {"seconds": int(seconds[1]), "command": command, "unit": unit})
        print(f"Running timer as unit: {unit}.timer", file=sys.stderr)
        return
    write_state(path, {"starting": True})
    leave_behind(SERVICE, unit, *command)
    end = time.monotonic() + START_LIMIT_S
    while (read_state(path) or {}).get("starting"):
        if time.monotonic() > end:
            fail(f"Failed to start transient service unit: {unit}.service did not start in time.")
        time.sleep(0.02)
    print(f"Running as unit: {unit}.service", file=sys.stderr)


main()
