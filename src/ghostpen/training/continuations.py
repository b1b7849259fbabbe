"""Held-out passages that the model continues, for eyes: before, after and at every evaluation.

Writing them changes nothing of the training: `generate_text` leaves the state of the random numbers alone, and the
model is put back into its mood for training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from ghostpen.data.sections import Section
from ghostpen.files import write_text_atomically
from ghostpen.model.generation import cut_words, encode_beginning, generate_text
from ghostpen.training.recorder import SampleRow
from ghostpen.training.samples_file import render_continuations

if TYPE_CHECKING:
    from ghostpen.model.loading import LoadedModel

BEGINNING_WORDS = 40
TEMPERATURE = 0.8
TOP_P = 0.95


def write_continuations(
    loaded: LoadedModel, sections: Sequence[Section], *, count: int, words: int, seed: int, when: str, step: int
) -> list[SampleRow]:
    """Continue the beginnings of `count` sections, spread over all of them."""
    stride = max(1, len(sections) // count) if count else 1
    rows = []
    for section in sections[::stride][:count]:
        beginning = cut_words(section.text, BEGINNING_WORDS)
        written = generate_text(
            loaded.model,
            loaded.tokenizer,
            encode_beginning(loaded.tokenizer, beginning),
            max_words=words,
            temperature=TEMPERATURE,
            top_p=TOP_P,
            seed=seed,
        )
        rows.append(SampleRow(when, step, f"{section.document}, section {section.section}", beginning, written))
    return rows


class EvaluationSamples(TrainerCallback):
    """Write samples/step-N.txt at every evaluation."""

    def __init__(
        self,
        write: Callable[[int], Sequence[SampleRow]],
        *,
        folder: Path,
        on_samples: Callable[[Sequence[SampleRow]], None],
        on_warning: Callable[[str], None],
    ) -> None:
        """Set up.

        Args:
            write: has the model write, at a step. folder: where the files go.
        """
        self.write, self.folder, self.on_samples, self.on_warning = write, folder, on_samples, on_warning

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write; a disk that refuses costs a sample, not the training."""
        rows = self.write(state.global_step)
        path = self.folder / f"step-{state.global_step}.txt"
        try:
            write_text_atomically(render_continuations(rows), path)
        except OSError as error:
            self.on_warning(f"no sample at step {state.global_step}: {path}: {error.strerror}; the training goes on")
        self.on_samples(rows)
