"""The models write for a test, batch by batch; what is written is on the disk before the next batch begins.

A test that was broken off goes on where it was, to what an undisturbed one writes: the batches are the same ones,
and a text's random numbers are its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ghostpen.data.progress import ShowProgress
from ghostpen.evaluation.copying import EXTRACTION_TOKENS, Window
from ghostpen.evaluation.models import visit_models
from ghostpen.evaluation.prompts import Task
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel
from ghostpen.evaluation.written import Written

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.config import EvalConfig
    from ghostpen.model.loading import LoadedModel

EXTRACTED: tuple[ModelLabel, ...] = ("base", "author")  # before and after
ItemT = TypeVar("ItemT")
Place = tuple[str, str, int]  # model, what, which batch


class PartFile:
    """Keep results by place, a line of JSON each; from the first broken line on, nothing has been written."""

    def __init__(self, path: Path, *, key: str) -> None:
        """Read the file, if there is one of this key; else begin anew."""
        self._path = path
        self._found: dict[Place, Any] = {}
        head = json.dumps({"key": key}).encode() + b"\n"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if not content.startswith(head):
            path.write_bytes(head)
            return
        size_bytes = len(head)
        for line in content[len(head) :].splitlines(keepends=True):
            found = _read_line(line)
            if found is None:
                break
            self._found |= found
            size_bytes += len(line)
        if size_bytes < len(content):
            with path.open("r+b") as file:  # whatever happens here, the whole lines stay
                file.truncate(size_bytes)

    def __len__(self) -> int:
        return len(self._found)

    def get(self, place: Place) -> Any:
        """Return what was kept, or None."""
        return self._found.get(place)

    def add(self, place: Place, result: Any) -> None:
        """Keep a result: it is on the disk when this returns."""
        model, what, batch = place
        row = {"model": model, "what": what, "batch": batch, "result": result}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._found[place] = result

    def remove(self) -> None:
        """Delete the file: what was in it is elsewhere."""
        self._path.unlink(missing_ok=True)


def _read_line(line: bytes) -> dict[Place, Any] | None:
    """Read a line of a part file; None where it was broken off, or is none of ours."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
        return {(row["model"], row["what"], row["batch"]): row["result"]}
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class Writings:
    """What the models wrote: texts in the order of the tasks, and token ids after each window, of EXTRACTED."""

    written: list[Written]
    recited: dict[ModelLabel, list[list[int]]]


def write_all(
    loaded: LoadedModel,
    adapters: Mapping[ModelLabel, Path],
    *,
    tasks: Sequence[Task],
    windows: Sequence[Window],
    settings: EvalConfig,
    part: PartFile,
    console: Console,
    show_progress: ShowProgress,
) -> Writings:
    """Have every model write what `part` doesn't hold yet.

    Args:
        loaded: the base model. adapters: the folders of runs. tasks: for all models. windows: for EXTRACTED.
        show_progress: shows a bar for a title.
    """
    size = settings.writing_batch_size
    # Of like length together: the longest text of a batch decides how long it takes.
    order = sorted(range(len(tasks)), key=lambda number: -tasks[number].words)
    work: dict[ModelLabel, list[Place]] = {
        label: [
            *((label, "texts", batch) for batch in range(count_batches(len(tasks), size))),
            *((label, "windows", batch) for batch in range(count_batches(len(windows), size)) if label in EXTRACTED),
        ]
        for label in MODEL_LABELS
    }
    if len(part):
        console.print(f"goes on: {len(part)} of {sum(map(len, work.values()))} batches of texts were written")
    missing = {label for label, places in work.items() if any(part.get(place) is None for place in places)}
    with show_progress() as show:
        for label, current in visit_models(loaded, adapters, labels=missing):
            on_progress = show(f"{label} writes")
            for number, place in enumerate(work[label]):
                on_progress(number, len(work[label]))
                if part.get(place) is not None:
                    continue
                _, what, batch = place
                chosen = slice(batch * size, (batch + 1) * size)
                if what == "texts":
                    result: Any = _write_texts(current, [tasks[n] for n in order[chosen]], settings=settings)
                else:
                    result = _recite(current, windows[chosen])
                part.add(place, result)
            on_progress(len(work[label]), len(work[label]))

    def collect(label: ModelLabel, what: str) -> list[Any]:
        return [item for place in work[label] if place[1] == what for item in part.get(place)]

    written: list[Written] = []
    for label in MODEL_LABELS:
        texts = dict(zip(order, collect(label, "texts"), strict=True))
        written += [_build_written(label, task, *texts[number]) for number, task in enumerate(tasks)]
    return Writings(written, {label: collect(label, "windows") for label in EXTRACTED})


def count_batches(items: int, size: int) -> int:
    """Count the batches of so many items."""
    return -(-items // size)


def _write_texts(current: LoadedModel, tasks: Sequence[Task], *, settings: EvalConfig) -> list[tuple[str, bool]]:
    """Write a batch: of each text what was written, and whether the model ended it. All else is the task's."""
    from ghostpen.model.generation import Beginning, encode_beginning, generate_texts

    beginnings = [
        Beginning(encode_beginning(current.tokenizer, task.prompt), task.words, task.temperature, task.seed)
        for task in tasks
    ]
    texts = generate_texts(current.model, current.tokenizer, beginnings, top_p=settings.top_p, min_p=settings.min_p)
    return [(text.text, text.ended) for text in texts]


def _build_written(label: ModelLabel, task: Task, text: str, ended: bool) -> Written:
    return Written(
        model=label,
        kind=task.kind,
        prompt=task.prompt,
        text=text,
        real=task.real,
        document=task.document,
        section=task.section,
        seed=task.seed,
        temperature=task.temperature,
        ended=ended,
    )


def _recite(current: LoadedModel, windows: Sequence[Window]) -> list[list[int]]:
    from ghostpen.data.tokens import START, find_token_id
    from ghostpen.model.generation import generate_likeliest

    start = find_token_id(current.tokenizer, START)
    rows = [(start, *window.prefix) for window in windows]
    found = generate_likeliest(current.model, current.tokenizer, rows, tokens=EXTRACTION_TOKENS)
    return [list(ids) for ids in found]
