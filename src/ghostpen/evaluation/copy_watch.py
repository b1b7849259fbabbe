"""What `ghostpen write` says of copies: a run's training text, read once and held against all that is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.manifest import load_manifest
from ghostpen.data.sections import load_sections
from ghostpen.errors import DataError
from ghostpen.evaluation.copying import CopyIndex, Sample
from ghostpen.evaluation.copying_report import render_span
from ghostpen.training.manifest import read_manifest


@dataclass(frozen=True)
class CopyWatch:
    """A run's training text, or why there is none to look for copies in."""

    index: CopyIndex | None
    excuse: str = ""

    def find_warning(self, text: str, *, prompt: str) -> str | None:
        """Return what is to be said about copies in a continuation, if anything."""
        if self.index is None:
            return f"not checked for copied text: {self.excuse}"
        copied = self.index.find_copy(Sample(text, prompt=prompt))
        if copied is None:
            return None
        return (
            f"copied: {render_span(copied)} of the training text; "
            "another --seed or --temperature writes something else"
        )


def load_copy_watch(*, data_dir: Path, run_dir: Path) -> CopyWatch:
    """Read the text that a run was trained on, where it is still there."""
    try:
        data_sha256, sections = load_manifest(data_dir).data_sha256, load_sections(data_dir, "train")
    except DataError as error:
        return CopyWatch(None, error.message)
    manifest = read_manifest(run_dir)
    if manifest is None or manifest["data_sha256"] != data_sha256:
        return CopyWatch(None, f"{data_dir} holds other data than the run was trained on")
    return CopyWatch(CopyIndex(sections))
