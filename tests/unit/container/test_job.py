import sys
from pathlib import Path
from typing import Any

import pytest

from ghostpen.container.job import Job, build_command, build_environment, plan_job
from ghostpen.container.run import read_config
from ghostpen.errors import ConfigError

CONFIG = b'name = "mine"\n[model]\nname = "base"\n[storage]\nuri = "s3://some/where"\n'


def plan(mode: Any = "train", *overrides: str, **changes: Any) -> Job:
    options: dict[str, Any] = {
        "content": CONFIG,
        "where": "run.toml",
        "run_id": "run-1",
        "work": None,
        "processes": None,
        "with_control": True,
    }
    return plan_job(mode, overrides=overrides, **(options | changes))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "overrides", "changes", "expected"),
    [
        ("test", [], {"run_id": None}, "--run-id is missing: name the run that is to be tested"),
        ("train", [], {"run_id": "Mine!"}, '--run-id is "Mine!": use 1 to 64 of a-z'),
        (
            "train",
            [],
            {"content": CONFIG.partition(b"[storage]")[0]},
            "run.toml: storage.uri is missing: the place in S3 that holds data/",
        ),
        ("train", ["storage.uri=some/where"], {}, 'storage.uri is "some/where": write s3://BUCKET/PREFIX'),
        ("train", ["storage.grace_s=0"], {}, "storage.grace_s should be greater than 0"),
        ("train", ["train.max_step=1"], {}, "did you mean train.max_steps?"),
        ("test", [], {"processes": "2"}, "--processes and --no-control are about a training"),
        ("test", [], {"with_control": False}, "--processes and --no-control are about a training"),
    ],
)
def test_job_that_is_not_said_whole_is_refused(
    mode: str, overrides: list[str], changes: dict[str, Any], expected: str, folder: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(mode, *overrides, **changes)
    assert expected in caught.value.message
    assert list(folder.iterdir()) == []


def test_new_run_is_named_after_its_config_and_works_in_a_folder_of_its_own(folder: Path) -> None:
    first, second = (plan(run_id=None) for _ in range(2))
    assert first.run_id.startswith("mine-") and len(first.run_id) == len("mine-") + 8
    assert first.run_id != second.run_id
    assert first.work == folder / "work" / first.run_id


def test_new_run_of_a_long_name_gets_an_id_that_every_place_takes() -> None:
    assert len(plan("train", f"name={'a' * 100}", run_id=None).run_id) == 64


def test_model_in_a_folder_that_the_training_would_not_find_is_refused(folder: Path) -> None:
    (folder / "base").mkdir()
    with pytest.raises(ConfigError, match=r"run.toml: model.name is the folder base as seen from here, .* absolute"):
        plan()
    assert plan("train", f"model.name={folder / 'base'}").config.model.name == str(folder / "base")
    (folder / "there/base").mkdir(parents=True)
    assert plan(work=folder / "there").config.model.name == "base"


def test_command_is_what_a_person_would_type(folder: Path) -> None:
    places = ["--set", "data.dir=data", "--set", "output.dir=runs"]
    start = [sys.executable, "-P", "-m", "ghostpen"]
    job = plan("train", "lora.rank=4", processes="auto")
    train = [
        *start,
        "train",
        "--config",
        "run.toml",
        "--set",
        "lora.rank=4",
        *places,
        "--resume",
        "--run-id",
        "run-1",
    ]
    assert build_command(job, role="author") == [*train, "--processes", "auto"]
    assert build_command(job, role="control") == [*train, "--control", "--processes", "auto"]
    assert build_command(plan("test"), role="author") == [*start, "test", "--config", "run.toml", *places]


def test_environment_of_a_training_has_trackers_secrets_and_none_of_aws() -> None:
    given = {"WANDB_API_KEY": "w", "HF_TOKEN": "h", "AWS_PROFILE": "p", "AWS_SECRET_ACCESS_KEY": "s", "PATH": "/bin"}
    assert build_environment(given | {"TQDM_MININTERVAL": "1"}) == {
        "WANDB_API_KEY": "w",
        "HF_TOKEN": "h",
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
        "TQDM_MININTERVAL": "1",
    }


def test_config_is_read_from_a_file_or_from_s3(folder: Path, bucket: Any) -> None:
    (folder / "run.toml").write_bytes(CONFIG)
    bucket.put_object(Key="configs/mine.toml", Body=CONFIG)
    assert read_config("run.toml") == CONFIG
    assert read_config("s3://container/configs/mine.toml") == CONFIG


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nowhere.toml", "nowhere.toml: no such config file"),
        ("s3://container/nowhere.toml", "s3://container/nowhere.toml: no such object; put the run's settings there"),
        ("s3://container", "s3://container: no such object"),
    ],
)
def test_config_that_is_not_there_is_named(bucket: Any, source: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(source)
    assert caught.value.message.startswith(expected)
