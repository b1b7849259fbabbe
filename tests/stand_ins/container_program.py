"""What the container runs in tests of the deployment that are not about training: `ghostpen run`, without a model.

Takes the same words, reads its settings from S3, writes the same bundles. The run's name says how it goes: one that
begins with "fails" leaves with 3, with "waits" goes on until SIGTERM; any other one succeeds, with "lasts" not before
the object `enough` is in the run's place.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from ghostpen.aws.bundle import list_bundles, push_bundle
from ghostpen.aws.s3 import ObjectStore, S3Location, make_client, parse_location
from ghostpen.config import parse_run_config

parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["run"])
parser.add_argument("--mode", choices=["train", "test"], required=True)
parser.add_argument("--config", required=True)
parser.add_argument("--run-id", required=True)
parser.add_argument("--set", action="append", required=True)
parser.add_argument("--no-control", action="store_true")
options = parser.parse_args()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

place = parse_location(options.config)
folder, _, name = place.prefix.rpartition("/")
content = ObjectStore(make_client(), S3Location(place.bucket, folder)).read_object(name)
config = parse_run_config(content or b"", [*options.set, "data.dir=data"], where=options.config)
print(f"{options.mode} {config.name}, with a key: {os.environ['WANDB_API_KEY']}", flush=True)

if options.run_id.startswith("fails"):
    print("nothing was learned", flush=True)
    sys.exit(3)
while options.run_id.startswith("waits"):
    time.sleep(0.1)

store = ObjectStore(make_client(), parse_location(config.storage.uri or ""))
run = f"runs/{options.run_id}"
while options.run_id.startswith("lasts") and store.read_object(f"{run}/enough") is None:
    time.sleep(0.3)
if options.mode == "train":
    names = [f"{run}/results/{role}" for role in ("author", "control")[: 1 if options.no_control else 2]]
    files = {"manifest.json": {"best": {"step": 1}}, "metrics.jsonl": {"step": 1, "split": "val", "perplexity": 44.1}}
else:
    names = [f"{run}/tests/{len(list_bundles(store, f'{run}/tests')) + 1}"]
    files = {"report.json": {"verdict": "It does.", "author_test": {"models": {"author": {"perplexity": 44.1}}}}}
with tempfile.TemporaryDirectory() as written:
    paths = {name: Path(written) / name for name in files}
    for name, path in paths.items():
        path.write_text(json.dumps(files[name]) + "\n")
    for bundle in names:
        push_bundle(store, bundle, paths, info={})
