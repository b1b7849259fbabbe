"""The instance's script, run for real with stand-ins for what is on a GPU instance: each way in which it can end."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "src/ghostpen/aws/instance/run.sh"
STAND_IN = ROOT / "tests/stand_ins/instance_command.py"
COMMANDS = ("docker", "aws", "curl", "nvidia-smi", "systemctl", "systemd-run", "sleep", "shutdown")
TIMEOUT_S = 120
STATUS = "texts/austen/runs/emma/instance/status.json"
SETTINGS = {
    "HANDOVER_ID": "20261124T120000.000000Z",
    "RUN_ID": "emma",
    "MODE": "train",
    "CONTROL": "yes",
    "REGION": "eu-central-1",
    "REGISTRY": "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "IMAGE": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ghostpen@sha256:" + "1" * 64,
    "STORAGE_URI": "s3://texts/austen",
    "CONFIG_URI": "s3://texts/austen/runs/emma/instance/run.toml",
    "STATUS_URI": f"s3://{STATUS}",
    "LOG_GROUP": "/ghostpen",
    "SECRETS_PATH": "/ghostpen/emma",
    "SECRET_NAMES": "",
    "NEED_GB": "16.5",
    "MAX_RUNTIME_S": "60",
    "GRACE_S": "120",
    "TIMER_S": "1080",
    "SMOKE_S": "1800",
    "SMOKE_TIMER_S": "3180",
}


class Machine:
    """An instance in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        for name in COMMANDS:
            path = bin_folder / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {STAND_IN} {name} "$@"\n')
            path.chmod(0o755)
        (self.home / "run.sh").write_bytes(SCRIPT.read_bytes())
        self.environ = {
            "PATH": f"{bin_folder}:/usr/bin:/bin",
            "WORLD": str(folder),
            "RUNTIME_DIRECTORY": str(folder / "memory"),
        }
        self.plan()
        self.set()

    def plan(self, **changes: Any) -> None:
        (self.folder / "plan.json").write_text(json.dumps(changes))

    def set(self, **changes: str) -> None:
        lines = [f"{name}={value}\n" for name, value in (SETTINGS | changes).items()]
        (self.home / "settings.env").write_text("".join(lines))

    @contextmanager
    def start(self, action: str) -> Iterator[subprocess.Popen[str]]:
        """Start the script; it has ended when the block is left."""
        command = ["bash", str(self.home / "run.sh"), action, str(self.home / "settings.env"), "i-0a"]
        with subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
                process.wait(timeout=TIMEOUT_S)
            finally:
                process.kill()

    def run(self, action: str) -> subprocess.CompletedProcess[str]:
        with self.start(action) as process:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess([action], process.returncode, output)

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def find(self, name: str, *first: str) -> list[list[str]]:
        return [
            call["arguments"]
            for call in self.calls
            if call["name"] == name and call["arguments"][: len(first)] == list(first)
        ]

    @property
    def status(self) -> dict[str, Any]:
        return json.loads((self.folder / "s3" / STATUS).read_text())

    @property
    def phases(self) -> list[str]:
        paths = (self.folder / "s3" / STATUS).parent.glob("status.json.*")
        ordered = sorted(paths, key=lambda path: int(path.suffix[1:]))
        return [json.loads(path.read_text())["phase"] for path in ordered]

    @property
    def terminations(self) -> list[str]:
        found = self.find("aws", "autoscaling", "terminate-instance-in-auto-scaling-group")
        assert all(call[call.index("--instance-id") + 1] == "i-0a" for call in found)
        return [call[-1] for call in found]

    def has_secret(self) -> bool:
        return (self.folder / "memory/env").exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_script_passes_shellcheck() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), SCRIPT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


# -- smoke ---------------------------------------------------------------------------------------------------------


