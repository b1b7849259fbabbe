"""In place of a training or a test: FOLDER VERB RUN_ID SCRIPT. Does what the script says; on SIGTERM it leaves a
checkpoint. As `ghostpen train --resume` does, it does nothing where the folder is finished."""

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

folder, verb, run_id, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
step = 0


def write_manifest(finished: bool) -> None:
    (folder / "part").write_text(json.dumps({"run_id": run_id, "finished": finished}))
    (folder / "part").rename(folder / "manifest.json")


def write_checkpoint(number: int, weights: str = "weights") -> None:
    global step
    step = number
    place = folder / f"checkpoints/checkpoint-{number}"
    place.mkdir(parents=True)
    (place / "adapter.bin").write_text(f"{weights} of step {number}")
    digest = hashlib.sha256((place / "adapter.bin").read_bytes()).hexdigest()
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"step": number}) + "\n")
    write_manifest(False)
    seal = {"progress": {"course": {"best_step": min(number, 2)}}, "sha256": {"adapter.bin": digest}}
    (place / "part").write_text(json.dumps(seal))
    (place / "part").rename(place / "seal.json")


def stop(number: int, _frame: Any) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])  # one may come several times
    if not ignores:
        write_checkpoint(step + 1, "last weights")
        print(f"error: stopped at step {step}", file=sys.stderr)
        os._exit(128 + number)


ignores = any(act[0] == "ignore signals" for act in script)
if ["signals end it"] not in script:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
manifest = folder / "manifest.json"
if verb == "train" and manifest.exists() and json.loads(manifest.read_text())["finished"]:
    print("nothing to do", flush=True)
    sys.exit()
for act, *arguments in script:
    match act:
        case "print":
            print(arguments[0], flush=True)
        case "print to stderr":
            sys.stderr.buffer.write(arguments[0].encode())
            sys.stderr.flush()
        case "print variables":
            print(" ".join(sorted(os.environ)), flush=True)
        case "fail":
            print(arguments[1], file=sys.stderr)
            sys.exit(arguments[0])
        case "die":
            os.kill(os.getpid(), arguments[0])
        case "checkpoint":
            if not (folder / f"checkpoints/checkpoint-{arguments[0]}").exists():
                write_checkpoint(arguments[0])
        case "delete checkpoint":
            shutil.rmtree(folder / f"checkpoints/checkpoint-{arguments[0]}")
        case "block":  # a folder that is not there yet
            Path(arguments[0]).touch()
        case "sleep":
            time.sleep(arguments[0])
        case "touch and sleep":
            (folder / "reached").touch()
            time.sleep(arguments[0])
        case "wait for":
            while not Path(arguments[0]).exists():
                time.sleep(0.01)
        case "say where from":
            found = sorted(path.parent.name for path in folder.glob("checkpoints/*/seal.json"))
            print(f"going on with {found}", flush=True)
        case "finish":
            (folder / "adapter").mkdir(exist_ok=True)
            (folder / "adapter/adapter.bin").write_text("final weights")
            write_manifest(True)
        case "report":
            (folder / "report.json").write_text("{}")
            (folder / "specificity.png").write_text("a picture")
            (folder / "report.html").write_text("a page")
