"""Layer (b) of the shutdown guarantee, run for real: the launch template's user data and what it installs.

Only the commands at the edge are stand-ins (shutdown, systemctl, curl to the metadata, aws, sleep); they write down
how they were called. The two folders that the script writes to are moved into the test's own.
"""

import configparser
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

# `systemctl list-units PATTERN` prints those of the running units that the pattern, its last argument, names.
SYSTEMCTL = """
[ "$1" = list-units ] || exit 0
[ -e "$STATE/systemd-is-busy" ] && exit 1
for pattern; do :; done
while read -r unit; do case $unit in $pattern) echo "$unit loaded active running";; esac; done <"$STATE/units"
"""
CURL = """
[ -e "$STATE/no-metadata" ] && exit 22
case "$*" in
  *"-X PUT"*/latest/api/token) echo token-1 ;;
  *"X-aws-ec2-metadata-token: token-1"*/latest/meta-data/instance-id) echo i-0123 ;;
  *) exit 22 ;;
esac
"""
# Fails as often as there are lines in the file.
AWS = """
[ -s "$STATE/aws-fails" ] || exit 0
sed -i 1d "$STATE/aws-fails"
exit 255
"""
STAND_INS = {"shutdown": "", "sleep": "", "systemctl": SYSTEMCTL, "curl": CURL, "aws": AWS}
TERMINATE = (
    "aws autoscaling terminate-instance-in-auto-scaling-group --region eu-central-1 --instance-id i-0123"
    " --should-decrement-desired-capacity"
)


