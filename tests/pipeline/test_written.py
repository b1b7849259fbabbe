"""What the three models write for a test: from what, how much, and what becomes of it when a test is killed."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import Run
from tests.pipeline.evidence import read_rows

from ghostpen.data.ngrams import read_words
from ghostpen.evaluation.written import read_written
from ghostpen.training.samples_file import read_continuations

pytestmark = pytest.mark.pipeline


def test_report_tells_what_the_written_set_copies(tested_run: Run) -> None:
    report = json.loads((tested_run.folder / "report.json").read_text(encoding="utf-8"))["copying"]
    written = [one for one in read_written(tested_run.folder / "written.jsonl") if one.model == "author"]
    assert len(written) == report["training"]["samples"] == report["held_out"]["samples"] == 6
    assert 0 < report["training"]["words"] <= sum(len(read_words(one.text)) for one in written)
    assert report["floor"]["coverage_13"] == 0  # prepare has left no 13 words in a row in both
    assert "Words in a row shared with other text (6 samples)" in tested_run.done.stdout


def test_every_model_writes_on_from_the_same_held_out_beginnings(tested_run: Run, data: Path) -> None:
    written = read_written(tested_run.folder / "written.jsonl")
    held_out = [row["text"] for row in read_rows(data / "test.jsonl")]
    by_model = {label: [one for one in written if one.model == label] for label in ("base", "control", "author")}
    for texts in by_model.values():
        assert [one.kind for one in texts] == ["continuation"] * 4 + ["topic"] * 2
        assert [one.seed for one in texts] == list(range(6))
        assert [one.temperature for one in texts] == [0.8, 1.0] * 3
        for one in texts[:4]:
            assert sum(one.prompt + str(one.real) in text for text in held_out) == 1
            assert (len(one.prompt.split()), len(str(one.real).split())) == (50, 20)
        assert all(0 < len(one.text.split()) <= 20 for one in texts)
    assert len({one.text for one in written}) == len(written)
    assert len({(one.prompt, one.real, one.document, one.section) for one in written}) == 6


def test_report_tells_of_loops_ends_and_what_is_recited(tested_run: Run) -> None:
    report = json.loads((tested_run.folder / "report.json").read_text(encoding="utf-8"))
    found = report["written"]
    assert {label: model["texts"] for label, model in found["models"].items()} == {
        "base": 6,
        "control": 6,
        "author": 6,
    }
    assert (found["extraction_windows"], found["models"]["control"]["extraction_rate"]) == (4, None)
    assert found["models"]["base"]["extraction_rate"] == found["models"]["author"]["extraction_rate"] == 0
    assert report["style"]["texts"]["author"]["continuations"] == 4
    assert "What was written, and what is recited" in tested_run.done.stdout


def test_changed_generation_is_written_anew(tested_run: Run, commands: Commands, config: str) -> None:
    folder = shutil.copytree(tested_run.folder, commands.folder / "anew/austen")
    change = ["--set", "output.dir=anew", "--set", "eval.temperatures=[0]", "--set", "eval.topics=0"]
    commands.succeed("test", "--config", config, *change)
    written = read_written(folder / "written.jsonl")
    assert [(one.kind, one.temperature) for one in written] == [("continuation", 0.0)] * 12
    before, after = (
        json.loads((place / "report.json").read_text(encoding="utf-8")) for place in (tested_run.folder, folder)
    )
    assert before["author_test"] == after["author_test"]
    assert before["protocol"]["generation"] != after["protocol"]["generation"]


def test_writing_nothing_leaves_the_samples_of_the_training(tested_run: Run, commands: Commands, config: str) -> None:
    folder = shutil.copytree(tested_run.folder, commands.folder / "nothing/austen")
    nothing = [f"eval.{key}=0" for key in ("continuations", "topics", "extraction_windows")]
    change = [part for setting in ("output.dir=nothing", *nothing) for part in ("--set", setting)]
    commands.succeed("test", "--config", config, *change)
    assert not (folder / "written.jsonl").exists()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    samples = read_continuations(folder / "samples/after.txt")
    assert (report["written"], report["style"]) == (None, None)
    assert report["copying"]["training"]["samples"] == len(samples) == 2
    done = commands.succeed("test", "--config", config, *change)
    assert done.stdout.startswith("nothing to do: nothing/austen")


def test_test_that_is_killed_goes_on_to_the_same_texts(tested_run: Run, commands: Commands, config: str) -> None:
    """Text by text, where the straight test had all texts in one batch."""
    folder = shutil.copytree(tested_run.folder, commands.folder / "broken-off/austen")
    (folder / "report.json").unlink()
    (folder / "written.jsonl").unlink()
    part = folder / "written.part.jsonl"
    command = ["test", "--config", config, "--set", "output.dir=broken-off", "--set", "eval.writing_batch_size=1"]
    commands.start(*command)
    deadline = time.monotonic() + 120
    while not part.exists() or part.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    commands.kill()
    assert commands.wait().exit_code != 0
    kept = part.read_bytes()
    rows = [json.loads(line) for line in kept[: kept.rfind(b"\n")].splitlines()[1:]]
    texts = [text for row in rows if row["what"] == "texts" for text in row["result"]]
    assert texts and all([type(value) for value in text] == [str, bool] for text in texts)  # no prompt a second time
    assert not (folder / "written.jsonl").exists()
    done = commands.succeed(*command)
    assert re.match(rf"goes on: {kept.count(10) - 1} of 26 batches of texts were written\n", done.stdout)
    assert (folder / "written.jsonl").read_bytes() == (tested_run.folder / "written.jsonl").read_bytes()
    assert not part.exists()
    reports = [
        json.loads((place / "report.json").read_text(encoding="utf-8")) for place in (tested_run.folder, folder)
    ]
    assert reports[0] == reports[1]
