"""`ghostpen run` with the real verbs, S3 over HTTP: stopped, killed and damaged, it ends where a straight run does.

What it starts are new processes, which import Unsloth; there are as few runs as will do.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.pipeline.conftest import SECRETS, WATCHED, Run
from tests.pipeline.evidence import check_same_end, read_rows
from tests.s3_server import FAKE_CREDENTIALS, make_bucket, serve_s3

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

LIMIT_S = 240
URI = "s3://texts/some/where"


@dataclass(frozen=True)
class Cloud:
    """S3 on this machine, and the environment of a process that works with it."""

    bucket: Any
    environment: dict[str, str]

    def list_keys(self, prefix: str = "") -> list[str]:
        return [
            item.key.removeprefix("some/where/") for item in self.bucket.objects.filter(Prefix=f"some/where/{prefix}")
        ]

    def read(self, key: str) -> bytes:
        return bytes(self.bucket.Object(f"some/where/{key}").get()["Body"].read())

    def read_json(self, key: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.read(key))
        return content

    def list_bundle(self, name: str) -> set[str]:
        return {file["path"] for file in self.read_json(f"{name}/manifest.json")["files"]}

    def read_from_bundle(self, name: str, path: str) -> bytes:
        return self.read(f"{name}/{self.read_json(f'{name}/manifest.json')['folder']}/{path}")

    def list_steps(self, run_id: str) -> list[int]:
        """List the author's checkpoints that are complete."""
        keys = self.list_keys(f"runs/{run_id}/author/")
        return sorted(int(key.split("/")[3].split("-")[1]) for key in keys if key.count("/") == 4)


@pytest.fixture(scope="module")
def cloud(commands: Commands, data: Path) -> Iterator[Cloud]:
    """Serve S3, and push the prepared data; the secret key is a canary, too."""
    with serve_s3() as url, make_bucket(url, "texts") as bucket:
        environment = FAKE_CREDENTIALS | {"AWS_ENDPOINT_URL": url} | SECRETS
        commands.succeed("data", "push", str(data), URI, environment=environment)
        yield Cloud(bucket, environment)


@pytest.fixture(scope="module")
def run_command(commands: Commands, config: str, base: Path, cloud: Cloud) -> Callable[..., list[str]]:
    """Give what builds a command line."""

    def build(mode: str, run_id: str, work: str, *options: str) -> list[str]:
        settings = ["--set", f"storage.uri={URI}", "--set", f"model.name={base}"]
        command = [
            "run",
            "--mode",
            mode,
            "--config",
            config,
            "--run-id",
            run_id,
            "--work",
            str(commands.folder / work),
        ]
        return [*command, *settings, *options]

    return build


TRACKED = [option.replace("--tracker", "--set") for option in WATCHED]
TRACKED[1] = "tracking.tracker=wandb"


@pytest.fixture(scope="module")
def trained(commands: Commands, cloud: Cloud, run_command: Callable[..., list[str]]) -> Finished:
    """Train author and control, with secrets in the environment; the settings come from S3."""
    cloud.bucket.put_object(Key="configs/run.toml", Body=(commands.folder / "run.toml").read_bytes())
    command = run_command("train", "whole", "trained", *TRACKED)
    command[command.index("run.toml")] = "s3://texts/configs/run.toml"
    return commands.run(*command, environment=cloud.environment)


@pytest.fixture(scope="module")
def tested(trained: Finished, commands: Commands, cloud: Cloud, run_command: Callable[..., list[str]]) -> Finished:
    """Test them, in another folder."""
    return commands.run(*run_command("test", "whole", "tested"), environment=cloud.environment)