def test_smoke_looks_at_the_gpu_from_host_and_image_and_ends_nothing(machine: Machine) -> None:
    done = machine.run("smoke")

    assert done.returncode == 0, done.stdout
    assert "NVIDIA L4" in done.stdout
    assert machine.find("docker", "pull") == [["pull", "--quiet", SETTINGS["IMAGE"]]]
    assert machine.find("docker", "run") == [
        [
            "run", "--rm", "--init", "--name", "ghostpen-emma-check", "--gpus", "all", "--entrypoint",
            "/usr/local/bin/_entrypoint.sh", SETTINGS["IMAGE"], "python", "-m", "ghostpen.model.gpu_check",
            "--need-gb", "16.5",
        ]
    ]  # fmt: skip
    assert machine.terminations == []
    assert not (machine.folder / "s3").exists()


def test_smoke_arms_the_instance_s_own_end_before_anything_else_and_once(machine: Machine) -> None:
    machine.run("smoke")
    machine.run("smoke")

    assert machine.calls[0]["name"] == "systemd-run"
    assert machine.find("systemd-run") == [
        [
            "--unit=end-instance-smoke", "--on-active=3180s", "--timer-property=AccuracySec=1s", "bash",
            f"{machine.home}/run.sh", "end", f"{machine.home}/settings.env", "i-0a",
        ]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        ({"gpu": None}, 22),
        ({"cuda": False}, 22),
        ({"pull": False}, 23),
        ({"login": False}, 23),
        ({"systemd": False}, 32),
    ],
    ids=["no driver", "no CUDA in the image", "no such image", "no login", "no timer"],
)
def test_smoke_that_fails_says_which_part_by_its_exit_code(machine: Machine, plan: dict[str, Any], code: int) -> None:
    machine.plan(**plan)
    assert machine.run("smoke").returncode == code


def test_check_that_hangs_and_is_deaf_is_ended_with_its_container(machine: Machine) -> None:
    machine.plan(cuda="deaf")
    machine.set(SMOKE_S="2")
    began_s = time.monotonic()

    assert machine.run("smoke").returncode == 22
    assert time.monotonic() - began_s < 60
    assert machine.find("docker", "rm") == [["rm", "--force", "ghostpen-emma-check"]]


# -- start ---------------------------------------------------------------------------------------------------------


def test_start_leaves_a_unit_behind_after_its_timer(machine: Machine) -> None:
    assert machine.run("start").returncode == 0
    assert machine.find("systemd-run") == [
        [
            "--unit=end-instance-run", "--on-active=1080s", "--timer-property=AccuracySec=1s", "bash",
            f"{machine.home}/run.sh", "end", f"{machine.home}/settings.env", "i-0a",
        ],
        [
            "--unit=ghostpen-emma", "--property=KillMode=mixed", "--property=TimeoutStopSec=180s",
            "--property=After=docker.service", "--property=After=network-online.target", "bash",
            f"{machine.home}/run.sh", "run", f"{machine.home}/settings.env", "i-0a",
        ],
    ]  # fmt: skip


def test_start_of_a_unit_that_is_there_starts_nothing(machine: Machine) -> None:
    machine.plan(unit_active=True)

    assert machine.run("start").returncode == 0
    assert machine.find("systemd-run") == []


def test_start_after_the_run_has_ended_starts_nothing(machine: Machine) -> None:
    machine.run("run")

    assert machine.run("start").returncode == 0
    assert machine.find("systemd-run") == []


def test_start_that_systemd_refuses_is_an_error(machine: Machine) -> None:
    machine.plan(systemd=False)
    assert machine.run("start").returncode == 32


# -- run -----------------------------------------------------------------------------------------------------------


def test_run_that_goes_well_tells_its_phases_and_gives_the_instance_back(machine: Machine) -> None:
    done = machine.run("run")

    assert machine.phases == ["starting", "pulling", "running", "ended"], done.stdout
    status = machine.status
    times = status.pop("times")
    assert set(times) == {"starting", "pulling", "running", "ended"}
    assert abs(times["ended"] - time.time()) < 60
    assert status == {
        "handover_id": "20261124T120000.000000Z",
        "instance_id": "i-0a",
        "phase": "ended",
        "reason": "completed",
        "container_exit_code": 0,
        "oom_killed": False,
        "image": SETTINGS["IMAGE"],
        "type": "g6.2xlarge",
        "zone": "eu-central-1b",
        "last_log_lines": ["step 1", "step 2"],
    }
    assert machine.terminations == ["--should-decrement-desired-capacity"]
    assert machine.find("shutdown") == []


