"""Trackers in the real command: what they get, that they change no weight, and that their faults stop nothing."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.conftest import SECRETS, WATCHED, Run
from tests.pipeline.evidence import hash_files, read_rows, read_wandb

pytestmark = pytest.mark.pipeline

STEPS = (0, 3, 6, 9, 12)


def train(
    commands: Commands, config: str, name: str, *options: str, environment: dict[str, str] | None = None
) -> tuple[Finished, Path]:
    named = ("--set", f"name={name}", *WATCHED, *options)
    done = commands.succeed("train", "--config", config, *named, environment=environment)
    return done, commands.folder / "runs" / name


def read_weights(folder: Path) -> bytes:
    return (folder / "adapter/adapter_model.safetensors").read_bytes()


def read_validation(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_rows(folder / "metrics.jsonl") if row["split"] != "train"]


def read_tables(folder: Path, name: str) -> list[dict[str, Any]]:
    paths = folder.glob(f"wandb/offline-run-*/files/media/table/{name}_*.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def test_samples_are_written_at_every_evaluation_and_stay_here(author_run: Run, data: Path) -> None:
    held_out = " ".join(row["text"] for row in read_rows(data / "val.jsonl"))
    samples = author_run.folder / "samples"
    assert {path.name for path in samples.iterdir()} == {"before.txt", "after.txt"} | {
        f"step-{step}.txt" for step in STEPS
    }
    written = [(samples / f"step-{step}.txt").read_text(encoding="utf-8") for step in STEPS]
    for text in written:
        beginning, _, rest = text.partition("\n")[2].partition(" >>>")
        assert beginning and beginning in held_out
        assert 1 <= len(rest.split()) <= 40
    # An adapter that has learned nothing yet writes what the base model writes; later ones don't.
    before = (samples / "before.txt").read_text(encoding="utf-8")
    assert before.startswith(written[0].rstrip("\n"))
    assert len(set(written)) > 1
    assert read_tables(author_run.folder, "samples") == []


def test_wandb_run_has_the_table_of_targets(author_run: Run) -> None:
    (table,) = read_tables(author_run.folder, "targets")
    assert table["columns"] == ["kind", "weights", "trainable"]
    assert ["attention.k_proj", 2, 2 * 4 * (64 + 32)] in table["data"]
    assert ["experts.down_proj", 2, 2 * 4 * 4 * (64 + 64)] in table["data"]
    assert len(table["data"]) == 6


@pytest.fixture(scope="module")
def generous_run(commands: Commands, config: str) -> Path:
    """Train with all that may be sent, and more samples."""
    settings = ("tracking.send_samples=true", "tracking.send_adapter=true", "tracking.samples=2")
    options = [part for setting in settings for part in ("--set", setting)]
    return train(commands, config, "generous", *options)[1]


def test_samples_are_sent_where_they_may_be(generous_run: Path) -> None:
    table = max(read_tables(generous_run, "samples"), key=lambda table: len(table["data"]))
    assert table["columns"] == ["when", "step", "passage", "beginning", "written"]
    found = [(when, step) for when, step, *_ in table["data"]]
    evaluations = [("evaluation", step) for step in STEPS for _ in range(2)]
    assert found == [("before", 0)] * 2 + evaluations + [("after", 12)] * 2
    for when, step, passage, beginning, written in table["data"]:
        name = {"evaluation": f"step-{step}"}.get(when, when)
        text = (generous_run / f"samples/{name}.txt").read_bytes().decode()  # as it is: there may be a \r in it
        assert f"[{passage}]\n{beginning} >>>{written}\n" in text


def test_adapter_is_sent_where_it_may_be(author_run: Run, generous_run: Path) -> None:
    sent = {}
    for folder in (author_run.folder, generous_run):
        (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
        artifacts = [record.artifact for record in read_wandb(path) if record.HasField("artifact")]
        models = [artifact for artifact in artifacts if artifact.type == "model"]
        sent[folder.name] = [entry.path for model in models for entry in model.manifest.contents]
        if models:
            assert models[0].name.startswith("adapter-generous-")
    assert sent["austen"] == []
    assert "adapter_model.safetensors" in sent["generous"]


def test_writing_samples_changes_no_weight_and_no_number(author_run: Run, generous_run: Path) -> None:
    assert read_weights(generous_run) == read_weights(author_run.folder)
    assert read_validation(generous_run) == read_validation(author_run.folder)


@pytest.fixture(scope="module")
def tensorboard_run(commands: Commands, config: str) -> Path:
    """Train with TensorBoard, and without samples."""
    options = ("--tracker", "tensorboard", "--set", "tracking.samples=0")
    return train(commands, config, "tensorboard", *options, environment=SECRETS)[1]


def test_tensorboard_run_holds_the_curves_and_no_text(tensorboard_run: Path, author_run: Run, data: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tensorboard_run / "tensorboard")).Reload()
    rows = read_rows(tensorboard_run / "metrics.jsonl")
    for split in ("train", "val", "contrast_val"):
        read = [(event.step, event.value) for event in events.Scalars(f"perplexity/{split}")]
        expected = [(row["step"], row["perplexity"]) for row in rows if row["split"] == split]
        assert read == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]
    assert not (tensorboard_run / "wandb").exists()
    assert {path.name for path in (tensorboard_run / "samples").iterdir()} == {"before.txt", "after.txt"}
    (path,) = (tensorboard_run / "tensorboard").iterdir()
    content = path.read_bytes()
    texts = [row["text"] for split in ("train", "val", "test") for row in read_rows(data / f"{split}.jsonl")]
    assert [text for text in texts if " ".join(text.split()[:5]).encode() in content] == []
    assert [name for name, value in SECRETS.items() if value.encode() in content] == []
    # Neither the tracker nor the samples have a part in what is trained.
    assert read_weights(tensorboard_run) == read_weights(author_run.folder)


def test_other_tracker_on_a_finished_run_has_nothing_to_do(
    tensorboard_run: Path, commands: Commands, config: str
) -> None:
    before = hash_files(tensorboard_run)
    done, folder = train(commands, config, "tensorboard", "--tracker", "none", "--resume")
    assert done.stdout.startswith("nothing to do: runs/tensorboard")
    assert hash_files(folder) == before


def test_silent_wandb_server_costs_one_warning_and_no_number(
    commands: Commands, config: str, author_run: Run
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)  # the kernel accepts; nobody answers
        online = {"WANDB_MODE": "online", "WANDB_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        began_s = time.monotonic()
        done, folder = train(
            commands, config, "silent", "--set", "tracking.timeout_s=20", environment=SECRETS | online
        )
        took_s = time.monotonic() - began_s
    warnings = [line for line in done.stdout.splitlines() if "warning" in line]
    (recorded,) = folder.glob("wandb/offline-run-*")
    assert len(warnings) == 1
    assert warnings[0].endswith(f"send it with `wandb sync {recorded.relative_to(commands.folder)}`")
    assert took_s < 20 + 60  # the training itself takes seconds
    assert read_validation(folder) == read_validation(author_run.folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if SECRETS["WANDB_API_KEY"].encode() in path.read_bytes()] == []
    (path,) = recorded.glob("run-*.wandb")
    curve = [
        json.loads(item.value_json)
        for record in read_wandb(path)
        for item in record.history.item
        if (item.key or "/".join(item.nested_key)) == "perplexity/val"
    ]
    assert curve == [row["perplexity"] for row in read_validation(folder) if row["split"] == "val"]
