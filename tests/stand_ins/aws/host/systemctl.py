"""systemctl: is-active, list-units, stop and poweroff of the units that systemd-run has started."""

import fnmatch
import os
import signal
import sys
import time

from machine import FOLDER, fail, is_alive, note_call, post, read_state

STOP_TIMEOUT_S = 90


def find_pid(unit: str) -> int | None:
    state = read_state(FOLDER / "units" / f"{unit.removesuffix('.service')}.json")
    pid = None if state is None else state.get("pid")
    return pid if is_alive(pid) else None


def stop(unit: str) -> None:
    """Send SIGTERM to the main process, SIGKILL to its group when it takes too long."""
    pid = find_pid(unit)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_TIMEOUT_S
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    if is_alive(pid):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    note_call("systemctl")
    words = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    quiet = {"--quiet", "-q"} & set(sys.argv[1:])
    match words:
        case ["is-active", unit]:
            active = find_pid(unit) is not None
            if not quiet:
                print("active" if active else "inactive")
            sys.exit(0 if active else 3)
        case ["list-units", *patterns]:
            for path in sorted((FOLDER / "units").glob("*.json")):
                name = f"{path.stem}.service"
                if find_pid(path.stem) and any(fnmatch.fnmatch(name, pattern) for pattern in patterns or ["*"]):
                    print(f"{name} loaded active running {path.stem}")
        case ["stop", *units]:
            for unit in units:
                stop(unit)
        case ["poweroff"]:
            post("power-off", {})
        case ["daemon-reload"] | ["enable", *_] | ["start", *_]:
            pass
        case _:
            fail(f"systemctl: the stand-in does not know {words}")


main()
