"""Instances whose scripts really run: unprivileged, in a folder of their own, gone with the instance."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import Mishap, Pull, Smoke
from tests.stand_ins.aws.instances import CommandResult, Instance
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN, make_machines
from tests.stand_ins.aws.processes import ProcessHost
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.world import GroupSpec, World

ROOT = Path(__file__).parents[3]
LIMIT_S = 60
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ghostpen@sha256:" + "1" * 64
LOGIN = "aws ecr get-login-password | docker login --username AWS --password-stdin ${IMAGE%%/*} >/dev/null"
READY = f"set -eu; IMAGE={IMAGE}; {LOGIN}; docker pull --quiet $IMAGE >/dev/null"
# In place of the image's program: says what it is given, and waits for SIGTERM.
LOOP = "while :; do sleep 0.1; done"
WAITING = ("/bin/sh", "-c", f'trap "echo stopping; exit 143" TERM; echo "got $*"; env; {LOOP}', "x")


@dataclass
class Machine:
    """One instance that runs, and its simulated account."""

    server: AwsServer
    instance: Instance
    host: ProcessHost

    def run(self, script: str) -> CommandResult:
        """Run a script as the agent would."""
        results: list[CommandResult] = []
        ended = threading.Event()

        def done(result: CommandResult) -> None:
            results.append(result)
            ended.set()

        with self.server.timeline.lock:
            self.host.execute(script, done)
        assert ended.wait(LIMIT_S), f"{script} does not end"
        return results[0]

    def read(self, script: str) -> str:
        result = self.run(script)
        assert result.exit_code == 0, result
        return result.output.strip()


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


@contextmanager
def start_machine(
    *,
    command: Sequence[str] = WAITING,
    container_environment: Mapping[str, str] | None = None,
    group: Mapping[str, Any] | None = None,
    **plan: Any,
) -> Iterator[Machine]:
    world = World(delays=QUICK_DELAYS, groups=(GroupSpec(desired=1, **group or {}),), buckets=())
    faults = Faults(plan=replace(QUICK_PLAN, **plan))
    with (
        make_machines(command=command, container_environment=container_environment) as machines,
        AwsServer(machines, world=world, faults=faults).serve() as server,
    ):
        instance = wait_for(lambda: [i for i in server.simulator.list_living() if i.agent.connected])[0]
        assert isinstance(instance.host, ProcessHost)
        yield Machine(server, instance, instance.host)


@pytest.fixture(scope="module")
def shared() -> Iterator[Machine]:
    """Give a machine to tests that leave it as it was."""
    with start_machine() as started:
        yield started


@pytest.fixture
def machine() -> Iterator[Machine]:
    with start_machine() as started:
        yield started


# -- what a script may do --


def test_script_runs_unprivileged_and_can_write_only_below_its_own_folder(shared: Machine) -> None:
    assert shared.read("id -u") != "0"
    assert (
        shared.read('for place in "$HOME" "$TMPDIR" "$STATE_DIRECTORY" "$RUNTIME_DIRECTORY"; do touch $place/x; done')
        == ""
    )
    if os.getuid() == 0:  # else the scripts are this user's, and may do what it may
        for place in ("/", "/etc", str(Path(__file__).parent), str(shared.host.folder.parent)):
            assert shared.run(f"touch {place}/ghostpen-was-here").exit_code != 0
        assert shared.run(f"kill -0 {os.getpid()}").exit_code != 0


def test_script_gets_nothing_of_the_tests_environment(shared: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DEVELOPER", "geheim")
    monkeypatch.setenv("AWS_PROFILE", "private")
    variables = shared.read("env")
    assert "geheim" not in variables and "AWS_PROFILE" not in variables
    folders = [line.partition("=")[2] for line in variables.splitlines() if line.startswith(("HOME=", "TMPDIR="))]
    assert all(Path(folder).is_relative_to(shared.host.folder) for folder in folders) and len(folders) == 2


def test_script_leaves_exit_code_output_and_errors(shared: Machine) -> None:
    assert shared.run("echo out; echo err >&2; exit 3") == CommandResult(3, "out\n", "err\n")
    assert shared.run("kill -TERM $$").exit_code == 143


def test_cancelled_script_is_killed_with_what_it_started(machine: Machine) -> None:
    ended: list[CommandResult] = []
    with machine.server.timeline.lock:
        execution = machine.host.execute("sleep 600 & sleep 600", ended.append)
    wait_for(lambda: len(list(machine.host.list_pids())) == 3)
    execution.cancel()
    wait_for(lambda: ended)
    assert ended[0].exit_code == 137
    wait_for(lambda: not list(machine.host.list_pids()))


# -- the metadata service --


def test_instance_gets_its_roles_credentials_from_the_metadata_service(shared: Machine) -> None:
    identity = json.loads(shared.read("aws sts get-caller-identity"))
    assert identity["Arn"] == f"arn:aws:sts::123456789012:assumed-role/ghostpen-instance/{shared.instance.id}"
    refused = shared.run(
        "aws autoscaling set-desired-capacity --auto-scaling-group-name gpu-runs --desired-capacity 1"
    )
    assert "AccessDenied" in refused.errors


def test_metadata_need_a_token_and_show_a_spot_notice_when_there_is_one(machine: Machine) -> None:
    script = """
    url=${AWS_EC2_METADATA_SERVICE_ENDPOINT%/}/latest
    curl -s -o /dev/null -w '%{http_code} ' $url/meta-data/instance-id
    token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $url/api/token)
    curl -sf -H "X-aws-ec2-metadata-token: $token" $url/meta-data/instance-id
    curl -s -o /dev/null -w ' %{http_code}' -H "X-aws-ec2-metadata-token: $token" $url/meta-data/spot/instance-action
    """
    assert machine.read(script) == f"401 {machine.instance.id} 404"
    with machine.server.timeline.lock:
        machine.server.simulator.ec2.strike(machine.instance, Mishap.SPOT)
    assert machine.read(script) == f"401 {machine.instance.id} 200"


# -- docker --


def start_container(machine: Machine, arguments: str = "run --mode train") -> None:
    machine.read(
        f"{READY}; printf 'TOKEN=from the file\\n' >$TMPDIR/env; docker run --detach --name c1 --gpus all --ipc=host "
        "--ulimit memlock=-1 --env-file $TMPDIR/env --env AWS_REGION=eu-central-1 --log-driver awslogs "
        f"--log-opt awslogs-group=/ghostpen/runs --log-opt awslogs-stream=run-1/i $IMAGE {arguments}"
    )


def inspect(machine: Machine) -> str:
    template = "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.OOMKilled}}"
    return machine.read(f"docker inspect --format '{template}' c1")


def list_lines(machine: Machine) -> list[str]:
    with machine.server.timeline.lock:
        lines = machine.server.simulator.logs.streams["/ghostpen/runs"].get("run-1/i", [])
        return [line.text for line in lines]


def test_container_is_a_process_with_its_own_environment_and_its_lines_are_in_cloudwatch(shared: Machine) -> None:
    start_container(shared)
    assert inspect(shared) == "running true 0 false"
    wait_for(lambda: "AWS_REGION=eu-central-1" in list_lines(shared))
    lines = list_lines(shared)
    assert lines[0] == "got run --mode train"
    assert "TOKEN=from the file" in lines
    assert not any(line.startswith(("STATE_DIRECTORY=", "GHOSTPEN_MACHINE_FOLDER=")) for line in lines)
    assert shared.read("docker logs --tail 1000 c1").splitlines()[0] == lines[0]
    assert "from the file" not in (shared.host.folder / "log" / "calls").read_text(encoding="utf-8")


def test_container_that_is_stopped_gets_sigterm_and_its_exit_code_is_kept(machine: Machine) -> None:
    start_container(machine)
    machine.read("docker stop -t 20 c1")
    assert inspect(machine) == "exited false 143 false"
    assert machine.read("docker logs --tail 1 c1") == "stopping"
    assert machine.read("docker wait c1") == "143"


def test_container_that_does_not_heed_sigterm_is_killed_after_the_grace() -> None:
    with start_machine(ignores_sigterm=True) as machine:
        start_container(machine)
        start = time.monotonic()
        machine.read("docker stop -t 1 c1")
        assert time.monotonic() - start >= 1
        assert inspect(machine) == "exited false 137 false"


@pytest.mark.parametrize(
    ("plan", "state"),
    [({"exit_code": 7}, "exited false 7 false"), ({"out_of_memory": True}, "exited false 137 true")],
)
def test_container_ends_as_planned(plan: dict[str, Any], state: str) -> None:
    with start_machine(**plan) as machine:
        start_container(machine)
        machine.read("docker wait c1")
        assert inspect(machine) == state


def test_container_gets_what_the_image_sets_and_a_name_is_taken_once() -> None:
    with start_machine(command=("/bin/sh", "-c", "echo $SETTING"), container_environment={"SETTING": "x"}) as machine:
        start_container(machine)
        machine.read("docker wait c1")
        assert machine.read("docker logs c1") == "x"
        again = machine.run(f"docker run --detach --name c1 {IMAGE}")
        assert (again.exit_code, "is already in use" in again.errors) == (125, True)


def test_pull_needs_a_login_and_a_known_digest(machine: Machine) -> None:
    assert "no basic auth credentials" in machine.run(f"docker pull {IMAGE}").errors
    wrong = machine.run(f"IMAGE={IMAGE}; echo wrong | docker login --username AWS --password-stdin ${{IMAGE%%/*}}")
    assert "401 Unauthorized" in wrong.errors
    unknown = machine.run(f"{READY}; docker pull ${{IMAGE%@*}}@sha256:{'2' * 64}")
    assert "manifest unknown" in unknown.errors
    assert machine.run(f"docker image inspect --format '{{{{.Id}}}}' {IMAGE}").output.startswith("sha256:")
    assert machine.run(f"docker image inspect --format '{{{{.Id}}}}' {IMAGE}x").exit_code != 0


@pytest.mark.parametrize(
    ("plan", "script", "error"),
    [
        ({"pull": Pull.FAILS}, READY, "no space left on device"),
        ({"smoke": Smoke.NO_DRIVER}, "nvidia-smi", "NVIDIA-SMI has failed"),
        ({"smoke": Smoke.NO_CUDA}, f"{READY}; docker run --rm --gpus all --entrypoint e $IMAGE x", "CUDA is not"),
        ({"smoke": Smoke.NO_MEMORY}, f"{READY}; docker run --rm --gpus all --entrypoint e $IMAGE x", "too little"),
    ],
)
def test_smoke_and_pull_fail_as_planned(plan: dict[str, Any], script: str, error: str) -> None:
    with start_machine(**plan) as machine:
        result = machine.run(script)
        assert result.exit_code != 0
        assert error in result.errors


def test_plan_that_real_processes_can_not_follow_is_refused() -> None:
    world = World(delays=QUICK_DELAYS, groups=(GroupSpec(desired=1),), buckets=())
    faults = Faults(plan=replace(QUICK_PLAN, upload_s=1.0))
    with (
        pytest.raises(ValueError, match="only a modelled instance knows upload_s"),
        make_machines() as machines,
        AwsServer(machines, world=world, faults=faults).serve() as server,
    ):
        wait_for(lambda: server.timeline.failures)


# -- units and timers --


def test_unit_outlives_its_command_with_the_machines_environment_and_its_name_is_taken(shared: Machine) -> None:
    unit = "--unit=job-1 --property=KillMode=mixed /bin/sh -c 'env >$STATE_DIRECTORY/env; sleep 600'"
    script = f"export OF_THE_CALLER=x; systemd-run {unit}"
    shared.read(script)
    assert shared.read("systemctl is-active job-1") == "active"
    again = shared.run(script)
    assert (again.exit_code, "was already loaded" in again.errors) == (1, True)
    assert "OF_THE_CALLER" not in wait_for((shared.host.folder / "state/env").read_text)
    assert shared.read("systemctl list-units --plain --no-legend 'job-*.service'").startswith("job-1.service")
    shared.read("systemctl stop job-1")
    assert shared.run("systemctl is-active --quiet job-1").exit_code == 3


def test_timer_starts_its_command_when_simulated_time_has_come(machine: Machine) -> None:
    machine.read("systemd-run --unit=later --on-active=7200s /bin/sh -c 'touch $STATE_DIRECTORY/came'")
    came = machine.host.folder / "state/came"
    machine.server.timeline.push_ahead(7100)
    time.sleep(0.3)
    assert not came.exists()
    machine.server.timeline.push_ahead(200)
    wait_for(came.exists)


@pytest.mark.parametrize(("idle_s", "age_s"), [(3600.0, None), (None, 3600.0)])
def test_idle_or_old_instance_gives_itself_back(idle_s: float | None, age_s: float | None) -> None:
    with start_machine(group={"idle_timer_s": idle_s, "age_timer_s": age_s}) as machine:
        machine.server.timeline.push_ahead(3700)
        wait_for(lambda: not machine.server.simulator.list_leftovers())


# -- the end --


def test_terminated_instance_ends_its_unit_by_sigterm_then_everything_by_sigkill(machine: Machine) -> None:
    machine.read(f"systemd-run --unit=job-1 /bin/sh -c 'trap \"touch $STATE_DIRECTORY/told; exit\" TERM; {LOOP}'")
    machine.read(f"systemd-run --unit=job-2 /bin/sh -c 'trap : TERM; {LOOP}'")
    with machine.server.timeline.lock:
        machine.server.simulator.group.set_desired(0)
    wait_for((machine.host.folder / "state/told").exists)
    assert list(machine.host.list_pids())  # the deaf one
    wait_for(lambda: not list(machine.host.list_pids()))
    wait_for(lambda: not machine.server.simulator.list_leftovers())


# Not as late as the idle timer, which ends the instance without a replacement.
@pytest.mark.parametrize(("when", "seconds"), [("now", 0), ("+45", 2700)])
def test_instance_that_shuts_itself_down_is_terminated_and_replaced(
    when: str, seconds: int, machine: Machine
) -> None:
    machine.read(f"shutdown -P {when}")
    if seconds:
        assert machine.instance.alive
        machine.server.timeline.push_ahead(seconds)
    replacement = wait_for(lambda: [i for i in machine.server.simulator.list_living() if i is not machine.instance])
    assert machine.instance.reason == (
        "Client.InstanceInitiatedShutdown",
        "Client.InstanceInitiatedShutdown: User initiated shutdown",
    )
    wait_for(lambda: replacement[0].running_at)


def test_instance_that_hangs_stands_still_and_is_still_called_running(machine: Machine) -> None:
    counter = machine.host.folder / "state/counter"
    machine.read(
        "systemd-run --unit=job-1 /bin/sh -c 'while :; do echo >>$STATE_DIRECTORY/counter; sleep 0.05; done'"
    )
    wait_for(counter.exists)
    with machine.server.timeline.lock:
        machine.server.simulator.ec2.strike(machine.instance, Mishap.HANGS)
    time.sleep(0.2)
    size = counter.stat().st_size
    time.sleep(0.3)
    assert counter.stat().st_size == size
    assert machine.instance.state == "running"


def test_nothing_is_left_when_the_account_is_closed() -> None:
    with start_machine() as machine:
        start_container(machine)
        machine.read("systemd-run --unit=job-1 sleep 600; setsid sleep 600 >/dev/null 2>&1 &")
        assert len(list(machine.host.list_pids())) >= 3
    assert list(machine.host.list_pids()) == []
    assert not machine.host.folder.exists()


def test_account_runs_as_a_program_until_it_is_told_to_end_and_says_what_was_left() -> None:
    command = [sys.executable, "-m", "tests.stand_ins.aws.serve", "--bucket", "of-a-program"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "src"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[0].startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:")
    process.terminate()
    _, errors = process.communicate(timeout=LIMIT_S)
    assert errors.splitlines()[-1] == "nothing is left"
    assert process.returncode == 0
