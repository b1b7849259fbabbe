"""How a training ends before its last step, and which adapter it leaves."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.evidence import compute_loss_nats, load_plainly, read_rows

pytestmark = pytest.mark.pipeline


def train(commands: Commands, config: str, name: str, *settings: str) -> tuple[Finished, Path]:
    options = [part for setting in (f"name={name}", *settings) for part in ("--set", setting)]
    return commands.run("train", "--config", config, *options), commands.folder / "runs" / name


def read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def read_weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


# No warm-up and a rate far too high: what is learned at first is lost again. At which step differs from one kind of
# processor to another, since rounding decides it, so there are many more steps than are needed.
MAX_STEPS = 400
TOO_FAST = [f"train.max_steps={MAX_STEPS}", "train.eval_every=2", "train.warmup_share=0", "train.checkpoint_every=3"]
UNTIL_WORSE = [*TOO_FAST, "train.learning_rate=0.1", "train.patience=3", "train.max_rises=0"]


@pytest.fixture(scope="module")
def stopped_early(commands: Commands, config: str) -> tuple[Finished, Path]:
    """Train until nothing gets better any more."""
    return train(commands, config, "stopped-early", *UNTIL_WORSE)


def test_early_stop_keeps_the_best_adapter_and_says_why(stopped_early: tuple[Finished, Path]) -> None:
    done, folder = stopped_early
    assert (done.exit_code, done.stderr) == (0, "")
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "val"]
    best = min(rows[1:], key=lambda row: row["bits_per_byte"])
    manifest = read_manifest(folder)
    assert manifest["best"] == {"step": best["step"], "bits_per_byte": best["bits_per_byte"]}
    assert manifest["finished"] is True
    # Three measurements after the best, two steps apart, and not one more.
    assert best["step"] < rows[-1]["step"] == best["step"] + 6 < MAX_STEPS
    assert (manifest["step"], manifest["stopped"]["step"]) == (rows[-1]["step"], rows[-1]["step"])
    assert manifest["stopped"]["reason"] == "no-improvement"
    assert f"(train.patience): stopped at step {rows[-1]['step']} of {MAX_STEPS}" in done.stdout
    assert f"the adapter is that of step {best['step']}, the best on the author's validation text" in done.stdout
    kept = folder / f"checkpoints/checkpoint-{best['step']}"
    assert read_weights(folder / "adapter") == read_weights(kept)
    # The two newest, and the best.
    newest = {f"checkpoint-{rows[-1]['step']}", f"checkpoint-{(rows[-1]['step'] - 1) // 3 * 3}"}
    assert {path.name for path in kept.parent.iterdir()} == newest | {kept.name}
    assert kept.name not in newest


def test_best_adapter_scores_what_the_manifest_says(
    stopped_early: tuple[Finished, Path], base: Path, data: Path
) -> None:
    from transformers import AutoTokenizer

    _, folder = stopped_early
    model, tokenizer = load_plainly(base, folder / "adapter"), AutoTokenizer.from_pretrained(base)
    texts = [row["text"] for row in read_rows(data / "val.jsonl")]
    nats = sum(compute_loss_nats(model, tokenizer, text, window=64, stride=32)[0] for text in texts)
    size_bytes = sum(len(text.encode()) for text in texts)
    assert nats / math.log(2) / size_bytes == pytest.approx(read_manifest(folder)["best"]["bits_per_byte"], rel=1e-4)


def test_resume_after_the_last_step_does_only_what_was_left(
    commands: Commands, config: str, stopped_early: tuple[Finished, Path]
) -> None:
    """As after a power cut between the last checkpoint and the adapter."""
    _, folder = stopped_early
    before = read_manifest(folder), read_weights(folder / "adapter"), read_rows(folder / "metrics.jsonl")
    (folder / "manifest.json").write_text(json.dumps(before[0] | {"finished": False, "stopped": None, "best": None}))
    shutil.rmtree(folder / "adapter")
    settings = (f"name={folder.name}", *UNTIL_WORSE)
    options = [part for setting in settings for part in ("--set", setting)]

    commands.succeed("train", "--config", config, *options, "--resume")

    after = read_manifest(folder), read_weights(folder / "adapter"), read_rows(folder / "metrics.jsonl")
    assert {key for key in before[0] if before[0][key] != after[0][key]} <= {"training_s"}
    assert after[1:] == before[1:]


def test_constant_rate_rises_in_the_warm_up_and_the_curve_has_the_last_step(commands: Commands, config: str) -> None:
    settings = ["train.schedule=constant", "train.warmup_share=0.5", "train.learning_rate=1e-3", "train.max_steps=4"]
    done, folder = train(commands, config, "constant", *settings)
    assert (done.exit_code, done.stderr) == (0, "")
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "train"]
    # Two steps of warm-up, of which the first has a rate of 0; measured is every third step, and the last.
    assert [(row["step"], row["learning_rate"]) for row in rows] == [(1, 0.0), (3, 1e-3), (4, 1e-3)]
    assert sum(row["tokens"] for row in rows) == read_manifest(folder)["tokens_seen"]


def test_gradient_that_jumps_ends_with_a_named_reason_and_the_best_adapter(commands: Commands, config: str) -> None:
    # Any gradient above the median of those before it counts as a jump; at a low rate they stay much alike.
    settings = ["train.max_steps=40", "train.max_grad_norm_jump=1.0000001", "train.learning_rate=1e-3"]
    done, folder = train(commands, config, "jumped", *settings)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    manifest = read_manifest(folder)
    step = manifest["stopped"]["step"]
    assert 20 < step < 40
    assert done.stderr.startswith("error: the gradient's norm jumped to ")
    assert f"at step {step}, where " in done.stderr
    assert f"runs/jumped/adapter is that of step {manifest['best']['step']}" in done.stderr
    assert (manifest["finished"], manifest["stopped"]["reason"]) == (False, "exploding-gradient")
    kept = folder / f"checkpoints/checkpoint-{manifest['best']['step']}"
    assert read_weights(folder / "adapter") == read_weights(kept)
    again, _ = train(commands, config, "jumped", *settings)
    assert again.exit_code == 2
    assert again.stderr.startswith("error: runs/jumped holds a run that ended early: the gradient's norm jumped to ")


def test_training_that_never_beats_the_base_fails(commands: Commands, config: str) -> None:
    # The embedded model has learned English: a step of this size can only spoil it, however it is rounded.
    settings = [*TOO_FAST, "model.name=embedded:tiny", "train.learning_rate=10", "train.max_rises=1"]
    done, folder = train(commands, config, "worse", *settings)
    assert done.exit_code == 1
    assert "was never below the untrained adapter's" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (read_manifest(folder)["finished"], read_manifest(folder)["stopped"]["reason"]) == (False, "rising")


def test_open_settings_are_chosen_by_the_text_and_the_control_takes_the_same(commands: Commands, config: str) -> None:
    chosen = ("rank = 4", "max_steps = 12", "learning_rate = 2e-2", "eval_every = 3", "checkpoint_every = 5")
    text = (commands.folder / config).read_text(encoding="utf-8").replace('name = "austen"', 'name = "open"')
    for line in chosen:
        assert line in text
        text = text.replace(line, "")
    (commands.folder / "open.toml").write_text(text.replace("batch_size = 8", "batch_size = 64"), encoding="utf-8")
    done = commands.succeed("train", "--config", "open.toml")
    commands.succeed("train", "--config", "open.toml", "--control")
    author, control = (read_manifest(commands.folder / "runs/open" / part) for part in ("", "control"))
    recipe = author["recipe"]
    assert (recipe["tier"], recipe["rank"], recipe["learning_rate"]) == ("small", 8, 2e-4)
    assert 1.9 < recipe["epochs"] < 2.5  # a last step counts whole
    assert recipe["steps"] == author["step"] == control["step"]
    assert control["recipe"] == recipe
    assert author["config"]["lora"]["rank"] is None  # as it was written
    adapter = json.loads((commands.folder / "runs/open/adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["r"], adapter["lora_alpha"]) == (8, 16)
    assert f"words of training text (small): rank 8, learning rate 0.0002 (cosine), {recipe['steps']} steps" in (
        done.stdout
    )
