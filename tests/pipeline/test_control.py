"""`ghostpen test --control auto`, on data without other authors."""

import json
import os
from pathlib import Path

import pytest
from tests.documents import take_blocks
from tests.pipeline.commands import Commands

pytestmark = pytest.mark.pipeline

LETTERS = (
    *("--set", "name=letters", "--set", "data.dir=data-letters", "--set", "train.max_steps=4"),
    *("--set", "eval.window=256", "--set", "eval.stride=256"),
)


def test_test_trains_its_control_from_the_shipped_authors(commands: Commands, config: str, letters: Path) -> None:
    run = ["--config", config, *LETTERS]
    auto = ["test", *run, "--control", "auto"]
    untrained = commands.run(*auto)
    assert untrained.exit_code == 2
    assert "the author adapter in runs/letters is not trained: train it with `ghostpen train" in untrained.stderr

    commands.succeed("train", *run)
    bare = commands.run("test", *run)
    assert bare.exit_code == 2
    assert bare.stderr == (
        "error: data-letters has no other authors' texts, which the author's adapter is held against: add "
        "--control auto to take the shipped ones, or prepare the data again with --contrast DIR\n"
    )

    done = commands.succeed(*auto)
    assert "the control learns from the shipped ones (embedded:contrast)" in done.stdout
    folder = commands.folder / "runs/letters"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {part["name"] for part in report["others_test"]["parts"]} == {"crane", "anne-bronte"}
    author, control = (
        json.loads((place / "manifest.json").read_text(encoding="utf-8")) for place in (folder, folder / "control")
    )
    assert control["recipe"] == author["recipe"] and control["finished"]
    assert (folder / "contrast/contrast_train.jsonl").exists() and not list(letters.glob("contrast_*"))

    for split in ("val", "test"):  # so that prepare kept what is tested on out of what the control learned
        mine, beside = (
            {json.loads(line)["text"] for line in (place / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()}
            for place in (letters, folder / "contrast")
        )
        assert mine and beside == mine

    os.utime(folder / "manifest.json")  # whatever other tests have trained since, this run is the newest
    (block,) = take_blocks(__file__, "docs/perplexity.md")
    ((program, *documented),) = block.runnable
    again = commands.succeed(*documented)
    assert (program, documented) == ("ghostpen", ["test", "--control", "auto"])
    assert "nothing to do: runs/letters/control" in again.stdout
    assert "nothing to do: runs/letters/report.json" in again.stdout
