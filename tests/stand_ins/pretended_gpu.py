"""Unsloth's own GPU classes, run on the CPU: what they load, and where they put an adapter.

Unsloth takes this process for one with a GPU (UNSLOTH_ALLOW_CPU=1 is its own switch for that) and asks the card for
its name, memory and abilities: the answers are made up here. Everything else is real: Unsloth's loader and its
patches, transformers' quantizers, bitsandbytes' NF4 on the CPU, PEFT. Not run: any GPU kernel (attention stays
transformers', grouped products are PyTorch's CPU ones), any speed, any memory.

Called as: pretended_gpu.py JOBS.json RESULTS.json; a job is {"folder", "load_in_4bit", "lora"}, or asks
for what `answer` lists. Each runs in a fork,
because Unsloth replaces classes of transformers by what it loads.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {
    "UNSLOTH_ALLOW_CPU": "1",
    "UNSLOTH_COMPILE_DISABLE": "1",  # no Triton kernels
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
}
CARD = SimpleNamespace(name="pretended", total_memory=80 * 2**30, major=9, minor=0, multi_processor_count=100)


class NeverOffloaded(list[bool]):
    """Unsloth's note whether weights went to the CPU for want of room; here they all are there, and none did."""

    def __setitem__(self, *_: Any) -> None:
        """Keep what it says."""


def pretend() -> Any:
    """Import Unsloth for a card that is not there."""
    import torch

    torch.cuda.get_device_properties = lambda *_: CARD
    torch.cuda.get_device_capability = lambda *_: (CARD.major, CARD.minor)
    torch.cuda.mem_get_info = lambda *_: (CARD.total_memory, CARD.total_memory)
    import unsloth
    from transformers import training_args
    from unsloth.models import loader, vision
    from unsloth_zoo.temporary_patches import moe_utils, mxfp4

    loader.ALLOW_BITSANDBYTES = True  # bitsandbytes has kernels for this CPU, which is not what Unsloth asks
    loader.is_bfloat16_supported = vision.is_bfloat16_supported = lambda *_: True
    moe_utils._TORCH_GROUPED_MM_SUPPORTED = True
    training_args.is_torch_bf16_gpu_available = lambda: True
    mxfp4._LOAD_OFFLOADS = NeverOffloaded([False])
    return unsloth


def run_job(unsloth: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Load, adapt, compare and train one step, by ghostpen's own functions."""
    import torch
    from peft import get_peft_model_state_dict

    from ghostpen.config import LoraConfig, ModelConfig
    from ghostpen.errors import GhostpenError
    from ghostpen.model.architecture import check_gradients, count_attached, plan_targets
    from ghostpen.model.loading import attach_adapter, read_base

    config = ModelConfig(name=job["folder"], load_in_4bit=job["load_in_4bit"])
    loaded = read_base(unsloth, job["folder"], config, max_length=64)
    kinds = {
        name.partition("layers.0.")[2]: type(parameter).__name__
        for name, parameter in loaded.model.named_parameters()
        if "layers.0." in name
    }
    router_error = ""
    try:
        plan_targets(loaded.model, LoraConfig(router=True))
    except GhostpenError as error:
        router_error = error.message
    ids = torch.arange(40)[None]
    loaded.model.eval()
    with torch.no_grad():
        before = loaded.model(input_ids=ids).logits
    lora = LoraConfig(**job["lora"])
    adapted, plan = attach_adapter(loaded, lora, seed=0, gradient_checkpointing="recompute")
    model = adapted.model
    model.eval()
    with torch.no_grad():
        after = model(input_ids=ids).logits
    model.train()
    model(input_ids=ids, labels=ids).loss.backward()
    check_gradients(model)
    settings = model.peft_config["default"]
    saved = get_peft_model_state_dict(model)
    return {
        "kinds": kinds,
        "logits": before[0].float().tolist(),
        "same_logits": torch.equal(before, after),
        "router_error": router_error,
        "target_modules": list(plan.target_modules),
        "target_parameters": list(plan.target_parameters),
        "trainable": plan.trainable,
        "attached": count_attached(model),
        "trained": [name for name, parameter in model.named_parameters() if parameter.requires_grad],
        "saved": {name: list(tensor.shape) for name, tensor in saved.items()},
        "saved_target_modules": sorted(settings.target_modules),
        "saved_target_parameters": settings.target_parameters,
        "offload_embedding": model._unsloth_offload_embedding_mode,
        **reload_adapter(adapted, job, ids, before),  # last: it takes the adapter off
    }


def reload_adapter(adapted: Any, job: dict[str, Any], ids: Any, before: Any) -> dict[str, bool]:
    """Move the adapter away from zero, save it, take it off, and read it back: what `test` and `write` do."""
    import torch

    from ghostpen.model.loading import load_adapter, save_adapter, unload_adapter

    def read_logits(loaded: Any) -> Any:
        loaded.model.eval()
        with torch.no_grad():
            return loaded.model(input_ids=ids).logits

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0, 0.05, generator=generator)
    moved = read_logits(adapted)
    folder = Path(f"{job['folder']}-{job['load_in_4bit']}-adapter")
    save_adapter(adapted.model, adapted.tokenizer, folder, base_name=adapted.name)
    base = unload_adapter(adapted)
    off = read_logits(base)
    again = read_logits(load_adapter(base, folder))
    return {
        "moved": not torch.equal(moved, before),
        "unloaded_is_base": torch.equal(off, before),
        "reloaded_is_saved": torch.equal(again, moved),
    }


