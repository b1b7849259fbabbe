"""Stands in for llama.cpp's converter: the same arguments, and a file that begins as a GGUF does.

A file `fail` beside this one makes it fail, `hang` makes it never end.
"""

import argparse
import json
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--outfile", type=Path, required=True)
parser.add_argument("--outtype", choices=["f32", "f16", "bf16", "q8_0", "tq1_0", "tq2_0", "auto"], default="auto")
parser.add_argument("model", type=Path)
arguments = parser.parse_args()

here = Path(__file__).parent
config = json.loads((arguments.model / "config.json").read_text(encoding="utf-8"))
print(f"INFO: Model architecture: {config['architectures'][0]}", file=sys.stderr, flush=True)
if (here / "fail").exists():
    print("NotImplementedError: BPE pre-tokenizer was not recognized", file=sys.stderr)
    sys.exit(1)
if (here / "hang").exists():
    time.sleep(600)
shards = sorted(path.name for path in arguments.model.glob("*.safetensors"))
text = json.dumps({"outtype": arguments.outtype, "shards": shards, "files": len(list(arguments.model.iterdir()))})
arguments.outfile.write_bytes(b"GGUF\x03\x00\x00\x00" + text.encode())
