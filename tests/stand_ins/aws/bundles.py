"""Bundles as `ghostpen.aws.bundle` lays them out, written without it: the twin of the container's uploads.

`tests/unit/stand_ins/test_bundles.py` holds them against the real reader and the real writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MANIFEST = "manifest.json"


def render_bundle(files: Mapping[str, bytes], *, info: Mapping[str, Any], created_at: str) -> dict[str, bytes]:
    """Render a bundle's objects by their names below the bundle's own; the manifest is the last."""
    entries = [
        {"path": path, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in sorted(files.items())
    ]
    lines = "".join(f"{entry['path']}\0{entry['size_bytes']}\0{entry['sha256']}\n" for entry in entries)
    folder = f"files/{hashlib.sha256(lines.encode()).hexdigest()[:16]}"
    manifest = {"format": 1, "created_at": created_at, "folder": folder, "info": dict(info), "files": entries}
    objects = {f"{folder}/{path}": content for path, content in sorted(files.items())}
    return objects | {MANIFEST: (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()}
