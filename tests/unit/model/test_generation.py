from typing import Any

import pytest

from ghostpen.errors import DataError
from ghostpen.model.generation import continue_text, cut_words


def test_continue_text_leaves_random_numbers_and_mood_as_they_are(tiny_model: Any, tokenizer: Any) -> None:
    import torch

    def write(seed: int) -> str:
        return continue_text(
            tiny_model, tokenizer, "It was a fine day", max_words=20, temperature=1.0, top_p=1.0, seed=seed
        )

    torch.manual_seed(7)
    tiny_model.train()
    state = torch.get_rng_state()
    first, other, again = write(0), write(1), write(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert tiny_model.training
    assert first == again != other


def test_continue_text_of_nothing_is_an_error(tiny_model: Any, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="prompt is empty"):
        continue_text(tiny_model, tokenizer, " \n", max_words=1, temperature=0.0, top_p=1.0, seed=0)


@pytest.mark.parametrize(("words", "kept"), [(0, ""), (2, "one  two"), (9, "one  two\nthree")])
def test_cut_words_keeps_the_blanks_between(words: int, kept: str) -> None:
    assert cut_words("one  two\nthree ", words) == kept
