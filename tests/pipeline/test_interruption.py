"""Ctrl-C, SIGTERM, kill -9, a full disk, and --resume: a training that was cut off ends where a straight one does."""

import json
import math
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.conftest import Run
from tests.pipeline.evidence import check_same_end, hash_files, read_rows

pytestmark = pytest.mark.pipeline

LIMIT_S = 120


def find_newest(folder: Path) -> Path:
    """Find a run's newest checkpoint."""
    return max(folder.glob("checkpoints/checkpoint-*"), key=read_step)


def read_step(checkpoint: Path) -> int:
    """Read the step from a checkpoint's name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


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


def read_train_rows(folder: Path) -> list[dict[str, Any]]:
    """Read what the curve of the training text is drawn from, but for what a clock and the machine say."""
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "train"]
    keys = ("step", "tokens_seen", "tokens", "loss_nats", "learning_rate", "grad_norm")
    return [{key: row[key] for key in keys} for row in rows]


def cut_off(run: Path, folder: Path, *, step: int) -> Path:
    """Copy a finished run as if the machine had gone down after the checkpoint of `step`."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("adapter", "control", "wandb"))
    for checkpoint in folder.glob("checkpoints/checkpoint-*"):
        if read_step(checkpoint) > step:
            shutil.rmtree(checkpoint)
    assert read_step(find_newest(folder)) == step
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | {"finished": False}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def interrupted(commands: Commands, config: str) -> Finished:
    """Train, and press Ctrl-C in the first steps."""
    start_training(commands, config, output="interrupted")
    commands.interrupt()
    return commands.wait()


@pytest.fixture(scope="module")
def stopped(interrupted: Finished, commands: Commands) -> tuple[int, Path]:
    """Find the step that the interrupted training stopped at, and its checkpoint."""
    checkpoint = find_newest(commands.folder / "interrupted/austen")
    return read_step(checkpoint), checkpoint


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
    where = f"the newest checkpoint is interrupted/austen/checkpoints/{checkpoint.name}"
    assert interrupted.stderr.startswith(f"error: stopped at step {step} of 12; {where}: ")
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
    assert (find_newest(commands.folder / "terminated/austen") / "seal.json").is_file()


def test_resume_leaves_a_damaged_checkpoint_out(commands: Commands, config: str, author_run: Run) -> None:
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
    newest = find_newest(folder)
    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    done = commands.succeed("train", "--config", config, *options, "--resume")

    step = read_step(newest)
    checkpoints = "damaged/austen/checkpoints"
    assert (
        f"warning: {checkpoints}/checkpoint-{step} is not whole and is left out; "
        f"going on from {checkpoints}/checkpoint-{step - 1}"
    ) in done.stdout
    check_same_end(author_run.folder, folder)


