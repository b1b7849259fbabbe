"""Files that are there whole or not at all."""

from pathlib import Path


def write_bytes_atomically(data: bytes, path: Path) -> None:
    """Write a file in one step: whoever looks sees the old one or the new one, never a part.

    Raises:
        OSError: the folder is missing or cannot be written to; what stood at `path` still does.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(text: str, path: Path) -> None:
    """Write a text as UTF-8, with its line breaks as they are, in one step.

    Raises:
        OSError: the folder is missing or cannot be written to; what stood at `path` still does.
    """
    write_bytes_atomically(text.encode(), path)
