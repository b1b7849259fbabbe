"""One side of benchmarks/peers.py, in a process of its own: train on the materials, measure, write down.

    python benchmarks/sides.py '{"side": "ours", ...}'     # the fields of `Job`; the result is OUT/result.json

Each side is trained as its own users would, with its defaults, but for what `Job` fixes for all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from processes import RESULT, read_status_bytes

from ghostpen.data.samples import IGNORED_LABEL, render_text_windows
from ghostpen.data.sections import Section, load_sections

TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj"]
TARGET_PARAMETERS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


@dataclass(frozen=True)
class Job:
    """What to do, the same for all sides."""

    side: str  # a key of SIDES, or "score"
    materials: str
    out: str
    steps: int = 0
    batch_size: int = 8
    sequence_length: int = 512
    rank: int = 16
    learning_rate: float = 2e-3
    warmup_steps: int = 1
    seed: int = 0
    adapters: tuple[str, ...] = ()  # only for "score"

    @property
    def base(self) -> str:
        """Give the base model's folder."""
        return str(Path(self.materials) / "base")


@dataclass(frozen=True)
class Trained:
    """A trainer that has not begun, and how its adapter is saved and its own validation read afterwards."""

    trainer: Any
    save: Callable[[Path], None]
    evaluate: Callable[[], dict[str, float]]


def prepare_ours(job: Job) -> Trained:
    """Set up what `ghostpen train` runs: Unsloth's CPU backend, our kernels, our trainer.

    Not run: what the verb does beside training (samples of text, W&B, checkpoints on the way, validation on the way).
    """
    from ghostpen.config import build_run_config
    from ghostpen.model.loading import attach_adapter, load_base, save_adapter

    config = build_run_config(
        {
            "name": "peers",
            "data": {"dir": job.materials, "sequence_length": job.sequence_length},
            "model": {"name": job.base, "precision": "float32", "require_gpu": False},
            "lora": {"rank": job.rank},
            "train": {
                "max_steps": job.steps, "batch_size": job.batch_size, "learning_rate": job.learning_rate,
                "warmup_share": job.warmup_steps / job.steps, "schedule": "cosine", "seed": job.seed,
                "eval_every": job.steps, "checkpoint_every": job.steps,
            },
            "eval": {"window": job.sequence_length, "stride": job.sequence_length},
        }
    )  # fmt: skip
    base = load_base(config.model, max_length=job.sequence_length)
    samples = render_text_windows(
        load_sections(Path(job.materials), "train"), base.tokenizer, sequence_length=job.sequence_length
    )
    loaded, _ = attach_adapter(base, config.lora, seed=job.seed, gradient_checkpointing="off")
    from ghostpen.training.trainer import GhostpenTrainer

    trainer = GhostpenTrainer(
        config=config, model=loaded.model, tokenizer=loaded.tokenizer, samples=samples, validation={},
        folder=str(Path(job.out) / "checkpoints"), fresh=True, on_measurement=lambda _: None,
        on_warning=print,
    )  # fmt: skip

    def evaluate() -> dict[str, float]:
        trainer.validation = {"val": load_sections(Path(job.materials), "val")}
        return {"perplexity": trainer.evaluate()["eval_val_perplexity"]}

    return Trained(
        trainer,
        lambda folder: save_adapter(loaded.model, loaded.tokenizer, folder, base_name=job.base),
        evaluate,
    )


