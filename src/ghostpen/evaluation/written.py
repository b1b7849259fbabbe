"""What a model wrote for a test, beside what the author wrote there: style and copying are measured on these texts.

Owns `Written` and its file, a line of JSON each. Must not know models: it is read where none is installed.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ghostpen.errors import DataError
from ghostpen.evaluation.specificity import ModelLabel
from ghostpen.files import write_text_atomically

WrittenKind = Literal["continuation", "topic"]


@dataclass(frozen=True)
class Written:
    """One text by one model.

    Args:
        model: who wrote it.
        kind: "continuation" of a held-out text's beginning, or on a new "topic".
        prompt: what it was to go on from; not a part of `text`.
        text: what was written.
        real: what the author wrote there, cut to as many words as were asked for; None on a new topic.
        document, section: the held-out section that the prompt begins; None on a new topic.
        seed, temperature: of the sampling.
        ended: the model ended it by itself, before the words were up.
    """

    model: ModelLabel
    kind: WrittenKind
    prompt: str
    text: str
    real: str | None
    document: str | None
    section: int | None
    seed: int
    temperature: float
    ended: bool


def write_written(texts: Iterable[Written], path: Path) -> None:
    """Write them atomically, in their order."""
    write_text_atomically("".join(json.dumps(asdict(text), ensure_ascii=False) + "\n" for text in texts), path)


def read_written(path: Path) -> list[Written]:
    """Read a file of them; of none, none.

    Raises:
        DataError: a line is none of ours; it is named.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read ({error}); delete it, and test again") from error
    return list(_parse(content, where=path))


def _parse(content: str, *, where: Path) -> Iterator[Written]:
    for number, line in enumerate(content.split("\n")[:-1], start=1):  # a text may hold a U+2028
        try:
            fields: dict[str, Any] = json.loads(line)
            yield Written(**fields)
        except (ValueError, TypeError) as error:
            raise DataError(f"{where}:{number} is no written text ({error}); delete the file, test again") from error
