"""`ghostpen train --processes 2`: what one process trains, and a stop and a resume of all.

The two processes are started anew, so that each run here imports Unsloth twice; there are as few as will do.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.evidence import hash_files, read_rows

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

LIMIT_S = 240
# Chats, because they differ in how many tokens count: a mean over processes would show. bfloat16 would round
# differently. A router loss, because it is a part of the gradient that no sum of nats covers.
SETTINGS = [
    "train.batch_size=4",
    "train.gradient_accumulation=2",
    "train.mixed_precision=false",
    "train.router_aux_loss_coef=0.01",
    "train.max_steps=9",
    "train.checkpoint_every=3",
    "data.continue_share=0.5",
    "data.sequence_length=128",
]


def build_command(config: str, name: str, *options: str) -> list[str]:
    settings = [part for setting in (f"name={name}", *SETTINGS) for part in ("--set", setting)]
    return ["train", "--config", config, *settings, *options]


@pytest.fixture(scope="module")
def one(commands: Commands, config: str) -> Path:
    """Train in one process."""
    commands.succeed(*build_command(config, "one-process"))
    return commands.folder / "runs/one-process"


@pytest.fixture(scope="module")
def two(commands: Commands, config: str) -> Path:
    """Train in two processes."""
    done = commands.succeed(*build_command(config, "two-processes", "--processes", "2"))
    assert done.stdout.count("adapter, curve and samples are in runs/two-processes") == 1  # the first alone prints
    return commands.folder / "runs/two-processes"


def find_newest_step(folder: Path) -> int:
    steps = [int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoints/checkpoint-*")]
    return max(steps, default=0)


def train_until_stopped(
    commands: Commands, command: list[str], folder: Path, press: Callable[[], None]
) -> tuple[Finished, int]:
    """Train until there is a row after the newest checkpoint, and stop it; returns the step it stopped at."""
    before = find_newest_step(folder)
    metrics = folder / "metrics.jsonl"
    commands.start(*command)
    deadline = time.monotonic() + LIMIT_S
    while not (metrics.exists() and any(row["step"] > before for row in read_whole_rows(metrics))):
        assert time.monotonic() < deadline, f"no step after {before} in metrics.jsonl after {LIMIT_S} seconds"
        time.sleep(0.002)
    press()
    return commands.wait(), find_newest_step(folder)


def read_whole_rows(path: Path) -> list[dict[str, int]]:
    """Read the rows of a file that is being written."""
    return [
        json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"
    ]


@pytest.fixture(scope="module")
def stops(commands: Commands, config: str) -> list[tuple[Finished, int]]:
    """Train in two processes: press Ctrl-C, go on, send SIGTERM, go on to the end."""
    folder = commands.folder / "runs/stopped"
    command = build_command(config, "stopped", "--processes", "2")
    first = train_until_stopped(commands, command, folder, commands.interrupt)
    second = train_until_stopped(commands, [*command, "--resume"], folder, commands.terminate)
    commands.succeed(*command, "--resume")
    return [first, second]


def assert_same_training(folder: Path, expected: Path) -> None:
    """Compare curves and adapters; seen: 3e-9 of a curve, 1e-5 of weights of up to 0.2."""
    import torch
    from safetensors.torch import load_file

    curves = [
        [row for row in read_rows(path / "metrics.jsonl") if row["split"] != "train"] for path in (folder, expected)
    ]
    for ours, theirs in zip(*curves, strict=True):
        for key in ("step", "split", "tokens", "tokens_seen"):
            assert ours[key] == theirs[key]
        assert ours["perplexity"] == pytest.approx(theirs["perplexity"], rel=1e-6)
    assert curves[0][0]["perplexity"] == pytest.approx(curves[1][0]["perplexity"], rel=1e-7)  # before any training
    weights = [load_file(path / "adapter/adapter_model.safetensors") for path in (folder, expected)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[1].items():
        torch.testing.assert_close(weights[0][name], weight, atol=1e-4, rtol=0, msg=f"{name}: {{}}".format)


def test_two_processes_train_what_one_does(one: Path, two: Path) -> None:
    assert_same_training(two, one)


def test_training_rows_of_two_processes_are_the_sums_of_one(one: Path, two: Path) -> None:
    rows = [[row for row in read_rows(path / "metrics.jsonl") if row["split"] == "train"] for path in (one, two)]
    assert len(rows[0]) >= 3
    for ours, theirs in zip(*rows, strict=True):
        assert (ours["step"], ours["tokens"], ours["tokens_seen"]) == (
            theirs["step"],
            theirs["tokens"],
            theirs["tokens_seen"],
        )
        assert ours["loss_nats"] == pytest.approx(theirs["loss_nats"], rel=1e-6)
        assert ours["balance"] == pytest.approx(theirs["balance"], rel=1e-5)


def test_gradients_of_two_processes_are_as_long_as_those_of_one(one: Path, two: Path) -> None:
    """AdamW hides a factor that all gradients have, so the curves would not show one."""
    norms = []
    for path in (one, two):
        state = json.loads((path / "checkpoints/checkpoint-9/trainer_state.json").read_text(encoding="utf-8"))
        norms.append([row["grad_norm"] for row in state["log_history"] if "grad_norm" in row])
    assert len(norms[0]) >= 3
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_manifests_differ_in_the_number_of_processes_alone(one: Path, two: Path) -> None:
    manifests = [json.loads((path / "manifest.json").read_text(encoding="utf-8")) for path in (one, two)]
    assert [manifest["processes"] for manifest in manifests] == [1, 2]
    differing = {key for key in manifests[0] if manifests[0][key] != manifests[1][key]}
    # The best's bits per byte are the same but for the last digits: sums of two processes run in another order.
    assert differing - {"training_s", "best"} == {"run_id", "config", "processes"}
    assert manifests[0]["best"] == pytest.approx(manifests[1]["best"], rel=1e-6)
    configs = [{key: value for key, value in m["config"].items() if key != "name"} for m in manifests]
    assert configs[0] == configs[1]


def test_signal_stops_both_processes_with_a_whole_checkpoint(
    commands: Commands, stops: list[tuple[Finished, int]]
) -> None:
    (interrupted, first), (terminated, second) = stops
    assert (interrupted.exit_code, terminated.exit_code) == (130, 143)
    for done, step in stops:
        assert done.stderr == (
            f"error: stopped at step {step} of 9; the newest checkpoint is "
            f"runs/stopped/checkpoints/checkpoint-{step}: go on with the same command and --resume\n"
        )
    assert 1 <= first < second < 9


def test_resumed_processes_end_where_a_straight_training_does(
    commands: Commands, stops: list[tuple[Finished, int]], one: Path
) -> None:
    folder = commands.folder / "runs/stopped"
    assert_same_training(folder, one)
    seal = json.loads((folder / "checkpoints/checkpoint-9/seal.json").read_text(encoding="utf-8"))
    assert {"rng_state_0.pth", "rng_state_1.pth", "adapter_model.safetensors"} <= seal["sha256"].keys()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--processes", "3"], "= 8 sequences a step can't be dealt out evenly to 3 processes"),
        (["--processes", "some"], '--processes is "some"'),
        (["--processes", "2", "--set", "train.max_step=1"], "did you mean train.max_steps?"),
        (["--processes", "2", "--set", "lora.layers=[7]"], "lora.layers names [7], but the model has layers 0 to 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gives_one_line_and_writes_nothing(
    commands: Commands, config: str, options: list[str], expected: str
) -> None:
    before = hash_files(commands.folder)
    done = commands.run(*build_command(config, "bad", *options))
    assert (done.exit_code, done.stdout.strip()) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert hash_files(commands.folder) == before
