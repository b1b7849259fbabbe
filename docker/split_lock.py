"""Cut requirements.lock into the parts that the image installs one after another, the heaviest and calmest first.

    python docker/split_lock.py requirements.lock FOLDER    # writes cuda.txt, torch.txt and rest.txt

The lock stays the only list: a part is a rule about names. A package that a rule forgets is installed all the same,
in a later layer. Comments are left out, so that a part changes, and its layer is built again, only with a pin of its
own.
"""

import re
import sys
from pathlib import Path

# In the order of their layers. The first rule that fits a name takes it.
PARTS = {
    "cuda": r"nvidia-.+|cuda-.+",  # 3 GB of NVIDIA's libraries: they move when torch goes to another CUDA
    "torch": r"torch.*|triton|xformers|bitsandbytes",  # 2 GB: torch, and what is compiled for its very release
    "rest": r".+",
}


def split_lock(lock: str) -> dict[str, str]:
    """Give every pin with its hashes to one part.

    Raises:
        ValueError: a line is neither a pin, nor a hash, nor a comment, so that something would be left out.
    """
    parts = dict.fromkeys(PARTS, "")
    part = ""
    for number, line in enumerate(lock.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if pin := re.fullmatch(r"([a-z0-9][a-z0-9._-]*)==\S+ \\", line):
            part = next(name for name, rule in PARTS.items() if re.fullmatch(rule, pin[1]))
        elif not part or not re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line):
            raise ValueError(f"requirements.lock:{number}: neither a pin nor its hash: {line!r}")
        parts[part] += line + "\n"
    return parts


if __name__ == "__main__":
    source, folder = map(Path, sys.argv[1:])
    for name, text in split_lock(source.read_text(encoding="utf-8")).items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
