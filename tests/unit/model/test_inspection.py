import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ghostpen.config import LoraConfig
from ghostpen.errors import ModelError
from ghostpen.model.inspection import read_architecture, render_architecture

# config.json of openai/gpt-oss-20b, what of it decides sizes.
GPT_OSS_20B: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 201088,
    "sliding_window": 128,
    "attention_bias": True,
    "tie_word_embeddings": False,
    "router_aux_loss_coef": 0.9,
}


def write_model(folder: Path, **changes: Any) -> str:
    (folder / "config.json").write_text(json.dumps(GPT_OSS_20B | changes))
    (folder / "model.safetensors").touch()
    return str(folder)


@pytest.fixture
def gpt_oss_20b(tmp_path: Path) -> str:
    return write_model(tmp_path)


def test_read_architecture_of_gpt_oss_20b_gives_the_published_sizes(gpt_oss_20b: str) -> None:
    architecture = read_architecture(gpt_oss_20b)

    assert architecture.parameters == pytest.approx(20.9e9, abs=0.1e9)
    assert architecture.parameters_active == pytest.approx(3.6e9, abs=0.1e9)
    assert (architecture.layers, architecture.experts, architecture.experts_per_token) == (24, 32, 4)
    assert architecture.layer_types == {"full_attention": 12, "sliding_attention": 12}
    assert (architecture.hidden_size, architecture.vocabulary_size) == (2880, 201088)
    assert (architecture.sliding_window, architecture.router_aux_loss_coef) == (128, 0.9)


@pytest.mark.parametrize("rank", [1, 8, 16])
def test_read_architecture_of_gpt_oss_20b_counts_the_adapter(gpt_oss_20b: str, rank: int) -> None:
    architecture = read_architecture(gpt_oss_20b, LoraConfig(rank=rank))

    totals = {"attention": 0, "experts": 0}
    for kind, count in architecture.trainable.items():
        totals[kind.partition(".")[0]] += count
    # Attention, a layer: q and o (2880 + 4096), k and v (2880 + 512), each twice: 20,736; times 24 = 497,664.
    # Experts: 24 layers of 32 of (2880 + 5760) + (2880 + 2880) = 14,400: 11,059,200.
    assert totals == {"attention": 497_664 * rank, "experts": 11_059_200 * rank}
    assert architecture.expert_layout == "fused"
    assert set(architecture.target_parameters) == {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}


def test_read_architecture_folds_layers_and_adds_up(gpt_oss_20b: str) -> None:
    architecture = read_architecture(gpt_oss_20b)

    assert architecture.tree["model.layers.*.mlp.experts.down_proj"] == 24 * 32 * 2880 * 2880
    assert architecture.tree["model.layers.*.self_attn.sinks"] == 24 * 64
    assert sum(architecture.tree.values()) == architecture.parameters


def test_read_architecture_as_json_holds_every_field(gpt_oss_20b: str) -> None:
    architecture = read_architecture(gpt_oss_20b)

    told = json.loads(architecture.to_json())

    assert told["parameters"] == architecture.parameters
    assert told["trainable"] == architecture.trainable


def test_render_architecture_shows_sizes_tree_and_targets(gpt_oss_20b: str) -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render_architecture(read_architecture(gpt_oss_20b)))

    text = captured.get()
    for shown in ("GptOssForCausalLM", "12 sliding attention", "32 a layer, 4 a token", "201,088", "184,909,824"):
        assert shown in text  # 184,909,824 = 16 * (497,664 + 11,059,200)


def test_read_architecture_of_a_broken_config_is_one_line(tmp_path: Path) -> None:
    name = write_model(tmp_path, num_hidden_layers="many")

    with pytest.raises(ModelError, match="could not be read"):
        read_architecture(name)
