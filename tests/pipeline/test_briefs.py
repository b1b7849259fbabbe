"""`ghostpen brief` on a real model, broken off and gone on with; then a training on all four kinds of samples."""

import json
import shutil
import time
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands, Finished

pytestmark = pytest.mark.pipeline

LIMIT_S = 120
ON_THE_CPU = ("--base", "base", "--set", "model.precision=float32", "--set", "model.require_gpu=false")
BRIEF = (*ON_THE_CPU, "--share", "0.01", "--words", "60")
MIXED = (
    "--set", "name=mixed", "--set", "data.dir=data-briefs", "--set", "data.sequence_length=512",
    "--set", "data.continue_share=0.3", "--set", "data.brief_share=0.01", "--set", "data.rewrite_share=0.01",
    "--set", "train.max_steps=2", "--set", "train.batch_size=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def briefed(commands: Commands, base: Path, data: Path) -> tuple[Path, Finished]:
    """Copy the data and have briefs and plain versions of a little of them written."""
    folder = commands.folder / "data-briefs"
    shutil.copytree(data, folder)
    commands.succeed("brief", "data-briefs", *ON_THE_CPU, "--share", "0.01", "--words", "60", "--rewrite")
    return folder, commands.succeed("brief", "data-briefs", *BRIEF)


def test_brief_writes_files_for_author_and_control_and_says_what(briefed: tuple[Path, Finished]) -> None:
    folder, done = briefed
    for line, name in zip(done.stdout.splitlines(), ("briefs.jsonl", "contrast_briefs.jsonl"), strict=True):
        rows = [json.loads(row) for row in (folder / name).read_text(encoding="utf-8").splitlines()]
        assert line.startswith(f"data-briefs/{name}: {len(rows)} lines, {len(rows)} of them new")
        assert line.endswith("; 0.01 of the text")
        assert {row["base"] for row in rows} == {"base"}  # not the folder that it is in


def test_brief_interrupted_goes_on_to_the_same_file(
    briefed: tuple[Path, Finished], commands: Commands, data: Path
) -> None:
    folder = commands.folder / "data-interrupted"
    shutil.copytree(data, folder)
    commands.start("brief", "data-interrupted", *BRIEF)
    deadline = time.monotonic() + LIMIT_S
    while not ((folder / "briefs.jsonl").exists() and b"\n" in (folder / "briefs.jsonl").read_bytes()):
        assert time.monotonic() < deadline, f"no brief after {LIMIT_S} seconds"
        time.sleep(0.002)
    commands.interrupt()
    done = commands.wait()
    assert done.exit_code == 130
    assert done.stderr.count("\n") == 1 and "the same command goes on from there" in done.stderr
    commands.succeed("brief", "data-interrupted", *BRIEF)
    for name in ("briefs.jsonl", "contrast_briefs.jsonl"):
        assert (folder / name).read_bytes() == (briefed[0] / name).read_bytes()


def test_training_takes_all_four_kinds_and_the_control_has_its_own(
    briefed: tuple[Path, Finished], commands: Commands, config: str
) -> None:
    for role, folder, names in (
        ([], "runs/mixed", ["briefs.jsonl", "rewrites.jsonl"]),
        (["--control"], "runs/mixed/control", ["contrast_briefs.jsonl", "contrast_rewrites.jsonl"]),
    ):
        done = commands.succeed("train", "--config", config, *MIXED, *role)
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("samples by kind: "))
        for kind in ("text", "continue", "brief", "rewrite"):
            assert f" {kind}" in line
        manifest = json.loads((commands.folder / folder / "manifest.json").read_text(encoding="utf-8"))
        assert sorted(manifest["pairs_sha256"]) == names
    assert commands.succeed("train", "--config", config, *MIXED).stdout.startswith("nothing to do")
    (briefed[0] / "briefs.jsonl").write_bytes(b"\n" + (briefed[0] / "briefs.jsonl").read_bytes())
    changed = commands.run("train", "--config", config, *MIXED)
    assert (changed.exit_code, "other data or settings" in changed.stderr) == (2, True)


def test_training_without_briefs_names_the_file_and_the_verb(commands: Commands, config: str, data: Path) -> None:
    done = commands.run("train", "--config", config, "--set", "name=none", "--set", "data.brief_share=0.5")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: data/briefs.jsonl: No such file or directory; data.brief_share is above 0")
    assert "`ghostpen brief data --base MODEL` makes it" in done.stderr
    assert not (commands.folder / "runs/none").exists()