def test_resume_in_the_second_epoch_equals_a_straight_training(
    commands: Commands, config: str, letters: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    settings = [f"data.dir={letters}", "data.sequence_length=256", "train.eval_every=1", "eval.max_val_bytes=1"]
    settings += ["train.checkpoint_every=1", "train.keep_checkpoints=20", "train.max_steps=16", "train.max_rises=0"]
    settings += ["train.patience=0"]
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
    assert steps + 2 <= read_step(find_newest(folders[1])) < 2 * steps

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


def test_resume_on_other_base_weights_is_refused(refused: Finished, commands: Commands, config: str) -> None:
    """As if the base in the folder had been another when the run began."""
    folder = shutil.copytree(commands.folder / "interrupted", commands.folder / "exchanged") / "austen"
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["base_model"]["weights_sha256"] = "0" * 64
    path.write_text(json.dumps(manifest), encoding="utf-8")
    before = hash_files(folder)
    done = commands.run("train", "--config", config, "--set", "output.dir=exchanged", "--resume")

    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"exchanged/austen began with another base model: its weights_sha256 was {'0' * 64}" in done.stderr
    assert hash_files(folder) == before


def test_resumed_training_equals_a_straight_one(author_run: Run, resumed: Path) -> None:
    check_same_end(author_run.folder, resumed)


@pytest.mark.slow
def test_killed_at_random_steps_and_resumed_equals_straight(commands: Commands, config: str, author_run: Run) -> None:
    """SIGKILL as soon as a checkpoint's folder appears, so mostly while it is being written, and once in between."""
    options = ["--set", "output.dir=killed", "--set", "train.checkpoint_every=1", "--set", "train.keep_checkpoints=1"]
    folder = commands.folder / "killed/austen"
    steps = sorted(random.Random(3).sample(range(1, 12), 3))
    for number, step in enumerate(steps):
        commands.start("train", "--config", config, *options, *(["--resume"] if number else []))
        deadline = time.monotonic() + LIMIT_S
        while not (folder / f"checkpoints/checkpoint-{step}").exists():
            assert time.monotonic() < deadline, f"no checkpoint of step {step} after {LIMIT_S} seconds"
            time.sleep(0.0005)
        time.sleep(0.05 * (number % 2))
        commands.kill()
        assert commands.wait().exit_code == -9
        assert not (folder / "adapter").exists()
    commands.run("train", "--config", config, *options, "--resume")
    check_same_end(author_run.folder, folder)


# As a full disk refuses: no file of this process may grow beyond a size that the weights have and the optimiser's
# state has not. The signal that comes with it would end the process; a full disk sends none.
SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size_bytes = int(sys.argv.pop())
resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))
from ghostpen.cli import app
app()
"""


@pytest.fixture(scope="module")
def too_small_bytes(author_run: Run) -> str:
    """Choose the limit."""
    checkpoint = find_newest(author_run.folder)
    sizes = [(checkpoint / name).stat().st_size for name in ("adapter_model.safetensors", "optimizer.pt")]
    others = [(author_run.folder / "perplexity.png").stat().st_size]
    others += [path.stat().st_size for path in checkpoint.glob("*.json")]
    assert max(sizes[0], *others) < sizes[1]
    return str((max(sizes[0], *others) + sizes[1]) // 2)


def test_full_disk_costs_the_checkpoints_and_not_the_training(
    commands: Commands, config: str, author_run: Run, too_small_bytes: str
) -> None:
    options = ["--set", "output.dir=full", "--tracker", "none"]
    done = commands.run("train", "--config", config, *options, too_small_bytes, code=SMALL_DISK)
    folder = commands.folder / "full/austen"
    assert (done.exit_code, done.stderr) == (0, "")
    assert "warning: no checkpoint at step 5: full/austen/checkpoints/checkpoint-5: the file could not" in done.stdout
    assert not any((folder / "checkpoints").iterdir())  # nothing half-written
    check_same_end(author_run.folder, folder)


def test_full_disk_falls_back_to_the_checkpoint_before(
    commands: Commands, config: str, author_run: Run, too_small_bytes: str
) -> None:
    folder = commands.folder / "filled/austen"
    options = ["train", "--config", config, "--set", "output.dir=filled", "--tracker", "none"]
    start_training(commands, config, output="filled")
    commands.interrupt()
    assert commands.wait().exit_code == 130
    before = find_newest(folder)
    commands.start(*options, "--resume", too_small_bytes, code=SMALL_DISK)
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + LIMIT_S
    while f'"step": {read_step(before) + 1},' not in metrics.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, f"no further step in metrics.jsonl after {LIMIT_S} seconds"
        time.sleep(0.002)
    commands.interrupt()
    done = commands.wait()
    assert done.exit_code == 130
    assert f"the newest checkpoint is filled/austen/checkpoints/{before.name}: " in done.stderr
    commands.succeed(*options, "--resume")
    check_same_end(author_run.folder, folder)


def test_resumed_curve_counts_every_token_once(author_run: Run, resumed: Path) -> None:
    straight, joined = (read_train_rows(folder) for folder in (author_run.folder, resumed))
    assert joined == straight
    assert sum(row["tokens"] for row in joined) == joined[-1]["tokens_seen"]


def test_checkpoint_between_two_rows_of_the_curve_keeps_what_the_second_begins_with(
    commands: Commands, config: str, author_run: Run
) -> None:
    folder = cut_off(author_run.folder, commands.folder / "between/austen", step=10)
    straight = read_train_rows(folder)
    assert [row["step"] for row in straight] == [1, 3, 6, 9, 12]  # the checkpoint holds the first of three steps

    commands.succeed("train", "--config", config, "--set", "output.dir=between", "--resume")

    assert read_train_rows(folder) == straight


# Another process ends its training while this one loads the model: so late that the first look found it unfinished.
FINISHED_MEANWHILE = """
import sys
from pathlib import Path
from rich.console import Console
from ghostpen.config import load_run_config
from ghostpen.training.run import train_run