def test_container_gets_the_gpu_and_the_command_that_a_person_types(machine: Machine) -> None:
    machine.run("run")

    (command,) = machine.find("docker", "run")
    assert command == [
        "run", "--detach", "--init", "--name", "ghostpen-emma", "--gpus", "all", "--ipc=host",
        "--ulimit", "memlock=-1", "--ulimit", "stack=67108864", "--env-file", f"{machine.folder}/memory/env",
        "--env", "AWS_REGION=eu-central-1", "--env", "AWS_DEFAULT_REGION=eu-central-1",
        "--env", f"GHOSTPEN_IMAGE={SETTINGS['IMAGE']}", "--env", "GHOSTPEN_SECRETS_NAMES=",
        "--log-driver", "awslogs",
        "--log-opt", "awslogs-region=eu-central-1", "--log-opt", "awslogs-group=/ghostpen", "--log-opt",
        "awslogs-stream=emma/i-0a", "--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=16m",
        SETTINGS["IMAGE"], "run", "--mode", "train", "--config", SETTINGS["CONFIG_URI"], "--run-id", "emma",
        "--set", "storage.uri=s3://texts/austen",
    ]  # fmt: skip


def test_run_without_a_control_says_so_to_the_container(machine: Machine) -> None:
    machine.set(CONTROL="no", MODE="test")
    machine.run("run")

    (command,) = machine.find("docker", "run")
    assert command[-1] == "--no-control"
    assert command[command.index("--mode") + 1] == "test"


def test_image_that_the_smoke_test_pulled_is_not_pulled_again(machine: Machine) -> None:
    machine.plan(image_there=True)
    machine.run("run")
    assert machine.find("docker", "pull") == machine.find("docker", "login") == []


@pytest.mark.parametrize(
    ("plan", "reason", "code", "oom"),
    [
        ({"exit_code": 2}, "container-failed", 2, False),
        ({"exit_code": 137, "oom": True}, "out-of-memory", 137, True),
        ({"exit_code": 1, "oom": True}, "out-of-memory", 1, True),
        ({"exit_code": 137}, "out-of-memory", 137, False),
        ({"pull": False}, "image-pull-failed", None, False),
        ({"login": False}, "image-pull-failed", None, False),
        ({"run": False}, "start-failed", None, False),
        ({"looks": None, "spot_notice_after": 1}, "spot-interruption", 143, False),
        ({"looks": None, "spot_notice_after": 1, "stopped_code": 137}, "spot-interruption", 137, False),
    ],
)
def test_run_that_fails_says_why_and_gives_the_instance_back(
    machine: Machine, plan: dict[str, Any], reason: str, code: int | None, oom: bool
) -> None:
    machine.plan(**plan)
    machine.run("run")

    status = machine.status
    assert (status["phase"], status["reason"]) == ("ended", reason)
    assert (status["container_exit_code"], status["oom_killed"]) == (code, oom)
    assert machine.terminations == ["--should-decrement-desired-capacity"]


def test_run_that_takes_too_long_is_told_to_stop_with_time_to_upload(machine: Machine) -> None:
    machine.plan(looks=None)
    machine.set(MAX_RUNTIME_S="1")
    machine.run("run")

    assert machine.find("docker", "stop") == [["stop", "-t", "120", "ghostpen-emma"]]
    assert machine.phases == ["starting", "pulling", "running", "stopping", "ended"]
    assert (machine.status["reason"], machine.status["container_exit_code"]) == ("max-runtime", 143)
    assert machine.terminations == ["--should-decrement-desired-capacity"]


def test_container_that_was_told_to_stop_and_had_just_finished_has_completed(machine: Machine) -> None:
    machine.plan(looks=None, stopped_code=0)
    machine.set(MAX_RUNTIME_S="1")
    machine.run("run")
    assert (machine.status["reason"], machine.status["container_exit_code"]) == ("completed", 0)


def test_spot_notice_leaves_less_than_the_two_minutes_that_it_gives(machine: Machine) -> None:
    machine.plan(looks=None, spot_notice_after=0)
    machine.run("run")
    assert machine.find("docker", "stop") == [["stop", "-t", "105", "ghostpen-emma"]]


