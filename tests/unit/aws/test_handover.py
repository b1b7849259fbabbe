"""What deployment and instance say to each other: names, files, one command that holds no secret."""

import hashlib
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ghostpen.aws import handover
from ghostpen.aws.handover import Handover, InstanceStatus
from ghostpen.aws.s3 import ObjectStore, make_client, parse_location
from ghostpen.aws.settings import DeployConfig, compute_guards
from ghostpen.errors import CloudError, DeployError

HANDOVER = Handover("20261124T120000.000000Z", "train", "registry/ghostpen@sha256:1", 3600, (), control=True)
STATUS = {
    "handover_id": HANDOVER.handover_id,
    "instance_id": "i-0a",
    "phase": "running",
    "times": {"running": 1795521600},
}
SUMS = {"run.sh": "a" * 64, "settings.env": "b" * 64}


@pytest.fixture
def store(bucket: str) -> ObjectStore:
    return ObjectStore(make_client(), parse_location(f"s3://{bucket}/austen"))


def put(store: ObjectStore, name: str, content: Any) -> None:
    store.write_object(f"runs/emma/instance/{name}", json.dumps(content).encode())


def test_handover_is_read_as_it_was_written(store: ObjectStore) -> None:
    assert handover.read_handover(store, "emma") is None
    handover.write_handover(store, "emma", HANDOVER)

    assert handover.read_handover(store, "emma") == HANDOVER


def test_handover_id_is_another_one_a_microsecond_later() -> None:
    assert handover.make_handover_id(datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC)) == "20261124T120000.000001Z"


def test_status_is_read_with_what_a_later_version_adds(store: ObjectStore) -> None:
    assert handover.read_status(store, "emma") is None
    put(store, "status.json", STATUS | {"image": "x", "colour": "blue"})
    status = handover.read_status(store, "emma")

    assert status is not None
    assert (status.phase, status.has_ended, status.times) == ("running", False, {"running": 1795521600.0})


@pytest.mark.parametrize("content", [b"{", b'{"phase": "dancing"}', b"\xff"])
@pytest.mark.parametrize("name", ["status.json", "handover.json"])
def test_file_of_another_version_is_one_line(store: ObjectStore, name: str, content: bytes) -> None:
    store.write_object(f"runs/emma/instance/{name}", content)
    read = handover.read_status if name == "status.json" else handover.read_handover

    with pytest.raises(CloudError, match=rf"^s3://models/austen/runs/emma/instance/{name} is not what this version"):
        read(store, "emma")


@pytest.mark.parametrize(
    ("status", "ended_by_deployment", "over"),
    [
        (None, False, False),
        (STATUS, False, False),
        (STATUS | {"phase": "ended"}, False, True),
        (STATUS | {"phase": "ended", "handover_id": "an earlier one"}, False, False),
        (STATUS, True, True),
        (None, True, True),
    ],
)
def test_run_is_over_when_its_last_handover_is(
    store: ObjectStore, status: dict[str, Any] | None, ended_by_deployment: bool, over: bool
) -> None:
    handover.write_handover(store, "emma", HANDOVER)
    if status is not None:
        put(store, "status.json", status)
    if ended_by_deployment:
        handover.write_over(store, "emma", HANDOVER)

    assert handover.read_is_over(store, "emma") is over


def test_run_that_was_never_handed_over_is_not_over(store: ObjectStore) -> None:
    put(store, "status.json", STATUS | {"phase": "ended"})
    assert not handover.read_is_over(store, "emma")


def render(config: DeployConfig, **changes: Any) -> str:
    values: dict[str, Any] = {
        "run_id": "emma", "guards": compute_guards(config), "need_gb": 16.5, "names": ("HF_TOKEN", "WANDB_API_KEY"),
    } | changes  # fmt: skip
    return handover.render_settings(config, HANDOVER, **values).decode()


def test_settings_are_those_that_the_script_knows(deploy_config: DeployConfig) -> None:
    names = re.findall(r"^(\w+)=", render(deploy_config), flags=re.MULTILINE)
    case = re.search(r"case \$name in\n(.*?)\)\n", handover.read_script().decode(), flags=re.DOTALL)

    assert case is not None
    assert sorted(names) == sorted(re.findall(r"[A-Z_]{2,}", case[1]))