def resolve_names(names: list[str]) -> dict[str, dict[str, str]]:
    """Ask Unsloth which checkpoint it loads for a name: in 4 bits, and not."""
    from unsloth.models.loader_utils import get_model_name

    return {
        name: {str(in_4bit): get_model_name(name, load_in_4bit=in_4bit) for in_4bit in (True, False)}
        for name in names
    }


def read_parameters(unsloth: Any) -> dict[str, list[str]]:
    """List the parameters that Unsloth's GPU classes take, by function."""
    import inspect

    from unsloth.models.vision import FastBaseModel

    functions = {
        "FastLanguageModel.from_pretrained": unsloth.FastLanguageModel.from_pretrained,
        "FastLanguageModel.get_peft_model": unsloth.FastLanguageModel.get_peft_model,
        "FastBaseModel.get_peft_model": FastBaseModel.get_peft_model,
    }
    return {name: list(inspect.signature(function).parameters) for name, function in functions.items()}


def read_arguments(paths: list[str]) -> dict[str, dict[str, Any]]:
    """Translate configs into TRL's arguments, by ghostpen's own function."""
    from ghostpen.config import load_run_config
    from ghostpen.training.arguments import build_arguments
    from ghostpen.training.recipe import apply_recipe, build_recipe

    arguments = {}
    for path in paths:
        config = load_run_config(Path(path), ["data.dir=given"])
        config = apply_recipe(config, build_recipe(config, words=100_000, samples=200))
        found = build_arguments(config, folder="runs", fresh=True)
        arguments[Path(path).stem] = {
            "optim": str(getattr(found.optim, "value", found.optim)),
            "batch": [found.per_device_train_batch_size, found.gradient_accumulation_steps],
            "bf16": found.bf16,
        }
    return arguments


def answer(unsloth: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Answer one job; an error is an answer."""
    try:
        match job:
            case {"names": names}:
                return resolve_names(names)
            case {"configs": paths}:
                return read_arguments(paths)
            case {"parameters": _}:
                return read_parameters(unsloth)
            case _:
                return run_job(unsloth, job)
    except Exception:
        return {"error": traceback.format_exc()}


def main(jobs_path: str, results_path: str) -> None:
    """Run each job in a fork of this process."""
    with open(jobs_path, encoding="utf-8") as file:
        jobs = json.load(file)
    unsloth = pretend()
    results = {}
    for name, job in jobs.items():
        part = f"{results_path}.{name}"
        child = os.fork()
        if child == 0:
            with open(part, "w", encoding="utf-8") as file:
                json.dump(answer(unsloth, job), file)
            os._exit(0)
        os.waitpid(child, 0)
        with open(part, encoding="utf-8") as file:
            results[name] = json.load(file)
    with open(results_path, "w", encoding="utf-8") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
