"""Each layout of the experts, built here and loaded by the real libraries: what inspect says is what is trained."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tests.checkpoints import write_fused, write_mxfp4, write_split

from ghostpen.config import LoraConfig, ModelConfig, load_inspected_config
from ghostpen.errors import ModelError, TargetError
from ghostpen.model.architecture import check_attached, check_gradients, plan_targets
from ghostpen.model.checkpoint import read_checkpoint, resolve_loaded_name
from ghostpen.model.inspection import Inspection, inspect_model
from ghostpen.model.loading import load_base, plan_arguments

ROOT = Path(__file__).parents[3]
PRETENDED_GPU = ROOT / "tests/stand_ins/pretended_gpu.py"
PROFILES = sorted((ROOT / "configs").glob("gpt-oss-20b-*.toml"))
RANK = 4
PUBLISHED = [
    f"{owner}/gpt-oss-{size}{ending}"
    for owner, ending in (("unsloth", ""), ("openai", ""), ("unsloth", "-unsloth-bnb-4bit"), ("unsloth", "-BF16"))
    for size in ("20b", "120b")
]
# Name of the loading mode: checkpoint, load_in_4bit, layers, what the experts are in memory.
MODES: dict[str, tuple[str, bool, list[int] | None, str]] = {
    "bf16": ("bf16", False, [1], "Parameter"),
    "mxfp4": ("mxfp4", False, None, "Mxfp4ExpertParam"),
    "fused nf4": ("bf16", True, None, "Params4bit"),
    "split nf4": ("split", True, [1], "Params4bit"),
}


@pytest.fixture(scope="module")
def checkpoints(
    tmp_path_factory: pytest.TempPathFactory, make_tiny_model: Callable[..., Any], tokenizer: Any
) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    bf16 = write_fused(make_tiny_model(), tokenizer, folder / "bf16")
    write_mxfp4(bf16, folder / "mxfp4")
    write_split(bf16, folder / "split")
    return folder


def inspect_mode(checkpoints: Path, mode: str) -> Inspection:
    folder, in_4bit, layers, _ = MODES[mode]
    settings = [f"lora.rank={RANK}", f"model.load_in_4bit={str(in_4bit).lower()}"]
    settings += [f"lora.layers={layers}"] if layers else []
    name = str(checkpoints / folder)
    return inspect_model(name, load_inspected_config(None, settings, model=name))


@pytest.fixture(scope="module")
def answers(checkpoints: Path) -> dict[str, Any]:
    """Ask Unsloth's GPU classes, all at once: importing them takes longer than all the rest."""
    jobs: dict[str, Any] = {"names": {"names": PUBLISHED}, "parameters": {"parameters": True}}
    jobs["arguments"] = {"configs": [str(path) for path in PROFILES]}
    for mode, (folder, in_4bit, layers, _) in MODES.items():
        lora = {"rank": RANK, "layers": layers}
        jobs[mode] = {"folder": str(checkpoints / folder), "load_in_4bit": in_4bit, "lora": lora}
    (checkpoints / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, str(PRETENDED_GPU), "jobs.json", "results.json"]
    done = subprocess.run(command, cwd=checkpoints, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((checkpoints / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_targets_of_unsloth_s_gpu_classes_are_what_inspect_said(
    checkpoints: Path, answers: dict[str, Any], mode: str
) -> None:
    said, found = inspect_mode(checkpoints, mode).architecture, answers[mode]
    assert "error" not in found, found["error"]

    kinds = {found["kinds"][name] for name in found["kinds"] if name.endswith(("_proj", "s.0.weight"))}
    assert kinds == {MODES[mode][3]}  # the layout that was meant is the one that was tried
    assert tuple(found["target_modules"]) == said.target_modules
    assert tuple(found["target_parameters"]) == said.target_parameters
    assert found["attached"] == found["trainable"] == said.trainable
    # adapter_config.json holds the names of the plan, and no regular expression of Unsloth's.
    assert set(found["saved_target_modules"]) == set(said.target_modules)
    assert set(found["saved_target_parameters"] or ()) == set(said.target_parameters)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_fresh_adapter_of_unsloth_s_gpu_classes_changes_no_bit_of_a_logit(answers: dict[str, Any], mode: str) -> None:
    assert answers[mode]["same_logits"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_trained_set_of_unsloth_s_gpu_classes_is_the_adapter_and_all_of_it_is_saved(
    answers: dict[str, Any], mode: str
) -> None:
    found = answers[mode]

    assert found["trained"]
    assert [name for name in found["trained"] if ".lora_" not in name] == []
    saved = sum(torch.Size(shape).numel() for shape in found["saved"].values())
    assert saved == sum(found["trainable"].values())
    if mode == "split nf4":  # where Unsloth stacks the experts' adapters, PEFT's own names are saved
        assert sum(".gate_up_projs.3.lora_A.weight" in name for name in found["saved"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_adapter_on_unsloth_s_gpu_classes_is_saved_taken_off_and_read_back_to_the_bit(
    answers: dict[str, Any], mode: str
) -> None:
    found = answers[mode]

    assert (found["moved"], found["unloaded_is_base"], found["reloaded_is_saved"]) == (True, True, True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_input_embedding_of_unsloth_s_gpu_classes_stays_with_the_layers(answers: dict[str, Any], mode: str) -> None:
    assert answers[mode]["offload_embedding"] is False  # left to itself it is "auto"


def compute_likeness(ours: list[list[float]] | torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the cosine between two models' logits."""
    return float(torch.nn.functional.cosine_similarity(torch.as_tensor(ours).flatten(), theirs.flatten(), dim=0))


@torch.no_grad()
def read_logits(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(input_ids=torch.arange(40)[None]).logits[0].float()
    return logits


@pytest.mark.slow
def test_weights_of_each_layout_are_the_checkpoint_s_and_not_random(
    checkpoints: Path, answers: dict[str, Any], make_tiny_model: Callable[..., Any]
) -> None:
    model = make_tiny_model()
    exact = read_logits(model)
    with torch.no_grad():
        for layer, other in zip(model.model.layers, make_tiny_model(seed=1).model.layers, strict=True):
            layer.mlp.load_state_dict(other.mlp.state_dict())
    likeness = {mode: compute_likeness(answers[mode]["logits"], exact) for mode in MODES}

    assert compute_likeness(read_logits(model), exact) < 0.6 < 0.8 < min(likeness.values()), likeness


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_router_is_refused_on_the_split_layout_alone(checkpoints: Path, answers: dict[str, Any], mode: str) -> None:
    folder = str(checkpoints / MODES[mode][0])
    settings = [f"model.load_in_4bit={str(MODES[mode][1]).lower()}", "lora.router=true"]
    config = load_inspected_config(None, settings, model=folder)
    if mode == "split nf4":
        assert "lora.router is true, but this checkpoint's layout has no router" in answers[mode]["router_error"]
        with pytest.raises(TargetError) as caught:
            inspect_model(folder, config)
        assert caught.value.message == answers[mode]["router_error"]
    else:
        assert answers[mode]["router_error"] == ""
        assert "mlp.router.weight" in inspect_model(folder, config).architecture.target_parameters


@pytest.mark.slow
def test_published_names_are_replaced_as_unsloth_does(answers: dict[str, Any]) -> None:
    for name in PUBLISHED:
        for in_4bit in (True, False):
            settings = [f"model.load_in_4bit={str(in_4bit).lower()}"]
            ours = resolve_loaded_name(name, load_inspected_config(None, settings, model=name).model, gpu=True)
            assert ours == answers["names"][name][str(in_4bit)], name


@pytest.mark.slow
def test_what_ghostpen_passes_is_what_unsloth_s_gpu_classes_take(answers: dict[str, Any]) -> None:
    taken = answers["parameters"]

    # A name that is not there would go into **kwargs, and be lost.
    loading = plan_arguments(ModelConfig(name="unsloth/gpt-oss-20b"), max_length=64, gpu=1)
    assert (loading["offload_embedding"], loading["device_map"]) == (False, {"": "cuda:1"})
    assert set(loading) <= set(taken["FastLanguageModel.from_pretrained"])
    adapting = {  # as in model/loading.py
        "r", "lora_alpha", "lora_dropout", "bias", "target_modules", "target_parameters", "random_state",
        "use_gradient_checkpointing",
    }  # fmt: skip
    assert adapting <= set(taken["FastLanguageModel.get_peft_model"])
    assert adapting | {"finetune_vision_layers"} <= set(taken["FastBaseModel.get_peft_model"])


@pytest.mark.slow
def test_profiles_settings_reach_the_trainer_s_arguments(answers: dict[str, Any]) -> None:
    assert answers["arguments"] == {
        "gpt-oss-20b-24gb": {"optim": "adamw_8bit", "batch": [1, 8], "bf16": True},
        "gpt-oss-20b-48gb": {"optim": "adamw_torch", "batch": [2, 4], "bf16": True},
        "gpt-oss-20b-80gb": {"optim": "adamw_torch", "batch": [4, 2], "bf16": True},
    }


def load_with_transformers(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)


def test_mxfp4_unpacked_by_transformers_on_the_cpu_is_trained_where_inspect_says(checkpoints: Path) -> None:
    folder = checkpoints / "mxfp4"
    settings = [f"lora.rank={RANK}", "model.require_gpu=false"]
    said = inspect_model(str(folder), load_inspected_config(None, settings, model=str(folder)))
    model = load_with_transformers(folder)
    before = read_logits(model)
    plan = plan_targets(model, LoraConfig(rank=RANK))
    config = peft.LoraConfig(
        r=plan.rank, target_modules=list(plan.target_modules), target_parameters=list(plan.target_parameters)
    )
    adapted = peft.get_peft_model(model, config)

    assert (said.checkpoint.experts, said.loading.experts) == ("mxfp4", "16 bit")
    assert plan.target_modules == said.architecture.target_modules
    assert plan.target_parameters == said.architecture.target_parameters
    assert check_attached(adapted, plan) == said.architecture.trainable
    assert torch.equal(read_logits(adapted), before)
    ids = torch.arange(40)[None]
    adapted.train()(input_ids=ids, labels=ids).loss.backward()
    check_gradients(adapted)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["model.require_gpu=false", "model.load_in_4bit=true"], "without a GPU"),
        (["model.load_in_4bit=false"], "with model.load_in_4bit = false"),
    ],
)
def test_split_checkpoint_in_a_mode_that_leaves_it_random_is_refused(
    checkpoints: Path, settings: list[str], reason: str
) -> None:
    folder = str(checkpoints / "split")
    config = load_inspected_config(None, settings, model=folder)

    with pytest.raises(ModelError, match=f"{reason}.*experts and routers would be left random"):
        inspect_model(folder, config)
    with pytest.raises(ModelError, match="would be left random"):
        load_base(config.model, max_length=64)


def test_split_checkpoint_is_inspected_in_the_mode_that_loads_it(checkpoints: Path) -> None:
    inspection = inspect_model(str(checkpoints / "split"))

    assert (inspection.loading.layout, inspection.loading.experts) == ("split", "nf4")
    assert inspection.config.model.load_in_4bit


@pytest.mark.parametrize(
    ("folder", "layout", "experts"),
    [("bf16", "fused", "16 bit"), ("mxfp4", "fused", "mxfp4"), ("split", "split", "nf4")],
)
def test_read_checkpoint_tells_the_layout_and_the_bytes(
    checkpoints: Path, folder: str, layout: str, experts: str
) -> None:
    from safetensors.torch import load_file

    found = read_checkpoint(str(checkpoints / folder))
    tensors = load_file(checkpoints / folder / "model.safetensors")

    assert (found.layout, found.experts, found.attention, found.layers) == (layout, experts, "16 bit", 2)
    assert found.size_bytes == sum(tensor.nbytes for tensor in tensors.values())