class Machine:
    """A folder that the user data takes for a machine."""

    def __init__(self, root: Path, user_data: str) -> None:
        self.sbin, self.units, self.commands, self.state = (
            root / name for name in ("sbin", "units", "commands", "state")
        )
        for folder in (self.sbin, self.units, self.commands, self.state):
            folder.mkdir()
        for name, body in STAND_INS.items():
            command = self.commands / name
            command.write_text(f'#!/bin/bash\necho "{name} $*" >>"$STATE/calls"\n{body}', encoding="utf-8")
            command.chmod(0o755)
        self.say("units", "docker.service", "amazon-ssm-agent.service")
        moved = user_data.replace("/usr/local/sbin", str(self.sbin)).replace("/etc/systemd/system", str(self.units))
        assert all(target.startswith(str(root)) for target in re.findall(r"cat >(\S+)", moved))  # nothing outside
        self.script = root / "user-data"
        self.script.write_text(moved, encoding="utf-8")

    def say(self, name: str, *lines: str) -> None:
        """Leave something for the stand-ins to find."""
        (self.state / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def boot(self) -> int:
        return self._run("bash", self.script)

    def end(self, reason: str) -> int:
        """Do what systemd does when a timer fires."""
        return self._run(self.sbin / "end-instance", reason)

    def read_calls(self, *names: str) -> list[str]:
        """Give the calls so far, of these commands or of all, and forget them."""
        log = self.state / "calls"
        calls = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [call for call in calls if not names or call.split()[0] in names]

    def read_unit(self, name: str) -> dict[str, dict[str, str]]:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # keys keep their capitals
        parser.read(self.units / name, encoding="utf-8")
        return {section: dict(parser[section]) for section in parser.sections()}

    def _run(self, *command: str | Path) -> int:
        environment = {"PATH": f"{self.commands}:{os.defpath}", "STATE": str(self.state), "LC_ALL": "C"}
        return subprocess.run(command, env=environment, timeout=60).returncode


@pytest.fixture
def user_data(properties: dict[str, dict[str, Any]]) -> str:
    return properties["LaunchTemplate"]["LaunchTemplateData"]["UserData"]


@pytest.fixture
def machine(tmp_path: Path, user_data: str) -> Machine:
    return Machine(tmp_path, user_data)


@pytest.fixture
def booted(machine: Machine) -> Machine:
    assert machine.boot() == 0
    machine.read_calls()
    return machine


def test_boot_arms_the_last_resort_first_and_then_both_timers(machine: Machine) -> None:
    assert machine.boot() == 0
    assert machine.read_calls() == [
        "shutdown -P +1470",  # 86,400 s and half an hour
        "systemctl daemon-reload",
        "systemctl enable --now end-instance@age.timer end-instance@idle.timer",
    ]


def test_boot_that_fails_half_way_has_armed_the_last_resort(machine: Machine) -> None:
    machine.units.rmdir()
    assert machine.boot() != 0
    assert machine.read_calls() == ["shutdown -P +1470"]


def test_age_timer_has_a_date_so_that_a_reboot_gives_no_more_time(machine: Machine) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert machine.boot() == 0
    timer = machine.read_unit("end-instance@age.timer")
    end = datetime.strptime(timer["Timer"].pop("OnCalendar"), "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    assert before <= end - timedelta(seconds=86_400) <= datetime.now(UTC)
    assert timer == {
        "Timer": {"OnBootSec": "86400", "Persistent": "true"},
        "Install": {"WantedBy": "timers.target"},
    }


def test_idle_timer_looks_again_and_again(booted: Machine) -> None:
    assert booted.read_unit("end-instance@idle.timer") == {
        "Timer": {"OnBootSec": "3600", "OnUnitInactiveSec": "300"},
        "Install": {"WantedBy": "timers.target"},
    }


def test_timers_start_the_script_with_their_reason(booted: Machine) -> None:
    service = booted.read_unit("end-instance@.service")["Service"]
    assert service["ExecStart"] == f"{booted.sbin}/end-instance %i"
    assert service["Type"] == "oneshot"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here; with Debian's (apt-get install systemd) this runs",
)
def test_units_are_what_systemd_can_read(booted: Machine) -> None:
    timers = [booted.units / f"end-instance@{reason}.timer" for reason in ("age", "idle")]
    answer = subprocess.run(["systemd-analyze", "verify", *timers], capture_output=True, text=True, timeout=60)
    assert "end-instance" not in answer.stderr and answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("reason", ["age", "idle"])
def test_instance_gives_itself_back_with_its_place_in_the_group(reason: str, booted: Machine) -> None:
    assert booted.end(reason) == 0
    assert booted.read_calls("aws", "sleep", "shutdown") == [TERMINATE, "sleep 300", "shutdown -P now"]


def test_refused_call_is_tried_again(booted: Machine) -> None:
    booted.say("aws-fails", "once", "twice")
    assert booted.end("age") == 0
    assert booted.read_calls("aws", "sleep", "shutdown") == [
        *[TERMINATE, "sleep 30"] * 2,
        *[TERMINATE, "sleep 300", "shutdown -P now"],
    ]


def test_instance_shuts_down_where_aws_never_answers(booted: Machine) -> None:
    booted.say("aws-fails", *["again"] * 99)
    assert booted.end("age") == 0
    assert booted.read_calls("aws", "sleep", "shutdown") == [*[TERMINATE, "sleep 30"] * 20, "shutdown -P now"]


@pytest.mark.parametrize("missing", ["metadata", "aws"])
def test_instance_shuts_down_where_it_can_not_even_ask(missing: str, booted: Machine) -> None:
    if missing == "metadata":
        booted.say("no-metadata")
    else:
        (booted.commands / "aws").write_text("#!/no/such/interpreter\n", encoding="utf-8")
    assert booted.end("age") == 0
    assert booted.read_calls("aws", "sleep", "shutdown") == [*["sleep 30"] * 20, "shutdown -P now"]


def test_idle_instance_with_a_run_is_left_alone(booted: Machine) -> None:
    booted.say("units", "docker.service", "ghostpen-austen-1.service")
    assert booted.end("idle") == 0
    assert booted.read_calls("aws", "sleep", "shutdown", "curl") == []


def test_idle_instance_is_left_alone_where_systemd_does_not_say_what_runs(booted: Machine) -> None:
    booted.say("systemd-is-busy")
    assert booted.end("idle") == 0
    assert booted.read_calls("aws", "sleep", "shutdown", "curl") == []


def test_instance_that_is_too_old_goes_though_a_run_is_active(booted: Machine) -> None:
    booted.say("units", "ghostpen-austen-1.service")
    assert booted.end("age") == 0
    assert booted.read_calls("aws", "shutdown") == [TERMINATE, "shutdown -P now"]


def test_no_call_waits_for_ever(booted: Machine) -> None:
    recorder = booted.commands / "timeout"
    recorder.write_text('#!/bin/bash\necho "timeout $*" >>"$STATE/calls"\nshift 3\nexec "$@"\n', encoding="utf-8")
    recorder.chmod(0o755)
    assert booted.end("age") == 0
    calls = booted.read_calls()
    assert [call.split(" aws ")[0] for call in calls if call.startswith("timeout")] == ["timeout -k 5 60"]
    assert all("--max-time 5" in call for call in calls if call.startswith("curl"))


def test_scripts_are_clean_to_shellcheck(booted: Machine) -> None:
    scripts = [booted.script, booted.sbin / "end-instance"]
    answer = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60)
    assert (answer.stdout, answer.returncode) == ("", 0)


def test_user_data_is_short_enough(user_data: str) -> None:
    assert len(user_data.encode()) <= 16_384  # EC2's limit
