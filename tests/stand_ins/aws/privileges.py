"""Under whom an instance's scripts run: never root.

Not root already: as the user. Root: as nobody, without capabilities, by `setpriv`. Where nobody can't reach the
Python that runs the tests (one below /root), it keeps the single right to read everything, and still none to write.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

READ_ALL = "dac_read_search"
PROBE = f"{sys.executable} -c 'import json, ssl'"


@dataclass(frozen=True)
class Drop:
    """How a command is started unprivileged: what stands before it, and who owns its files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a file or folder to whom the scripts run as."""
        os.chown(path, self.uid, self.gid)


@cache
def find_drop() -> Drop:
    """Find the least privileged way that still reaches this Python.

    Raises:
        RuntimeError: there is none.
    """
    if os.getuid() != 0:
        return Drop((), os.getuid(), os.getgid())
    nobody = pwd.getpwnam("nobody")
    who = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs")
    bare = (*who, "--bounding-set=-all")
    kept = f"-all,+{READ_ALL}"
    reading = (*who, f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}")
    for prefix in (bare, reading):
        if subprocess.run([*prefix, "/bin/sh", "-c", PROBE], capture_output=True, check=False).returncode == 0:
            return Drop(prefix, nobody.pw_uid, nobody.pw_gid)
    raise RuntimeError(
        f"{sys.executable} can't be run as nobody; install util-linux's setpriv, or do not test as root"
    )
