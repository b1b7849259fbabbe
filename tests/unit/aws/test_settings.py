"""A deployment's settings: nothing about the owner has a default, and the guards end a run one after the other."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ghostpen.aws.settings import DeployConfig, compute_guards, load_deploy_config
from ghostpen.errors import ConfigError
from ghostpen.settings import list_settings

ROOT = Path(__file__).parents[3]
SMALLEST = """
[aws]
region = "eu-central-1"
account_id = "123456789012"
[group]
name = "gpu"
[image]
repository = "ghostpen"
tag = "v1"
[storage]
uri = "s3://texts/austen"
[secrets]
path = "/ghostpen"
[logs]
group = "/ghostpen"
[limits]
max_runtime_s = 3600
"""
NEEDED = {
    "aws.region",
    "aws.account_id",
    "group.name",
    "image.repository",
    "storage.uri",
    "secrets.path",
    "logs.group",
    "limits.max_runtime_s",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.toml"
    path.write_text(SMALLEST, encoding="utf-8")
    return path


def test_smallest_file_loads(file: Path) -> None:
    config = load_deploy_config(file, environ={})

    assert config.registry == "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    assert (config.secrets.names, config.limits.gpu_memory_gb, config.timeouts.capacity_s) == ((), None, 900)


@pytest.mark.parametrize("uri", ["s3://texts", "s3://texts/", "s3://texts/a/b", "s3://texts/.a/v1.0_x=y-z/"])
def test_place_in_s3_is_a_bucket_or_a_prefix_in_it(file: Path, uri: str) -> None:
    assert load_deploy_config(file, [f"storage.uri={uri}"], environ={}).storage.uri == uri


def test_registry_of_china_has_its_own_domain(file: Path) -> None:
    config = load_deploy_config(file, ["aws.region=cn-north-1"], environ={})
    assert config.registry == "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"


def test_all_missing_settings_are_in_one_message_with_how_to_find_each(tmp_path: Path) -> None:
    path = tmp_path / "deploy.toml"
    path.write_text("", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_deploy_config(path, environ={})
    assert set(re.findall(r"([\w.]+) is missing", caught.value.message)) == NEEDED
    for key in NEEDED:
        assert list_settings(DeployConfig)[key].json_schema_extra["find"] in caught.value.message


def test_file_that_is_not_named_and_not_there_says_where_to_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=r"^configs/deploy\.toml is not there; copy configs/deploy\.example\.toml"):
        load_deploy_config(environ={})


def test_environment_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "GHOSTPEN_AWS_REGION": "eu-central-1",
        "GHOSTPEN_AWS_ACCOUNT_ID": "012345678901",
        "GHOSTPEN_GROUP_NAME": "gpu",
        "GHOSTPEN_IMAGE_REPOSITORY": "ghostpen",
        "GHOSTPEN_IMAGE_TAG": "12e4567",
        "GHOSTPEN_STORAGE_URI": "s3://texts/austen",
        "GHOSTPEN_SECRETS_PATH": "/ghostpen",
        "GHOSTPEN_SECRETS_NAMES": '["WANDB_API_KEY"]',
        "GHOSTPEN_LOGS_GROUP": "/ghostpen",
        "GHOSTPEN_LIMITS_MAX_RUNTIME_S": "60",
        "GHOSTPEN_TIMEOUTS_POLL_S": "",  # as an unset variable of a workflow arrives
    }
    config = load_deploy_config(environ=environ)

    assert (config.aws.account_id, config.image.tag, config.limits.max_runtime_s) == ("012345678901", "12e4567", 60)
    assert (config.secrets.names, config.timeouts.poll_s) == (("WANDB_API_KEY",), 10)


def test_override_beats_environment_and_environment_beats_file(file: Path) -> None:
    environ = {"GHOSTPEN_GROUP_NAME": "environment", "GHOSTPEN_LOGS_GROUP": "environment"}
    config = load_deploy_config(file, ["group.name=override"], environ=environ)

    assert (config.group.name, config.logs.group, config.storage.uri) == (
        "override",
        "environment",
        "s3://texts/austen",
    )


def test_wrong_value_of_the_environment_names_the_variable(file: Path) -> None:
    with pytest.raises(ConfigError, match=r'^GHOSTPEN_LIMITS_MAX_RUNTIME_S: limits\.max_runtime_s .* but is "long"'):
        load_deploy_config(file, environ={"GHOSTPEN_LIMITS_MAX_RUNTIME_S": "long"})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("aws.region=Frankfurt", 'aws.region is "Frankfurt": write a region such as eu-central-1'),
        ("aws.account_id=12", 'aws.account_id is "12": write its 12 digits, in quotes'),
        ("group.name=a b", 'group.name is "a b": use letters, digits and . _ / -'),
        ("image.repository=123.dkr.ecr/ghostpen:v1", "write the repository's name alone, such as team/ghostpen"),
        ("image.digest=sha256:" + "0" * 64, "image.tag and image.digest: set exactly one of them"),
        ("image.digest=abc", 'image.digest is "abc": write sha256: and 64 hexadecimal digits'),
        ("storage.uri=https://texts", 'storage.uri is "https://texts": write s3://BUCKET/PREFIX'),
        ("storage.uri=s3://texts//austen", "with single slashes"),
        ("storage.uri=s3://texts/austen//", "with single slashes"),
        ("storage.uri=s3://texts/a/../austen", "with single slashes"),
        (
            "secrets.path=ghostpen/",
            'secrets.path is "ghostpen/": write /NAME or /NAME/NAME, without a slash at its end',
        ),
        ("secrets.names=WANDB_API_KEY", 'secrets.names must be a list of names, such as ["WANDB_API_KEY"], but is'),
        ('secrets.names=["wandb key"]', 'secrets.names is "wandb key": use A-Z, 0-9 and _'),
        ("limits.max_runtime_s=0", "limits.max_runtime_s should be greater than or equal to 60, but is 0"),
        ("limits.max_runtime_s=999999999999", "limits.max_runtime_s should be less than or equal to 31536000"),
        ("timeouts.smoke_s=200000", "timeouts.smoke_s should be less than or equal to 172800"),  # SSM would take 3600
        ("group.nam=gpu", "group.nam is not a setting; did you mean group.name?"),
    ],
)
def test_wrong_setting_is_one_line_that_says_what_to_write(file: Path, override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_deploy_config(file, [override], environ={})
    assert expected in caught.value.message


def test_image_without_tag_and_digest_is_refused(file: Path) -> None:
    file.write_text(SMALLEST.replace('tag = "v1"\n', ""), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"image\.tag and image\.digest: set exactly one of them"):
        load_deploy_config(file, environ={})


def test_every_setting_has_a_text_and_stands_in_the_example() -> None:
    settings = list_settings(DeployConfig)
    assert [key for key, field in settings.items() if not field.description] == []

    section, shown = "", set()
    for line in (ROOT / "configs/deploy.example.toml").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif setting := re.match(r"# (\w+) = ", line):
            shown.add(f"{section}.{setting[1]}")
    assert shown == set(settings)


def test_example_as_it_is_asks_for_what_is_needed() -> None:
    with pytest.raises(ConfigError) as caught:
        load_deploy_config(ROOT / "configs/deploy.example.toml", environ={})
    assert set(re.findall(r"([\w.]+) is missing", caught.value.message)) == NEEDED


def test_example_shows_the_defaults_that_are_in_force() -> None:
    text = (ROOT / "configs/deploy.example.toml").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^# (\w+_s) = (\d+)", text.partition("[timeouts]")[2], flags=re.MULTILINE))
    assert {f"timeouts.{name}": float(value) for name, value in shown.items()} == {
        key: field.default for key, field in list_settings(DeployConfig).items() if key.startswith("timeouts.")
    }


def test_guards_come_one_after_the_other(file: Path) -> None:
    guards = compute_guards(load_deploy_config(file, environ={}))

    assert guards.container_s == 3600
    assert guards.timer_s == 3600 + 120 + 900
    assert guards.action_s == 3600 + 120 + 900 + 900
    assert guards.smoke_timer_s == 1800 + 300 + 4620
    assert guards.first_action_s == 900 + 600 + 1800 + 300 + 900 + 5520


def test_guard_armed_in_the_smoke_test_outlives_the_run_that_starts_last(file: Path) -> None:
    guards = compute_guards(load_deploy_config(file, environ={}), max_runtime_s=60)
    waits = load_deploy_config(file, environ={}).timeouts

    assert guards.container_s == 60
    assert guards.smoke_timer_s >= waits.smoke_s + waits.start_s + guards.timer_s
    assert guards.first_action_s > waits.capacity_s + waits.online_s + guards.smoke_timer_s


def test_scheduled_action_has_whole_seconds(file: Path) -> None:
    guards = compute_guards(load_deploy_config(file, environ={}))
    now = datetime(2026, 11, 24, 12, 0, 0, 999_999, tzinfo=UTC)

    assert guards.compute_action(now, first=False) == datetime(2026, 11, 24, 13, 32, 0, tzinfo=UTC)
