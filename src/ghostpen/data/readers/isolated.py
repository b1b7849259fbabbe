"""The process that reads one foreign document after the other: `python -m ghostpen.data.readers.isolated BYTES`.

It answers each line of JSON on standard input with one on standard output, until standard input ends. Started by
`isolation` only. Whatever a parser prints goes nowhere, and the memory it may take is limited to BYTES.
"""

import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ghostpen.data.readers.books import read_docx, read_epub
from ghostpen.data.readers.markup import LARGEST_HTML_BYTES, find_date, parse_html, render_tree
from ghostpen.data.readers.passages import Passage, UnreadableError
from ghostpen.data.readers.pdf import read_pdf


def read_html(path: Path, dropped: Counter[str]) -> Passage:
    """Return the text of a web page that was saved.

    Raises:
        UnreadableError: too large, nested too deeply, or without text.
    """
    if path.stat().st_size > LARGEST_HTML_BYTES:
        raise UnreadableError(f"HTML larger than {LARGEST_HTML_BYTES // 1024**2} MiB; cut it into smaller files")
    tree = parse_html(path.read_bytes())
    written = find_date(tree)
    text = render_tree(tree, quotations=False, dropped=dropped)
    if not text.strip():
        raise UnreadableError("no text in it; a page that draws itself by script must be saved by a browser")
    return Passage(text, written=written, headings=True)


_READERS: dict[str, Callable[[Path, Counter[str]], Passage]] = {
    "html": read_html,
    "epub": read_epub,
    "docx": read_docx,
    "pdf": read_pdf,
}


def serve(most_memory_bytes: int) -> None:
    """Answer requests until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (most_memory_bytes, most_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would be a copy of somebody's text
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    for request in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(request))) + "\n")
        answers.flush()


def _answer(request: dict[str, str]) -> dict[str, object]:
    dropped: Counter[str] = Counter()
    try:
        passage = _READERS[request["kind"]](Path(request["path"]), dropped)
    except UnreadableError as error:
        return {"reason": str(error)}
    except MemoryError:
        return {"reason": "takes more memory to read than is allowed; cut it into smaller files"}
    written = passage.written.isoformat() if passage.written else None
    return {"text": passage.text, "written": written, "dropped": dropped}


if __name__ == "__main__":
    serve(int(sys.argv[1]))
