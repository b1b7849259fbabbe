"""The folder of an export: there whole or not at all, never over files of somebody else.

An export is written into `NAME.part` and renamed when it is done. `export.json` in it says from what it was
made and which files belong to it: that is how the same export is recognised, and how ours is told from others'.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ghostpen.errors import ExportError

SEAL = "export.json"


def is_same_export(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """Tell whether `folder` holds the whole export of `inputs`: every file is there, in its size."""
    seal = _read_seal(folder)
    return seal is not None and seal["inputs"] == inputs and seal["size_bytes"] == _measure_files(folder)


def check_replaceable(folder: Path) -> None:
    """Make sure that `folder` is free, or holds nothing but an export.

    Raises:
        ExportError: it holds something else.
    """
    for place in (folder, _part_of(folder)):
        if not place.exists() and not place.is_symlink():
            continue
        if not place.is_dir() or place.is_symlink():
            raise ExportError(f"{place} is not a folder; name another one with --out DIR")
        seal = _read_seal(place)
        # What a stopped export left has no sizes yet: all below it is ours, since it is named so.
        ours = seal is not None and (place != folder or set(_measure_files(place)) <= set(seal["size_bytes"]))
        if any(place.iterdir()) and not ours:
            raise ExportError(
                f"{place} holds files that ghostpen didn't export; name an empty folder with --out DIR, "
                "or empty that one"
            )


@contextmanager
def write_export(folder: Path, inputs: Mapping[str, Any]) -> Iterator[Path]:
    """Give an empty folder to write into; what it holds at the end takes the place of what stood in `folder`.

    After an error nothing of it stays, and what stood in `folder` still does. `check_replaceable` comes first.
    """
    part = _part_of(folder)
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        _write_seal(part, inputs, {})
        yield part
        _write_seal(part, inputs, _measure_files(part))
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        if part.exists():
            shutil.rmtree(part)


def check_room(needed_bytes: int, *, free_bytes: int, folder: Path, what: str) -> None:
    """Refuse before anything is written what cannot fit.

    Raises:
        ExportError: `folder` has less room than is needed.
    """
    if needed_bytes > free_bytes:
        raise ExportError(
            f"{what} takes {render_size(needed_bytes)} of disk, and {folder} has {render_size(free_bytes)} free; "
            "make room, or name a folder on a larger disk with --out DIR"
        )


def render_size(size_bytes: float) -> str:
    """Render a size with three digits, in units of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" or size_bytes >= 100 else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def _part_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".part")


def _measure_files(folder: Path) -> dict[str, int]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): path.stat().st_size for path in files if path.relative_to(folder) != Path(SEAL)
    }


def _write_seal(folder: Path, inputs: Mapping[str, Any], size_bytes: Mapping[str, int]) -> None:
    text = json.dumps({"inputs": inputs, "size_bytes": size_bytes}, indent=2) + "\n"
    (folder / SEAL).write_text(text, encoding="utf-8")


def _read_seal(folder: Path) -> dict[str, Any] | None:
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return seal if isinstance(seal, dict) and seal.keys() == {"inputs", "size_bytes"} else None
