"""One program under the names `aws` and `gh`, as on the machine of somebody who is signed in to both.

Called as `python account_programs.py NAME ARGUMENT...` with $WORLD, a folder:

    plan.json    answers, by the beginning of the command line: {"out": ..., "err": ..., "code": ..., "after_s": ...}
    calls.jsonl  every call: the arguments, and what came on stdin
"""

import json
import os
import sys
import time
from pathlib import Path

WORLD = Path(os.environ["WORLD"])


def main():
    line = " ".join(sys.argv[1:])
    with (WORLD / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"line": line, "stdin": sys.stdin.read()}) + "\n")
    plan = json.loads((WORLD / "plan.json").read_text())
    beginnings = [beginning for beginning in plan if line.startswith(beginning)]
    if not beginnings:
        print("the stand-in has no answer to this", file=sys.stderr)
        return 254
    answer = plan[max(beginnings, key=len)]
    time.sleep(answer.get("after_s", 0))
    print(answer.get("out", ""), end="")
    print(answer.get("err", ""), end="", file=sys.stderr)
    return answer.get("code", 0)


sys.exit(main())