def test_training_leaves_results_that_a_straight_training_has(
    trained: Finished, cloud: Cloud, commands: Commands, author_run: Run, control_run: Run
) -> None:
    assert (trained.exit_code, trained.stderr) == (0, ""), trained.stdout
    assert trained.stdout.startswith("run whole\n")
    for role, straight in (("author", author_run), ("control", control_run)):
        names = cloud.list_bundle(f"runs/whole/results/{role}")
        here = {str(path.relative_to(straight.folder)) for path in straight.folder.rglob("*") if path.is_file()}
        plain = {name for name in here if name.split("/")[0] in ("adapter", "samples") or "/" not in name}
        assert names >= plain - {"report.json", "report.html", "specificity.png", "written.jsonl"}
        assert any(name.endswith(".wandb") for name in names)
        assert not any(name.startswith(("checkpoints", "control")) for name in names)
        manifest = json.loads(cloud.read_from_bundle(f"runs/whole/results/{role}", "manifest.json"))
        assert manifest["run_id"] == {"author": "whole", "control": "whole-control"}[role]
        assert (manifest["config"]["data"]["dir"], manifest["config"]["output"]["dir"]) == ("data", "runs")
    check_same_end(author_run.folder, commands.folder / "trained/runs/austen")
    check_same_end(control_run.folder, commands.folder / "trained/runs/austen/control")
    assert 12 in cloud.list_steps("whole")
    assert cloud.list_bundle("runs/whole/attempts/1") == {"log.txt", "outcome.json"}
    log = cloud.read_from_bundle("runs/whole/attempts/1", "log.txt").decode()
    assert log == trained.stdout
    status = cloud.read_json("runs/whole/status.json")
    assert (status["mode"], status["phase"], status["outcome"], status["exit_code"]) == (
        "train",
        "ended",
        "finished",
        0,
    )


def test_training_never_sees_the_test_texts(trained: Finished, commands: Commands, tested: Finished) -> None:
    assert {path.name for path in (commands.folder / "trained/data").iterdir()} == {
        "manifest.json", "train.jsonl", "val.jsonl", "contrast_train.jsonl", "contrast_val.jsonl",
    }  # fmt: skip
    assert {path.name for path in (commands.folder / "tested/data").iterdir()} == {
        "manifest.json", "test.jsonl", "contrast_test.jsonl", "train.jsonl", "val.jsonl", "contrast_train.jsonl",
    }  # fmt: skip


def test_test_reports_what_a_straight_test_does(tested: Finished, cloud: Cloud, tested_run: Run) -> None:
    assert (tested.exit_code, tested.stderr) == (0, ""), tested.stdout
    assert cloud.list_bundle("runs/whole/tests/1") == {
        "report.json",
        "report.html",
        "specificity.png",
        "written.jsonl",
    }
    report = json.loads(cloud.read_from_bundle("runs/whole/tests/1", "report.json"))
    assert report == json.loads((tested_run.folder / "report.json").read_text(encoding="utf-8"))
    outcome = json.loads(cloud.read_from_bundle("runs/whole/attempts/2", "outcome.json"))
    assert (outcome["mode"], outcome["attempt"], outcome["outcome"]) == ("test", 2, "finished")


def test_pulled_run_writes(tested: Finished, commands: Commands, cloud: Cloud) -> None:
    commands.succeed("pull", "whole", "--from", URI, "--out", "pulled", environment=cloud.environment)
    assert {"adapter", "control", "log.txt", "report.json", "perplexity.png"} <= {
        path.name for path in (commands.folder / "pulled").iterdir()
    }
    done = commands.succeed("write", "It was", "--run", "pulled", "--max-words", "5")
    assert done.stdout.startswith("It was")


def test_same_id_with_other_settings_is_refused(
    trained: Finished, commands: Commands, cloud: Cloud, run_command: Callable[..., list[str]]
) -> None:
    command = run_command("train", "whole", "other", "--set", "train.seed=1")
    done = commands.run(*command, environment=cloud.environment)
    assert done.exit_code == 2
    assert done.stderr == (
        "error: train (author): runs/austen holds a run of other data or settings; choose another name "
        "(--set name=...) or delete it\n"
    )


