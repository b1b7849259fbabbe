"""Bad input: one line on standard error, exit code 2, and nothing written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import Run
from tests.pipeline.evidence import hash_files

pytestmark = pytest.mark.pipeline

TRAIN = ["train", "--config", "run.toml", "--set", "name=bad"]
TEST = ["test", "--config", "run.toml", "--set"]


@pytest.fixture(scope="module")
def bad(commands: Commands, config: str, base: Path, tested_run: Run) -> Path:
    """Make files that no verb should take."""
    folder = commands.folder / "bad"
    folder.mkdir()
    (folder / "empty.txt").write_bytes(b" \n\n")
    (folder / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    texts = folder / "short-texts"
    texts.mkdir()
    for name in ("a", "b", "c"):
        (texts / f"{name}.txt").write_text(f"The letter {name} was never answered, and nobody asked why.\n")
    commands.succeed("prepare", "bad/short-texts", "--author", "A", "--out", "bad/short")
    llama = folder / "llama"
    llama.mkdir()
    (llama / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    shutil.copy(base / "model.safetensors", llama)
    broken = shutil.copytree(base, folder / "broken")
    with (broken / "model.safetensors").open("r+b") as file:
        file.truncate(20_000)
    weightless = shutil.copytree(base, folder / "weightless")
    (weightless / "model.safetensors").unlink()
    shutil.copytree(tested_run.folder, folder / "without-control/austen", ignore=shutil.ignore_patterns("control"))
    other = shutil.copytree(tested_run.folder, folder / "other-base/austen") / "adapter/adapter_config.json"
    other.write_text(json.dumps(json.loads(other.read_text()) | {"base_model_name_or_path": "unsloth/gpt-oss-20b"}))
    return folder


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["prepare", "nowhere.txt", "--author", "A", "--out", "new"], "nowhere.txt: no such file or folder"),
        (["prepare", "bad/empty.txt", "--author", "A", "--out", "new"], "bad/empty.txt: no text in it"),
        (["prepare", "bad/picture.txt", "--author", "A", "--out", "new"], "bad/picture.txt: no text file, although"),
        (["prepare", "bad/short-texts/a.txt", "--author", "A", "--out", "new"], "too short"),
        (["prepare", "texts/austen", "--author", "A", "--out", "texts"], "holds files that ghostpen didn't write"),
        (["train", "--config", "nowhere.toml"], "nowhere.toml: no such config file"),
        ([*TRAIN, "--set", "train.max_step=1"], "did you mean train.max_steps?"),
        ([*TRAIN, "--set", "train.max_steps=many"], 'train.max_steps should be a valid integer, but is "many"'),
        ([*TRAIN, "--set", "lora.rank=0"], "lora.rank should be greater than or equal to 1"),
        ([*TRAIN, "--set", "eval.stride=65"], "eval.stride (65) is larger than eval.window (64)"),
        ([*TRAIN, "--set", "output.dir=run.toml"], "run.toml/bad/manifest.json: Not a directory"),
        ([*TRAIN, "--set", "lora.layers=[7]"], "lora.layers names [7], but the model has layers 0 to 1"),
        ([*TRAIN, "--set", "data.dir=nowhere"], "nowhere"),
        ([*TRAIN, "--set", "data.dir=bad/short"], "tokens of training text, and one sample has 64"),
        ([*TRAIN, "--set", "data.dir=bad/short", "--control"], "--contrast"),
        ([*TRAIN, "--set", "model.name=bad/llama"], 'says model_type "llama", and ghostpen adapts gpt_oss'),
        ([*TRAIN, "--set", "model.name=bad/weightless"], "holds no *.safetensors weights"),
        ([*TRAIN, "--set", "model.name=bad/broken"], "bad/broken could not be loaded"),
        ([*TRAIN, "--set", "model.name=bad/nowhere/base"], "is no folder with a model in it"),
        ([*TRAIN, "--set", "model.name=nobody/nothing"], "nobody/nothing could not be read"),
        ([*TRAIN, "--set", "model.require_gpu=true"], "no GPU is visible and model.require_gpu is true"),
        (
            [*TRAIN, "--set", "name=austen", "--set", "train.seed=1"],
            "runs/austen holds a run of other data or",
        ),
        ([*TEST, "name=bad"], "the control adapter in runs/bad/control is not trained"),
        ([*TEST, "output.dir=bad/without-control"], "train --config FILE --control"),
        (["write", " \n", "--run", "runs/austen"], "the prompt is empty"),
        (["write", "It was", "--run", "bad"], "bad/manifest.json: not there"),
        (["write", "It was", "--run", "bad/other-base/austen", "--compare"], "was trained on unsloth/gpt-oss-20b"),
        (["inspect", "bad/llama"], 'says model_type "llama", and ghostpen adapts gpt_oss'),
        (["inspect", "nobody/nothing"], "nobody/nothing could not be read"),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else "",
)
def test_bad_input_gives_one_line_and_writes_nothing(
    commands: Commands, bad: Path, command: list[str], expected: str
) -> None:
    before = hash_files(commands.folder)
    done = commands.run(*command)
    assert (done.exit_code, done.stdout.strip()) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert hash_files(commands.folder) == before


def test_diverged_training_stops_with_one_line_and_no_adapter(commands: Commands, config: str) -> None:
    done = commands.run("train", "--config", config, "--set", "name=diverged", "--set", "train.learning_rate=1e30")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: the loss became nan at step ")
    assert "train.learning_rate" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (commands.folder / "runs/diverged/adapter").exists()


def test_error_after_loading_the_model_is_the_only_line(commands: Commands, bad: Path) -> None:
    """As a person runs it, with everything imported anew: the libraries must not chatter before the error."""
    before = hash_files(commands.folder)
    done = subprocess.run(
        [sys.executable, "-m", "ghostpen", *TRAIN, "--set", "data.dir=bad/short"],
        cwd=commands.folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (2, "")
    assert done.stderr.startswith("error: bad/short holds ")
    assert done.stderr.count("\n") == 1
    assert hash_files(commands.folder) == before