def prepare_transformers(job: Job) -> Trained:
    """Set up transformers' Trainer with PEFT at their defaults, with transformers' own collator."""
    import torch
    from peft import get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )  # fmt: skip

    tokenizer = AutoTokenizer.from_pretrained(job.base)
    model = AutoModelForCausalLM.from_pretrained(job.base)
    torch.manual_seed(job.seed)
    trainer = Trainer(
        model=get_peft_model(model, build_lora(job)),
        args=TrainingArguments(**build_common_arguments(job)),
        train_dataset=build_dataset(render_ids(job, tokenizer, "train")),
        eval_dataset=build_dataset(render_ids(job, tokenizer, "val")),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    return Trained(trainer, lambda folder: trainer.save_model(str(folder)), lambda: read_evaluation(trainer))


def prepare_trl(job: Job, **settings: Any) -> Trained:
    """Set up TRL's SFTTrainer at its defaults, on rows that are tokenised already."""
    import torch
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(job.base)
    torch.manual_seed(job.seed)
    trainer = SFTTrainer(
        model=job.base,
        args=SFTConfig(**build_common_arguments(job), **settings),
        train_dataset=build_dataset(render_ids(job, tokenizer, "train")),
        eval_dataset=build_dataset(render_ids(job, tokenizer, "val")),
        processing_class=tokenizer,
        peft_config=build_lora(job),
    )
    return Trained(trainer, lambda folder: trainer.save_model(str(folder)), lambda: read_evaluation(trainer))


SIDES: dict[str, Callable[[Job], Trained]] = {
    "ours": prepare_ours,
    "transformers": prepare_transformers,
    "trl": prepare_trl,
    "trl-nll": lambda job: prepare_trl(job, loss_type="nll"),
}


def build_lora(job: Job) -> Any:
    """Give a peer's users' own way to the adapter that ghostpen makes."""
    from peft import LoraConfig

    return LoraConfig(
        r=job.rank, lora_alpha=2 * job.rank, target_modules=TARGET_MODULES, target_parameters=TARGET_PARAMETERS,
        task_type="CAUSAL_LM",
    )  # fmt: skip


def build_common_arguments(job: Job) -> dict[str, Any]:
    """Fix for the peers what must be equal; all else is their default."""
    return {
        "output_dir": str(Path(job.out) / "checkpoints"),
        "max_steps": job.steps,
        "per_device_train_batch_size": job.batch_size,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": job.warmup_steps,
        "seed": job.seed,
        "disable_tqdm": True,
        "report_to": "none",
        "use_cpu": True,  # TRL and transformers refuse bfloat16 without a GPU unless told that the CPU is meant
    }


def render_ids(job: Job, tokenizer: Any, split: str) -> list[list[int]]:
    """Render the windows that every side trains on, or the validation sections: one window each, without an end."""
    sections = load_sections(Path(job.materials), split)
    if split == "val":
        sections = [Section(**(asdict(section) | {"ends_document": False})) for section in sections]
    windows = render_text_windows(sections, tokenizer, sequence_length=job.sequence_length)
    if split == "val" and len(windows) != len(sections):
        raise ValueError(f"{len(sections)} validation sections made {len(windows)} windows; cut shorter ones")
    return [list(window.input_ids) for window in windows]


def build_dataset(rows: Sequence[Sequence[int]]) -> Any:
    """Give rows of token ids the form that the peers read."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [list(row) for row in rows]})


def read_evaluation(trainer: Any) -> dict[str, float]:
    """Let a peer evaluate, and keep what it says of loss."""
    return {name: value for name, value in trainer.evaluate().items() if "loss" in name}


def run_side(job: Job) -> dict[str, Any]:
    """Train one side, then measure."""
    prepared = SIDES[job.side](job)
    import torch  # not before: Unsloth wants to be first
    from transformers import TrainerCallback

    trainer = prepared.trainer
    tokens: list[int] = []
    positions: list[int] = []
    rows_seen: list[int] = []
    ended_s: list[float] = []
    collate = trainer.data_collator

    def counting_collate(rows: Any) -> Any:
        batch = collate(rows)
        tokens.append(int((batch["labels"][:, 1:] != IGNORED_LABEL).sum()))
        positions.append(batch["labels"].numel())
        rows_seen.append(len(batch["labels"]))
        return batch

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ended_s.append(time.perf_counter())

    trainer.data_collator = counting_collate
    trainer.add_callback(Watch())
    fresh_a = hash_lora_a(trainer.model)
    before = read_status_bytes("VmHWM")
    training_loss = trainer.train().training_loss
    peak = read_status_bytes("VmHWM")
    steps = len(ended_s)
    prepared.save(Path(job.out) / "adapter")
    return {
        "side": job.side,
        "seed": job.seed,
        "steps": steps,
        "fresh_lora_a_sha256": fresh_a,
        "tokens": tokens[:steps],
        "positions": positions[:steps],
        "rows": sum(rows_seen[:steps]),
        "tokens_per_s": sum(tokens[1:steps]) / (ended_s[-1] - ended_s[0]),
        "peak_bytes": peak,
        "before_training_bytes": before,
        "own_training_loss": training_loss,
        "own_evaluation": prepared.evaluate(),
        "threads": torch.get_num_threads(),
        "versions": read_versions(),
        "unsloth_imported": "unsloth" in sys.modules,
    }


def score(job: Job) -> dict[str, Any]:
    """Measure every adapter, and the base without one, in one way: token-weighted, float32, no router loss in it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ghostpen.model.cpu_kernels import use_cpu_kernels
    from ghostpen.score import sum_scores
    from ghostpen.training.perplexity import score_sections

    tokenizer = AutoTokenizer.from_pretrained(job.base)
    model = AutoModelForCausalLM.from_pretrained(job.base)
    use_cpu_kernels(model)
    sections = load_sections(Path(job.materials), "val")
    perplexities = {}
    for adapter in ("", *job.adapters):
        adapted = PeftModel.from_pretrained(model, adapter) if adapter else model
        measured = score_sections(
            adapted, tokenizer, sections, window=job.sequence_length, stride=job.sequence_length, batch_size=8
        )
        perplexities[adapter or "base"] = sum_scores(measured).perplexity
        if adapter:
            model = adapted.unload()
    return {"perplexity": perplexities}


def hash_lora_a(model: Any) -> str:
    """Hash the adapter's A matrices in the order of their names: equal where two sides start from the same."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if ".lora_A." in name:
            digest.update(parameter.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_versions() -> dict[str, str]:
    """Name the versions of what was imported."""
    names = ("torch", "transformers", "peft", "accelerate", "trl", "unsloth")
    return {name: sys.modules[name].__version__ for name in names if name in sys.modules}


def main() -> None:
    """Do the job that the first argument says."""
    values = json.loads(sys.argv[1])
    job = Job(**(values | {"adapters": tuple(values.get("adapters", ()))}))
    out = Path(job.out)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(sys.stderr):
        result = score(job) if job.side == "score" else run_side(job)
    (out / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