class Late(Console):
    def status(self, text):
        folder = Path(sys.argv[2])
        (folder / "manifest.json").write_bytes((folder / "finished.json").read_bytes())
        return super().status(text)

config = load_run_config(Path(sys.argv[1]), overrides=[f"output.dir={Path(sys.argv[2]).parent}"])
train_run(config, control=False, resume=True, console=Late())
"""


def test_run_that_another_process_finished_meanwhile_is_left_as_it_is(
    commands: Commands, config: str, author_run: Run
) -> None:
    folder = cut_off(author_run.folder, commands.folder / "meanwhile/austen", step=12)
    shutil.copy(author_run.folder / "manifest.json", folder / "finished.json")
    before = hash_files(folder)
    done = commands.succeed(config, "meanwhile/austen", code=FINISHED_MEANWHILE)
    after = hash_files(folder)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == {
        str(folder / "manifest.json")
    }
    assert (folder / "manifest.json").read_bytes() == (folder / "finished.json").read_bytes()
    assert "nothing to do: meanwhile/austen holds the adapter of the same data and settings" in done.stdout


# SIGTERM as the row with a given number is written: that of a step's training text, which comes after the step
# and before its measurement on the validation texts.
TERMINATED_AT_ROW = """
import os, signal, sys
rows_left = int(sys.argv.pop())

def terminate(event, arguments):
    global rows_left
    if event == "open" and arguments[1] == "a" and str(arguments[0]).endswith("metrics.jsonl"):
        rows_left -= 1
        if rows_left == 0:
            os.kill(os.getpid(), signal.SIGTERM)

sys.addaudithook(terminate)
from ghostpen.cli import app
app()
"""


def test_measurement_is_broken_off_by_a_signal_and_made_first_on_resume(
    commands: Commands, config: str, author_run: Run
) -> None:
    folder = commands.folder / "measuring/austen"
    options = ["train", "--config", config, "--set", "output.dir=measuring"]
    # Two rows of the untrained adapter, then steps 1 and 3. With the rest of step 3, and three rows each of 6 and 9:
    # the ninth is that of step 12, the last.
    for step, row, measured, more in [(3, "4", [0], []), (12, "9", [0, 3, 6, 9], ["--resume"])]:
        done = commands.run(*options, *more, row, code=TERMINATED_AT_ROW)
        assert done.exit_code == 143
        assert done.stderr == (
            f"error: stopped at step {step} of 12; the newest checkpoint is measuring/austen/checkpoints/"
            f"checkpoint-{step}: go on with the same command and --resume\n"
        )
        assert [row["step"] for row in read_rows(folder / "metrics.jsonl") if row["split"] == "val"] == measured
        assert [row["step"] for row in read_train_rows(folder)][-1] == step

    commands.succeed(*options, "--resume")

    check_same_end(author_run.folder, folder)
    assert read_train_rows(folder) == read_train_rows(author_run.folder)
    manifests = [json.loads((run / "manifest.json").read_text("utf-8")) for run in (author_run.folder, folder)]
    assert [(one["finished"], one["best"], one["stopped"]) for one in manifests] == [
        (True, manifests[0]["best"], None)
    ] * 2
