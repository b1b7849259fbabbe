"""Ctrl-C and --resume: an interrupted training ends where a straight one does."""

import math
import re
import time
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.conftest import Run
from tests.pipeline.evidence import hash_files, read_rows

pytestmark = pytest.mark.pipeline

LIMIT_S = 120


def start_training(commands: Commands, config: str, *, output: str) -> None:
    """Start a training, and wait until its first step is in metrics.jsonl."""
    metrics = commands.folder / output / "austen/metrics.jsonl"
    commands.start("train", "--config", config, "--set", f"output.dir={output}")
    deadline = time.monotonic() + LIMIT_S
    while not (metrics.exists() and '"train"' in metrics.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, f"no step in metrics.jsonl after {LIMIT_S} seconds"
        time.sleep(0.002)


def wait_for_seal(checkpoint: Path) -> None:
    """Wait until a checkpoint is whole."""
    deadline = time.monotonic() + LIMIT_S
    while not (checkpoint / "seal.json").exists():
        assert time.monotonic() < deadline, f"{checkpoint} was not whole after {LIMIT_S} seconds"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def interrupted(commands: Commands, config: str) -> Finished:
    """Train, and press Ctrl-C in the first steps."""
    start_training(commands, config, output="interrupted")
    commands.interrupt()
    return commands.wait()


@pytest.fixture(scope="module")
def stopped(interrupted: Finished, commands: Commands) -> tuple[int, Path]:
    """Find the step that the interrupted training stopped at, and its checkpoint."""
    (checkpoint,) = (commands.folder / "interrupted/austen/checkpoints").iterdir()
    return int(checkpoint.name.removeprefix("checkpoint-")), checkpoint


@pytest.fixture(scope="module")
def refused(stopped: tuple[int, Path], commands: Commands, config: str) -> Finished:
    """Start again without --resume."""
    folder = commands.folder / "interrupted/austen"
    before = hash_files(folder)
    done = commands.run("train", "--config", config, "--set", "output.dir=interrupted")
    assert hash_files(folder) == before
    return done


@pytest.fixture(scope="module")
def resumed(refused: Finished, commands: Commands, config: str) -> Path:
    """Go on with --resume."""
    commands.succeed("train", "--config", config, "--set", "output.dir=interrupted", "--resume")
    return commands.folder / "interrupted/austen"


def test_ctrl_c_leaves_a_whole_checkpoint_and_says_how_to_go_on(
    interrupted: Finished, stopped: tuple[int, Path]
) -> None:
    step, checkpoint = stopped
    assert 1 <= step < 12
    assert interrupted.exit_code == 130
    assert interrupted.stderr.count("\n") == 1
    assert interrupted.stderr.startswith(f"error: stopped at step {step} of 12; a checkpoint was written to ")
    assert "--resume" in interrupted.stderr
    assert {path.name for path in checkpoint.iterdir()} >= {
        "adapter_model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "seal.json",
    }


def test_sigterm_leaves_a_whole_checkpoint_and_exit_code_143(commands: Commands, config: str) -> None:
    start_training(commands, config, output="terminated")
    commands.terminate()
    done = commands.wait()
    assert done.exit_code == 143
    assert "--resume" in done.stderr
    (checkpoint,) = (commands.folder / "terminated/austen/checkpoints").iterdir()
    assert (checkpoint / "seal.json").is_file()


def test_resume_leaves_a_damaged_checkpoint_out(commands: Commands, config: str, author_run: Run) -> None:
    import torch
    from safetensors.torch import load_file

    options = [
        "--set",
        "output.dir=damaged",
        "--set",
        "train.checkpoint_every=1",
        "--set",
        "train.keep_checkpoints=9",
    ]
    folder = commands.folder / "damaged/austen"
    commands.start("train", "--config", config, *options)
    wait_for_seal(folder / "checkpoints/checkpoint-2")
    commands.interrupt()
    assert commands.wait().exit_code == 130
    newest = max(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    done = commands.succeed("train", "--config", config, *options, "--resume")

    step = int(newest.name.rpartition("-")[2])
    checkpoints = "damaged/austen/checkpoints"
    assert (
        f"warning: {checkpoints}/checkpoint-{step} is not whole and is left out; "
        f"going on from {checkpoints}/checkpoint-{step - 1}"
    ) in done.stdout
    straight, joined = (load_file(path / "adapter/adapter_model.safetensors") for path in (author_run.folder, folder))
    assert [name for name in straight if not torch.equal(straight[name], joined[name])] == []


def test_resume_in_the_second_epoch_equals_a_straight_training(
    commands: Commands, config: str, letters: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    settings = [f"data.dir={letters}", "data.sequence_length=256", "train.eval_every=1", "eval.max_val_bytes=1"]
    settings += ["train.checkpoint_every=1", "train.keep_checkpoints=20", "train.max_steps=16"]
    options = ["train", "--config", config, *(part for setting in settings for part in ("--set", setting))]
    folders = [commands.folder / name / "austen" for name in ("straight-epochs", "resumed-epochs")]
    done = commands.succeed(*options, "--set", "output.dir=straight-epochs")
    samples = int(re.search(r"(\d+) samples", done.stdout)[1])
    steps = math.ceil(samples / 8)
    assert samples % 8 and 2 * steps < 16  # the last step of an epoch is smaller, and the third epoch is reached
    commands.start(*options, "--set", "output.dir=resumed-epochs")
    wait_for_seal(folders[1] / f"checkpoints/checkpoint-{steps + 2}")
    commands.interrupt()
    assert commands.wait().exit_code == 130
    stopped_at = max(int(path.name.rpartition("-")[2]) for path in folders[1].glob("checkpoints/checkpoint-*"))
    assert steps + 2 <= stopped_at < 2 * steps

    commands.succeed(*options, "--set", "output.dir=resumed-epochs", "--resume")

    tokens = [
        [row["tokens"] for row in read_rows(folder / "metrics.jsonl") if row["split"] == "train"]
        for folder in folders
    ]
    assert tokens[0] == tokens[1]  # which say what samples each step had
    assert tokens[0][:steps] != tokens[0][steps : 2 * steps]
    assert sum(tokens[0][:steps]) == sum(tokens[0][steps : 2 * steps])
    weights = [load_file(folder / "adapter/adapter_model.safetensors") for folder in folders]
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []


def test_unfinished_run_is_not_overwritten(refused: Finished, stopped: tuple[int, Path]) -> None:
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"error: interrupted/austen holds a run that stopped at step {stopped[0]} of 12; "
        "add --resume to go on, or delete the folder to start anew\n"
    )


def test_resumed_training_equals_a_straight_one(author_run: Run, resumed: Path) -> None:
    """To the last bit: nothing is drawn after the seed, and sums run in the same order on one machine."""
    import torch
    from safetensors.torch import load_file

    weights = [load_file(folder / "adapter/adapter_model.safetensors") for folder in (author_run.folder, resumed)]
    assert weights[0].keys() == weights[1].keys()
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []
    curves = [
        [row for row in read_rows(folder / "metrics.jsonl") if row["split"] != "train"]
        for folder in (author_run.folder, resumed)
    ]
    assert curves[0] == curves[1]


def test_resumed_curve_counts_every_token_once(author_run: Run, resumed: Path) -> None:
    straight, joined = (
        [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "train"]
        for folder in (author_run.folder, resumed)
    )
    assert joined[-1]["tokens_seen"] == straight[-1]["tokens_seen"]
    assert [row["step"] for row in joined] == sorted({row["step"] for row in joined})
