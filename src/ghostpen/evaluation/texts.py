"""The texts that a test reads: all of a prepared folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.sections import Section, load_sections
from ghostpen.errors import DataError


@dataclass(frozen=True)
class Texts:
    """Sections by split; those of `test` and `others_test` are there, any other may be empty."""

    training: list[Section]
    validation: list[Section]
    test: list[Section]
    others_training: list[Section]
    others_test: list[Section]

    @classmethod
    def load(cls, folder: Path) -> Texts:
        """Read them.

        Raises:
            DataError: a file is missing or can't be read, or there is no text to test on.
        """
        test, others_test = _load_test(folder, "test"), _load_test(folder, "contrast_test")
        return cls(
            training=load_sections(folder, "train"),
            validation=load_sections(folder, "val"),
            test=test,
            others_training=load_sections(folder, "contrast_train"),
            others_test=others_test,
        )


def _load_test(folder: Path, split: str) -> list[Section]:
    sections = load_sections(folder, split)
    if not sections:
        raise DataError(
            f"{folder / split}.jsonl is empty, so there is nothing to test on; "
            "prepare more documents, or name the ones to hold out with --test-docs"
        )
    return sections
