from collections.abc import Callable
from typing import Any

import pytest

from ghostpen.errors import DataError
from ghostpen.model.cpu_kernels import use_cpu_kernels
from ghostpen.model.generation import (
    Beginning,
    cut_words,
    encode_beginning,
    generate_likeliest,
    generate_text,
    generate_texts,
)

PROMPTS = [
    "It was a fine day, and the whole of the village had gone to the sea; nobody stayed.",
    "She",
    "Where are you going?",
    "It ends.",
    "He said, and looked at the door, and the door was a door of the village by the sea.",
    "Nobody stayed",
    "The same words and the same voice",
    "a",
]


def make_beginnings(tokenizer: Any, *, temperature: float) -> list[Beginning]:
    return [
        Beginning(encode_beginning(tokenizer, prompt), 12 + place, temperature, seed=place)
        for place, prompt in enumerate(PROMPTS)
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kernels", ["transformers", "ghostpen"])
def test_generate_texts_writes_the_same_alone_and_in_a_batch(
    make_tiny_model: Callable[..., Any], tokenizer: Any, temperature: float, kernels: str
) -> None:
    """The sliding window is 8 tokens: most prompts are longer, and all texts get longer."""
    model = make_tiny_model(std=0.3)
    if kernels == "ghostpen":
        use_cpu_kernels(model)
    beginnings = make_beginnings(tokenizer, temperature=temperature)
    alone = [generate_texts(model, tokenizer, [one], top_p=0.95, min_p=0.01)[0] for one in beginnings]
    assert generate_texts(model, tokenizer, beginnings, top_p=0.95, min_p=0.01) == alone
    assert generate_texts(model, tokenizer, beginnings[::-1], top_p=0.95, min_p=0.01) == alone[::-1]
    assert len({one.text for one in alone}) == len(PROMPTS)


def test_generate_texts_tells_who_ended_by_itself(make_tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    """Of a model that is as likely to write an "a" as to end, the end of each text is what its numbers say."""
    import torch

    model = make_tiny_model()
    end, letter = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "a"])
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(
        torch.full((320,), -100.0).index_fill_(0, torch.tensor([end, letter]), 0.0)
    )
    beginnings = [Beginning(encode_beginning(tokenizer, "It"), 1, 1.0, seed) for seed in range(20)]
    written = generate_texts(model, tokenizer, beginnings, top_p=1.0, min_p=0.0)
    for one, found in zip(beginnings, written, strict=True):
        numbers = torch.rand(2, generator=torch.Generator().manual_seed(one.seed))
        # Equally likely: the lower id, which is the end's, comes first. A text has two tokens at most.
        ends = (numbers < 0.5).tolist()
        assert found.text == "a" * (ends.index(True) if True in ends else 2)
        assert found.ended == (True in ends)
    assert {one.ended for one in written} == {True, False}


def test_generate_likeliest_takes_what_the_model_finds_likeliest(tiny_model: Any, tokenizer: Any) -> None:
    import torch

    rows = [encode_beginning(tokenizer, prompt) for prompt in PROMPTS[:3]]
    written = generate_likeliest(tiny_model, tokenizer, rows, tokens=5)
    for row, ids in zip(rows, written, strict=True):
        whole = torch.tensor([[*row, *ids]])
        with torch.no_grad():
            likeliest = tiny_model(input_ids=whole).logits.argmax(-1)[0]
        assert likeliest[len(row) - 1 : -1].tolist() == list(ids)
    assert [len(ids) for ids in written] == [5, 5, 5]


def test_generate_likeliest_gives_ids_and_mask_to_the_device_of_the_output_head(
    offloaded_model: Any, tokenizer: Any
) -> None:
    """transformers' own generate would only warn of the devices, and is not asked here."""
    given: dict[str, Any] = {}

    def generate(**options: Any) -> Any:
        given.update(options)
        return options["input_ids"]

    offloaded_model.generate = generate
    generate_likeliest(offloaded_model, tokenizer, [[5, 6]], tokens=1)
    assert (given["input_ids"].device.type, given["attention_mask"].device.type) == ("cpu", "cpu")


def test_generate_text_leaves_random_numbers_and_mood_as_they_are(tiny_model: Any, tokenizer: Any) -> None:
    import torch

    def write(seed: int) -> str:
        ids = encode_beginning(tokenizer, "It was a fine day")
        return generate_text(tiny_model, tokenizer, ids, max_words=20, temperature=1.0, top_p=1.0, seed=seed)

    torch.manual_seed(7)
    tiny_model.train()
    state = torch.get_rng_state()
    first, other, again = write(0), write(1), write(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert tiny_model.training
    assert first == again != other


@pytest.mark.parametrize("max_words", [1, 5, 30])
def test_generate_text_hands_on_word_by_word_what_it_returns(tiny_model: Any, tokenizer: Any, max_words: int) -> None:
    pieces: list[str] = []
    text = generate_text(
        tiny_model,
        tokenizer,
        encode_beginning(tokenizer, "It was"),
        max_words=max_words,
        temperature=1.0,
        top_p=1.0,
        seed=1,
        on_text=pieces.append,
    )
    assert "".join(pieces) == text
    assert len(pieces) >= len(text.split()) - 1  # not all at the end


def test_text_that_breaks_off_within_a_character_has_no_half_of_it(
    make_tiny_model: Callable[..., Any], tokenizer: Any
) -> None:
    """A model that writes nothing but the first of two bytes of a letter, as one may where its tokens are up."""
    import torch

    model = make_tiny_model()
    half = tokenizer.convert_tokens_to_ids("Ã")  # how a byte-level tokenizer calls the byte C3
    assert tokenizer.decode([half]) == "\ufffd"
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(320).index_fill_(0, torch.tensor([half]), 100.0))
    shown: list[str] = []
    ids = encode_beginning(tokenizer, "It")
    options = {"max_words": 2, "temperature": 0.0, "top_p": 1.0, "seed": 0}
    assert generate_text(model, tokenizer, ids, on_text=shown.append, **options) == ""
    assert shown == []


def test_beginning_of_nothing_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(DataError, match="prompt is empty"):
        encode_beginning(tokenizer, " \n")


@pytest.mark.parametrize(("words", "kept"), [(0, ""), (2, "one  two"), (9, "one  two\nthree")])
def test_cut_words_keeps_the_blanks_between(words: int, kept: str) -> None:
    assert cut_words("one  two\nthree ", words) == kept