def find_child(commands: Commands) -> int:
    """Find the training that the command has started."""
    assert commands.process_id is not None
    children = Path(f"/proc/{commands.process_id}/task/{commands.process_id}/children")
    found = [int(pid) for pid in children.read_text().split()]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    (training,) = (pid for pid, line in lines.items() if b"\0train\0" in line)
    assert not any(value.encode() in lines[training] for value in SECRETS.values())
    variables = Path(f"/proc/{training}/environ").read_bytes()
    assert b"AWS_" not in variables and SECRETS["HF_TOKEN"].encode() in variables
    return training


def halt_at(step: int, commands: Commands, cloud: Cloud, run_id: str, work: str) -> tuple[int, int]:
    """Halt the training when it has written a checkpoint of `step` or later, and wait until S3 has it.

    Returns the training's process id, and the step.
    """
    folder = commands.folder / work / "runs/austen/checkpoints"
    end_s = time.monotonic() + LIMIT_S
    while not any(int(path.parent.name.split("-")[1]) >= step for path in folder.glob("checkpoint-*/seal.json")):
        assert time.monotonic() < end_s, f"no checkpoint of step {step} after {LIMIT_S} seconds"
        time.sleep(0.002)
    child = find_child(commands)
    os.kill(child, signal.SIGSTOP)
    time.sleep(0.1)
    newest = max(int(path.parent.name.split("-")[1]) for path in folder.glob("checkpoint-*/seal.json"))
    while newest not in cloud.list_steps(run_id):
        assert time.monotonic() < end_s, f"checkpoint {newest} was not in S3 after {LIMIT_S} seconds"
        time.sleep(0.05)
    return child, newest


@dataclass(frozen=True)
class Ends:
    """How four attempts at one run ended, each in a folder of its own, and the steps that S3 had then.

    `before` is the newest one in S3 before the third: of checkpoints that come faster than an upload, only the
    newest goes.
    """

    terminated: Finished
    killed: Finished
    lost: Finished
    finished: Finished
    steps: tuple[int, int, int]
    before: int


@pytest.fixture(scope="module")
def ends(commands: Commands, cloud: Cloud, run_command: Callable[..., list[str]]) -> Ends:
    """Send SIGTERM; kill the training; kill all; damage what S3 has newest; go on to the end."""
    often = ["--set", "train.checkpoint_every=1", "--no-control"]

    def start(number: int) -> str:
        commands.start(*run_command("train", "hurt", f"hurt-{number}", *often), environment=cloud.environment)
        return f"hurt-{number}"

    child, _ = halt_at(2, commands, cloud, "hurt", start(1))
    commands.terminate()
    os.kill(child, signal.SIGCONT)
    terminated = commands.wait()
    first = cloud.list_steps("hurt")[-1]

    child, second = halt_at(first + 1, commands, cloud, "hurt", start(2))
    os.kill(child, signal.SIGKILL)
    killed = commands.wait()

    child, third = halt_at(second + 2, commands, cloud, "hurt", start(3))
    commands.kill()
    os.kill(child, signal.SIGKILL)
    lost = commands.wait()

    before = cloud.list_steps("hurt")[-2]
    place = f"runs/hurt/author/checkpoint-{third}"
    key = f"{place}/{cloud.read_json(f'{place}/manifest.json')['folder']}"
    weights = cloud.bucket.Object(f"some/where/{key}/checkpoints/checkpoint-{third}/adapter_model.safetensors")
    content = bytearray(weights.get()["Body"].read())
    content[-1] ^= 1
    weights.put(Body=bytes(content))
    start(4)
    return Ends(terminated, killed, lost, commands.wait(), (first, second, third), before)