def test_settings_say_where_what_and_how_long(deploy_config: DeployConfig) -> None:
    lines = render(deploy_config).splitlines()

    assert "CONFIG_URI=s3://texts/austen/runs/emma/instance/run.toml" in lines
    assert "STATUS_URI=s3://texts/austen/runs/emma/instance/status.json" in lines
    assert "SECRETS_PATH=/ghostpen/emma" in lines
    assert "SECRET_NAMES=HF_TOKEN WANDB_API_KEY" in lines
    assert "NEED_GB=16.5" in lines
    assert "MAX_RUNTIME_S=3600" in lines


def render_command(action: Any = "start", **changes: Any) -> str:
    values: dict[str, Any] = {
        "storage_uri": "s3://texts/austen/", "region": "eu-central-1", "run_id": "emma", "instance_id": "i-0a",
        "sums": SUMS,
    } | changes  # fmt: skip
    return handover.render_command(action, **values)


def test_command_is_short_and_names_its_files_once() -> None:
    command = render_command()

    assert len(command) < 1500
    assert "s3://texts/austen/runs/emma/instance/run.sh run.sh.new" in command
    assert command.splitlines()[-1] == 'exec bash run.sh start "$folder/settings.env" i-0a'


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """Make an aws that copies from a folder."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "s3").mkdir()
    aws = tmp_path / "bin/aws"
    aws.write_text(
        '#!/bin/sh\neval "to=\\${$#}"\nfor last; do from=$name; name=$last; done\ncp "$S3/${from##*/}" "$to"\n'
    )
    aws.chmod(0o755)
    return tmp_path


def run_command(instance: Path, script: bytes, settings: bytes, command: str) -> subprocess.CompletedProcess[str]:
    (instance / "s3/run.sh").write_bytes(script)
    (instance / "s3/settings.env").write_bytes(settings)
    environ = {
        "PATH": f"{instance}/bin:/usr/bin:/bin", "S3": f"{instance}/s3", "STATE_DIRECTORY": f"{instance}/state",
    }  # fmt: skip
    return subprocess.run(["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, check=False)


def test_command_runs_the_script_that_was_handed_over(instance: Path) -> None:
    contents = {"run.sh": b'echo "$@"; exit 7\n', "settings.env": b"A=b\n"}
    done = run_command(instance, *contents.values(), render_command("smoke", sums=handover.compute_sums(contents)))

    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"smoke {instance}/state/emma/settings.env i-0a\n"
    assert (instance / "state/emma").stat().st_mode & 0o777 == 0o700


def test_command_refuses_a_script_that_is_not_the_one_that_was_handed_over(instance: Path) -> None:
    sums = handover.compute_sums({"run.sh": b"echo ours\n", "settings.env": b"A=b\n"})
    done = run_command(instance, b"echo theirs\n", b"A=b\n", render_command(sums=sums))

    assert (done.returncode, "theirs" in done.stdout) == (32, False)


def test_command_that_can_not_fetch_is_a_failed_start(instance: Path) -> None:
    done = run_command(
        instance, b"", b"", render_command(storage_uri="s3://texts/none").replace("run.sh run", "no.sh run")
    )
    assert done.returncode == 32


def test_sums_are_sha256() -> None:
    assert handover.compute_sums({"a": b"text"}) == {"a": hashlib.sha256(b"text").hexdigest()}


def test_exit_codes_of_the_script_are_those_of_the_errors() -> None:
    codes = {error.reason: error.exit_code for error in DeployError.__subclasses__()}
    script = handover.read_script().decode()

    assert codes["gpu-smoke-failed"] == handover.EXIT_SMOKE
    assert codes["image-pull-failed"] == handover.EXIT_PULL
    assert codes["start-failed"] == handover.EXIT_START
    assert (
        f"EXIT_SMOKE={handover.EXIT_SMOKE} EXIT_PULL={handover.EXIT_PULL} EXIT_START={handover.EXIT_START}" in script
    )


def test_grace_of_a_spot_notice_is_the_script_s() -> None:
    assert f"readonly SPOT_GRACE_S={handover.SPOT_GRACE_S} " in handover.read_script().decode()


def test_reasons_of_the_script_are_those_of_the_errors() -> None:
    script = handover.read_script().decode()
    reasons = set(re.findall(r"reason=(?:\$\{reason:-)?([a-z-]+)", script))

    assert reasons - {error.reason for error in DeployError.__subclasses__()} == {"completed", "stopped"}


def test_status_of_the_script_has_the_phases_that_are_read() -> None:
    phases = set(re.findall(r"put_status (\w+)", handover.read_script().decode()))
    assert phases == set(InstanceStatus.model_fields["phase"].annotation.__args__)  # type: ignore[union-attr]
