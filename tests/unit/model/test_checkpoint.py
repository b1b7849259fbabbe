"""What the names in a checkpoint's files say, and what becomes of them in memory."""

import json
import struct
from pathlib import Path

import pytest
from tests.headers import Tensors, write_header, write_index

from ghostpen.config import DataConfig, ModelConfig, RunConfig
from ghostpen.errors import ConfigError, ModelError
from ghostpen.model.checkpoint import (
    Checkpoint,
    describe_names,
    plan_loading,
    read_checkpoint,
    resolve_loaded_name,
)
from ghostpen.model.inspection import inspect_model
from ghostpen.model.loading import load_base

FUSED: Tensors = {
    f"model.layers.{layer}.mlp.experts.{name}": ("BF16", (2, 3, 4))
    for layer in range(2)
    for name in ("gate_up_proj", "down_proj")
}


def test_read_checkpoint_prefers_a_single_file_as_transformers_does(tmp_path: Path) -> None:
    write_header(tmp_path / "model.safetensors", FUSED)
    write_index(tmp_path / "model.safetensors.index.json", {f"{name}_blocks": FUSED[name] for name in FUSED})

    assert read_checkpoint(str(tmp_path)) == Checkpoint("fused", "16 bit", "16 bit", 2, 4 * 2 * 24)


def test_read_checkpoint_of_an_index_without_a_size_gives_none(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(FUSED, "a")}))

    assert read_checkpoint(str(tmp_path)).size_bytes is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 16),
        ("model.safetensors", struct.pack("<Q", 100) + b'{"a": {'),
        ("model.safetensors", struct.pack("<Q", 9) + b'{"a": {}}'),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]"),
        ("model.safetensors.index.json", b"{"),
        ("model.safetensors.index.json", b"{}"),
        ("model.safetensors.index.json", b"\xff"),
    ],
)
def test_read_checkpoint_of_a_torn_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ModelError) as caught:
        read_checkpoint(str(tmp_path))
    assert caught.value.message == f"{tmp_path} could not be loaded: {name} is torn; copy the model again"


def test_read_checkpoint_of_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds neither model\.safetensors nor model\.safetensors\.index\.json"):
        read_checkpoint(str(tmp_path))


def test_names_without_experts_are_no_gpt_oss() -> None:
    with pytest.raises(ModelError, match="there holds no experts of a gpt-oss"):
        describe_names({"model.layers.0.mlp.up_proj.weight"}, None, where="there")


def test_names_that_leave_a_layer_out_are_an_error() -> None:
    names = {f"model.layers.{layer}.mlp.experts.down_proj" for layer in (0, 2)}

    with pytest.raises(ModelError, match=r"there holds no experts for layers \[1\] of 3"):
        describe_names(names, None, where="there")


def test_names_of_saved_fused_nf4_are_told_from_16_bits() -> None:
    assert describe_names({*FUSED, *(f"{name}.absmax" for name in FUSED)}, None, where="there").experts == "nf4"


@pytest.mark.parametrize(
    ("experts", "in_4bit", "gpu", "in_memory"),
    [
        ("16 bit", False, True, ("16 bit", "16 bit")),
        ("16 bit", True, True, ("nf4", "nf4")),
        ("16 bit", True, False, ("16 bit", "nf4")),
        ("mxfp4", False, True, ("mxfp4", "16 bit")),
        ("mxfp4", True, True, ("mxfp4", "16 bit")),
        ("mxfp4", False, False, ("16 bit", "16 bit")),
    ],
)
def test_loading_of_a_fused_checkpoint_follows_the_mode(
    experts: str, in_4bit: bool, gpu: bool, in_memory: tuple[str, str]
) -> None:
    checkpoint = Checkpoint("fused", experts, "16 bit", 2, None)  # type: ignore[arg-type]
    loading = plan_loading(checkpoint, ModelConfig(name="a", load_in_4bit=in_4bit), gpu=gpu, name="a")

    assert (loading.layout, loading.experts, loading.attention) == ("fused", *in_memory)


def test_saved_fused_nf4_without_a_gpu_is_refused() -> None:
    checkpoint = Checkpoint("fused", "nf4", "nf4", 2, None)

    with pytest.raises(ModelError, match="experts and routers would be left random"):
        plan_loading(checkpoint, ModelConfig(name="a", load_in_4bit=True), gpu=False, name="a")


def test_name_on_the_hub_without_a_gpu_is_what_is_loaded() -> None:
    config = ModelConfig(name="openai/gpt-oss-20b", revision="abc")

    assert resolve_loaded_name(config.name, config, gpu=False) == "openai/gpt-oss-20b"


@pytest.mark.parametrize(
    ("name", "in_4bit", "loaded_name"),
    [
        ("openai/gpt-oss-20b", False, "unsloth/gpt-oss-20b"),
        ("unsloth/gpt-oss-20b", True, "unsloth/gpt-oss-20b-unsloth-bnb-4bit"),
        ("unsloth/gpt-oss-20b-unsloth-bnb-4bit", False, "unsloth/gpt-oss-20b"),
    ],
)
def test_revision_of_a_name_that_unsloth_replaces_is_refused(name: str, in_4bit: bool, loaded_name: str) -> None:
    config = ModelConfig(name=name, load_in_4bit=in_4bit, revision="abc")

    with pytest.raises(ConfigError, match=f'model.revision is abc.*; set model.name = "{loaded_name}"'):
        resolve_loaded_name(name, config, gpu=True)
    with pytest.raises(ConfigError, match="would drop the revision"):
        inspect_model(name, RunConfig(name="inspected", data=DataConfig(dir=Path()), model=config))
    with pytest.raises(ConfigError, match="would drop the revision"):
        load_base(config, max_length=64)


@pytest.mark.parametrize(
    ("name", "in_4bit"),
    [
        ("unsloth/gpt-oss-20b", False),
        ("Unsloth/GPT-OSS-20b", False),  # one repository: the hub heeds no case
        ("unsloth/gpt-oss-20b-unsloth-bnb-4bit", True),
        ("somebody/gpt-oss-20b", True),
    ],
)
def test_revision_of_a_name_that_stays_is_taken(name: str, in_4bit: bool) -> None:
    config = ModelConfig(name=name, load_in_4bit=in_4bit, revision="abc")

    assert resolve_loaded_name(name, config, gpu=True).lower() == name.lower()
