"""Print the part of requirements.lock that `ghostpen deploy` needs: 100 MB of its 6 GB.

Derived, not kept: the lock says of each package which others need it. Usage: python tools/deploy_requirements.py LOCK
"""

import re
import sys
from collections.abc import Collection
from pathlib import Path

# What ghostpen.cli and ghostpen.aws import themselves, and what builds the package.
ROOTS = ("boto3", "pydantic", "rich", "setuptools", "typer")


def read_packages(lock: str) -> dict[str, str]:
    """Read each package's part of a lock of uv's, by name."""
    parts = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]
    return {part.partition("==")[0]: part for part in parts}


def list_dependents(part: str) -> set[str]:
    """List who needs a package: the names after `# via`, on its line or one a line."""
    names = re.findall(r"^ +# (?:via|  )(.*)$", part, flags=re.MULTILINE)
    return {name.strip() for name in names} - {""}


def compute_part(lock: str, roots: Collection[str] = ROOTS) -> str:
    """Take the roots out of a lock, and all that they need, with their hashes.

    Raises:
        KeyError: the lock has no such root.
    """
    packages = read_packages(lock)
    needed = set(roots)
    while added := {name for name, part in packages.items() if list_dependents(part) & needed} - needed:
        needed |= added
    return "".join(packages[name] for name in sorted(needed))


if __name__ == "__main__":
    print(compute_part(Path(sys.argv[1]).read_text(encoding="utf-8")), end="")