def test_sigterm_leaves_the_last_step_in_s3_and_exit_code_143(ends: Ends, cloud: Cloud) -> None:
    assert ends.terminated.exit_code == 143
    assert ends.terminated.stderr == "error: stopped by SIGTERM; the same command and run id go on from here\n"
    outcome = json.loads(cloud.read_from_bundle("runs/hurt/attempts/1", "outcome.json"))
    assert (outcome["outcome"], outcome["exit_code"]) == ("stopped", 143)
    log = cloud.read_from_bundle("runs/hurt/attempts/1", "log.txt").decode()
    assert f"error: stopped at step {ends.steps[0]} of 12" in log
    assert cloud.list_bundle("runs/hurt/attempts/1") >= {"author/manifest.json", "author/metrics.jsonl"}


def test_resume_in_an_empty_folder_takes_the_newest_checkpoint_of_s3(ends: Ends) -> None:
    first, second, third = ends.steps
    assert 2 < first < second < third < 12
    assert f"author: going on from step {first}\n" in ends.killed.stdout
    assert f"author: going on from step {second}\n" in ends.lost.stdout


def test_training_that_was_killed_alone_is_named_and_recorded(ends: Ends, cloud: Cloud) -> None:
    assert ends.killed.exit_code == 137
    assert ends.killed.stderr.startswith(
        "error: train (author) was killed (SIGKILL): most often the machine had no m"
    )
    assert ends.killed.stderr.count("\n") == 1
    outcome = json.loads(cloud.read_from_bundle("runs/hurt/attempts/2", "outcome.json"))
    assert (outcome["outcome"], outcome["exit_code"]) == ("killed", 137)


def test_damaged_checkpoint_is_left_out_for_the_one_before(ends: Ends) -> None:
    assert ends.lost.exit_code == -9
    assert (ends.finished.exit_code, ends.finished.stderr) == (0, "")
    third = ends.steps[2]
    assert f"{URI}/runs/hurt/author/checkpoint-{third} is not whole and is left out: " in ends.finished.stdout
    assert f"author: going on from step {ends.before}\n" in ends.finished.stdout


def test_run_that_was_stopped_killed_and_damaged_ends_where_a_straight_one_does(
    ends: Ends, commands: Commands, cloud: Cloud, author_run: Run
) -> None:
    check_same_end(author_run.folder, commands.folder / "hurt-4/runs/austen")
    straight, joined = (
        [(row["step"], row["loss_nats"], row["tokens_seen"]) for row in rows if row["split"] == "train"]
        for rows in (
            read_rows(author_run.folder / "metrics.jsonl"),
            read_rows(commands.folder / "hurt-4/runs/austen/metrics.jsonl"),
        )
    )
    assert joined[-1][0] == straight[-1][0] and joined[-1][2] == straight[-1][2]
    weights = cloud.read_from_bundle("runs/hurt/results/author", "adapter/adapter_model.safetensors")
    assert weights == (author_run.folder / "adapter/adapter_model.safetensors").read_bytes()
    assert cloud.list_steps("hurt")[-1] == 12


def test_secrets_are_nowhere(
    trained: Finished, tested: Finished, ends: Ends, commands: Commands, cloud: Cloud
) -> None:
    found = []
    folders = [
        commands.folder / name for name in ("trained", "tested", *(f"hurt-{number}" for number in range(1, 5)))
    ]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    objects = list(cloud.bucket.objects.all())
    texts = [done.stdout + done.stderr for done in (trained, tested, ends.terminated, ends.killed, ends.finished)]
    contents = [(str(path), path.read_bytes()) for path in files]
    contents += [(item.key, item.get()["Body"].read()) for item in objects]
    contents += [(item.key, json.dumps(item.Object().metadata).encode()) for item in objects]
    contents += [(text[:20], text.encode()) for text in texts]
    for name, value in SECRETS.items():
        found += [f"{name} in {place}" for place, content in contents if value.encode() in content]
    assert any(str(path).endswith(".wandb") for path in files)
    assert len(files) > 100 and len(objects) > 100
    assert found == []
