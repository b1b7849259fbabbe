"""A small tokenizer of gpt-oss's kind, trained here, and a small random gpt-oss that fits it."""

from collections.abc import Callable
from typing import Any

import pytest

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
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

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
def make_tiny_model() -> Callable[..., Any]:
    """Return a function that makes a random gpt-oss: a sliding layer and a full one, 4 experts, 2 for a token.

    Nothing in it is zero or one: biases, sinks and norms are random too, so that leaving one out is seen.
    """
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM

    def make(*, std: float = 0.2, seed: int = 0, **changes: Any) -> Any:
        settings: dict[str, Any] = {
            "num_hidden_layers": 2,
            "sliding_window": 8,
            "hidden_size": 64,
            "head_dim": 16,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 64,
            "vocab_size": 320,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "router_aux_loss_coef": 0.9,
            "attn_implementation": "eager",
            "experts_implementation": "eager",
        }
        model = GptOssForCausalLM(GptOssConfig(**(settings | changes)))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm" in name else 0.0, std, generator=generator)
        return model.eval()

    return make


@pytest.fixture
def tiny_model(make_tiny_model: Callable[..., Any]) -> Any:
    """Return the random gpt-oss on transformers' own eager kernels; each test gets its own."""
    return make_tiny_model()


@pytest.fixture
def offloaded_model(make_tiny_model: Callable[..., Any]) -> Any:
    """Return the random gpt-oss with its input embedding's weight elsewhere, as Unsloth moves it to the host.

    It looks ids up where they are; Unsloth's hooks bring them to the weight and the rows back.
    """
    import torch
    from torch import nn

    class OffloadedEmbedding(nn.Module):
        def __init__(self, rows: torch.Tensor) -> None:
            super().__init__()
            self.weight = nn.Parameter(rows.to("meta"))
            self._rows = rows

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return nn.functional.embedding(ids, self._rows)

    model = make_tiny_model()
    model.model.embed_tokens = OffloadedEmbedding(model.model.embed_tokens.weight.detach())
    assert next(model.parameters()).device.type == "meta"
    return model
