"""The texts that a test reads: all of a prepared folder, or of two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.sections import Section, load_sections
from ghostpen.errors import ConfigError, DataError


@dataclass(frozen=True)
class Texts:
    """Sections by split; those of `test` and `others_test` are there, any other may be empty."""

    training: list[Section]
    validation: list[Section]
    test: list[Section]
    others_training: list[Section]
    others_test: list[Section]

    @classmethod
    def load(cls, folder: Path, *, contrast: Path) -> Texts:
        """Read them.

        Args:
            contrast: the folder that other authors' splits are in.

        Raises:
            ConfigError: there are no other authors' texts.
            DataError: a file is missing or can't be read, or there is no text to test on.
        """
        if not (contrast / "contrast_test.jsonl").exists():
            raise ConfigError(
                f"{folder} has no other authors' texts, which the author's adapter is held against: "
                "add --control auto to take the shipped ones, or prepare the data again with --contrast DIR"
            )
        test, others_test = _load_test(folder, "test"), _load_test(contrast, "contrast_test")
        return cls(
            training=load_sections(folder, "train"),
            validation=load_sections(folder, "val"),
            test=test,
            others_training=load_sections(contrast, "contrast_train"),
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
