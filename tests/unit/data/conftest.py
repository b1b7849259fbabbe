"""A small tokenizer of gpt-oss's kind, trained here, and texts made of numbered words."""

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ghostpen.data.sections import Section

SPECIAL_TOKENS = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<|return|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|call|>",
]
TRAINING_TEXT = [
    "It was a fine day, and the whole of the village had gone to the sea; nobody stayed.",
    "Continue the passage. Write what comes next, in the same voice and with the same words.",
    *["It ends.\n\n"] * 9,  # so that a blank line is one token where nothing follows it
    "She did not answer. “Where are you going?” he said, and looked at the door—twice.",
]
SHORT_TEMPLATE = (
    "{%- for m in messages -%}{%- if m['role'] == 'assistant' -%}"
    "<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
    "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}"
    "{%- else -%}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|start|>assistant<|channel|>final<|message|>{%- endif -%}"
)
# gpt-oss's own template differs in two ways that matter here: a system message comes first, and the prompt
# for a generation stops before the channel.
SYSTEM_TEMPLATE = (
    "{{- '<|start|>system<|message|>You are a model.\nValid channels: analysis, final.<|end|>' }}"
    + SHORT_TEMPLATE.replace("assistant<|channel|>final<|message|>{%- endif -%}", "assistant{%- endif -%}")
)


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[[str], Any]:
    """Return a function that makes the tokenizer with a given chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TRAINING_TEXT, trainer)

    def make(chat_template: str) -> Any:
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe)
        tokenizer.chat_template = chat_template
        return tokenizer

    return make


@pytest.fixture(scope="session")
def tokenizer(make_tokenizer: Callable[[str], Any]) -> Any:
    """Return the tokenizer that the embedded model ships with, in small."""
    return make_tokenizer(SHORT_TEMPLATE)


@pytest.fixture(params=[SHORT_TEMPLATE, SYSTEM_TEMPLATE], ids=["short", "system"], scope="session")
def either_tokenizer(request: pytest.FixtureRequest, make_tokenizer: Callable[[str], Any]) -> Any:
    """Return the tokenizer with each of the two templates."""
    return make_tokenizer(request.param)


@pytest.fixture(scope="session")
def make_section() -> Callable[..., Section]:
    """Return a function that makes a section, by default a whole document."""

    def make(text: str, document: str = "emma", section: int = 0, **changes: Any) -> Section:
        values: dict[str, Any] = {
            "author": "Jane Austen",
            "starts_document": True,
            "ends_document": True,
        } | changes
        return Section(text=text, document=document, section=section, **values)

    return make


@pytest.fixture(scope="session")
def make_prose() -> Callable[[str, int], str]:
    """Return a function that makes paragraphs of 50 words, none of which any other name's prose has."""

    def make(name: str, words: int) -> str:
        numbered = [f"{name}{i}" for i in range(words)]
        paragraphs = [" ".join(numbered[i : i + 50]) + "." for i in range(0, words, 50)]
        return "\n\n".join(paragraphs) + "\n"

    return make