def test_spot_notice_keeps_a_shorter_grace(machine: Machine) -> None:
    machine.plan(looks=None, spot_notice_after=0)
    machine.set(GRACE_S="30")
    machine.run("run")
    assert machine.find("docker", "stop") == [["stop", "-t", "30", "ghostpen-emma"]]


def test_status_that_s3_does_not_take_holds_no_stop_up(machine: Machine) -> None:
    machine.plan(looks=None)
    with machine.start("run") as process:
        wait_for(lambda: machine.find("docker", "inspect", "--format", "{{.State.Status}}"))
        machine.plan(looks=None, s3_writes="held")
        process.send_signal(signal.SIGTERM)
        wait_for((machine.folder / "stopped").exists)
        (machine.folder / "released").touch()

    assert machine.phases[-2:] == ["stopping", "ended"]


def test_docker_that_does_not_answer_any_more_ends_the_run(machine: Machine) -> None:
    machine.plan(docker_answers=False)
    machine.run("run")

    assert (machine.status["reason"], machine.status["container_exit_code"]) == ("container-failed", None)
    assert machine.terminations == ["--should-decrement-desired-capacity"]


@pytest.mark.parametrize(("silent", "reason", "code"), [(2, "completed", 0), (3, "container-failed", None)])
def test_end_that_docker_does_not_tell_at_once_is_asked_for_again(
    machine: Machine, silent: int, reason: str, code: int | None
) -> None:
    machine.plan(silent_end_looks=silent)
    machine.run("run")

    assert (machine.status["reason"], machine.status["container_exit_code"]) == (reason, code)
    assert machine.terminations == ["--should-decrement-desired-capacity"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_stops_the_container_and_gives_the_instance_back(machine: Machine, sent: signal.Signals) -> None:
    machine.plan(looks=None)
    with machine.start("run") as process:
        wait_for((machine.folder / "container").exists)
        process.send_signal(sent)

    assert (machine.status["reason"], machine.status["container_exit_code"]) == ("stopped", 143)
    assert machine.find("docker", "stop")
    assert machine.terminations == ["--should-decrement-desired-capacity"]


def test_signal_before_there_is_a_container_starts_none(machine: Machine) -> None:
    machine.plan(pull="held")
    with machine.start("run") as process:
        wait_for(lambda: machine.find("docker", "pull"))
        process.send_signal(signal.SIGTERM)
        (machine.folder / "released").touch()

    assert machine.find("docker", "run") == []
    assert (machine.status["reason"], machine.status["container_exit_code"]) == ("stopped", None)
    assert machine.terminations == ["--should-decrement-desired-capacity"]


def test_run_whose_status_cannot_be_written_goes_on_to_its_end(machine: Machine) -> None:
    machine.plan(s3_writes=False)
    done = machine.run("run")

    assert "status.json could not be written: running" in done.stdout
    assert machine.find("docker", "run")
    assert machine.terminations == ["--should-decrement-desired-capacity"]


def test_settings_that_are_not_whole_start_nothing(machine: Machine) -> None:
    machine.set(WHAT="else")
    done = machine.run("smoke")
    assert (done.returncode, "WHAT is not a setting of this script" in done.stdout) == (32, True)


# -- secrets -------------------------------------------------------------------------------------------------------

SECRETS = {"WANDB_API_KEY": "k3y-of-wandb", "HF_TOKEN": 'hf_"quoted" $HOME `id` #1'}


@pytest.fixture
def with_secrets(machine: Machine) -> Machine:
    machine.set(SECRET_NAMES="WANDB_API_KEY HF_TOKEN")
    machine.plan(secrets=SECRETS, log="key is k3y-of-wandb\n")
    return machine


def test_secrets_reach_the_container_through_memory_only(with_secrets: Machine) -> None:
    with_secrets.run("run")

    env = dict(line.split("=", 1) for line in (with_secrets.folder / "container_env").read_text().splitlines())
    assert env == SECRETS
    assert (with_secrets.folder / "env_mode").read_text() == "0o600"
    assert not with_secrets.has_secret()


def test_secrets_are_deleted_before_the_run_is_told_to_be_running(with_secrets: Machine) -> None:
    with_secrets.run("run")

    order = [call["arguments"][:2] for call in with_secrets.calls if call["name"] == "aws"]
    assert order.index(["ssm", "delete-parameters"]) < len(order) - 1 - order[::-1].index(["s3", "cp"])
    assert with_secrets.find("aws", "ssm", "delete-parameters")[0] == [
        "ssm", "delete-parameters", "--region", "eu-central-1", "--names", "/ghostpen/emma/WANDB_API_KEY",
        "/ghostpen/emma/HF_TOKEN",
    ]  # fmt: skip


def test_container_is_told_which_of_its_variables_are_secrets(with_secrets: Machine) -> None:
    with_secrets.run("run")
    (command,) = with_secrets.find("docker", "run")
    assert "GHOSTPEN_SECRETS_NAMES=WANDB_API_KEY HF_TOKEN" in command


def test_more_secrets_than_can_be_deleted_at_once_are_all_deleted(machine: Machine) -> None:
    names = [f"SECRET_{number}" for number in range(11)]
    machine.set(SECRET_NAMES=" ".join(names))
    machine.plan(secrets=dict.fromkeys(names, "a value"))
    machine.run("run")

    first, second, *_ = machine.find("aws", "ssm", "delete-parameters")
    given = [call[call.index("--names") + 1 :] for call in (first, second)]
    assert given == [[f"/ghostpen/emma/{name}" for name in part] for part in (names[:10], names[10:])]


def test_secrets_stand_in_no_command_no_status_and_no_output(with_secrets: Machine) -> None:
    done = with_secrets.run("run")

    seen = (with_secrets.folder / "calls.jsonl").read_text() + json.dumps(with_secrets.status) + done.stdout
    assert [value for value in SECRETS.values() if value in seen] == []
    assert with_secrets.status["last_log_lines"] == ["key is ***"]


def test_secrets_are_deleted_where_the_container_does_not_start(with_secrets: Machine) -> None:
    with_secrets.plan(secrets=SECRETS, run=False)
    with_secrets.run("run")

    assert with_secrets.find("aws", "ssm", "delete-parameters")
    assert not with_secrets.has_secret()


def test_secret_that_is_not_there_starts_no_container(with_secrets: Machine) -> None:
    with_secrets.plan(secrets={"WANDB_API_KEY": "k3y-of-wandb"})
    done = with_secrets.run("run")

    assert "the secret /ghostpen/emma/HF_TOKEN is not there" in done.stdout
    assert with_secrets.find("docker", "run") == []
    assert with_secrets.status["reason"] == "start-failed"


# -- the instance's end --------------------------------------------------------------------------------------------


def test_group_at_its_minimum_ends_the_instance_without_decrement(machine: Machine) -> None:
    machine.plan(terminate=["minimum"])
    machine.run("run")
    assert machine.terminations == ["--should-decrement-desired-capacity", "--no-should-decrement-desired-capacity"]


def test_refusal_is_tried_again(machine: Machine) -> None:
    machine.plan(terminate=["refused", "refused", "ok"])
    machine.run("run")

    assert machine.terminations == ["--should-decrement-desired-capacity"] * 3
    assert machine.find("shutdown") == []


def test_group_that_can_not_be_told_is_answered_with_a_shutdown(machine: Machine) -> None:
    machine.plan(terminate=["refused"])
    machine.run("run")

    assert machine.terminations == ["--should-decrement-desired-capacity"] * 8
    assert machine.find("shutdown") == [["-P", "now"]]


def test_timer_that_fires_tells_and_gives_the_instance_back(machine: Machine) -> None:
    machine.run("end")

    assert (machine.status["phase"], machine.status["reason"]) == ("ended", "max-runtime")
    assert machine.terminations == ["--should-decrement-desired-capacity"]


def test_lines_of_the_log_are_valid_json_whatever_is_in_them(machine: Machine) -> None:
    machine.plan(log='a "quote", a \\ backslash, a\ttab, \x1b[31mred\x1b[0m\n\nümläut\n')
    machine.run("run")
    assert machine.status["last_log_lines"] == ['a "quote", a \\ backslash, a tab, [31mred[0m', "ümläut"]
