"""shutdown: now, or in so many minutes. EC2 then terminates the machine, as the launch template asks."""

import re
import sys

from machine import fail, note_call, post

note_call("shutdown")
when = [argument for argument in sys.argv[1:] if not argument.startswith("-")][:1] or ["+1"]
if when[0] in {"now", "+0"}:
    post("power-off", {})
elif minutes := re.fullmatch(r"\+(\d+)", when[0]):
    post("timers", {"seconds": 60 * int(minutes[1]), "command": ["shutdown", "now"], "unit": "shutdown"})
else:
    fail(f"shutdown: the stand-in does not know {when[0]}")
