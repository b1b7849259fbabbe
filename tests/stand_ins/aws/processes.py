"""An instance whose scripts really run: processes of an unprivileged user, in a folder of their own.

First on their PATH are the stand-ins of `host/` for docker, nvidia-smi, systemd-run, systemctl and shutdown; the
role's credentials and a spot notice come from the simulated metadata service. Whatever carries the machine's mark in
its environment belongs to the machine, and is killed with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import InstancePlan
from tests.stand_ins.aws.instances import CommandResult, Execution, Instance
from tests.stand_ins.aws.metadata import PREFIX as METADATA_PREFIX
from tests.stand_ins.aws.privileges import find_drop
from tests.stand_ins.aws.timeline import Timeline

HOST = Path(__file__).parent / "host"
TOOLS = ("docker", "nvidia-smi", "systemd-run", "systemctl", "shutdown")
MARK = "GHOSTPEN_MACHINE"
KILL_LIMIT_S = 10
IDLE_LOOK_S = 300.0
MODELLED_ONLY = ("run_s", "upload_s", "results", "ends_itself")


class ProcessHost:
    """The processes of one instance. `folder` is all that they may write to."""

    def __init__(
        self, simulator: Simulator, instance: Instance, folder: Path, settings: Mapping[str, object]
    ) -> None:
        _check_plan(instance.plan)
        self._simulator = simulator
        self._instance = instance
        self._settings = settings
        self._mark = uuid.uuid4().hex
        self._dead = False
        self._frozen = False
        self._started: list[subprocess.Popen[bytes]] = []
        self.folder = folder

    # -- instances.Host --

    def boot(self) -> None:
        for name in ("", "bin", "home", "tmp", "run", "state", "units", "containers", "log"):
            path = self.folder / name
            path.mkdir(mode=0o700, exist_ok=True)
            find_drop().own(path)
        for tool in TOOLS:
            script = HOST / f"{tool.replace('-', '_')}.py"
            self._write(f"bin/{tool}", f'#!/bin/sh\nexec {sys.executable} -E -s {script} "$@"\n', mode=0o755)
        aws = Path(sys.executable).parent / "aws"
        if not aws.exists():
            raise RuntimeError(f"{aws} is not there; the scripts of an instance need awscli")
        self._write("bin/aws", f'#!/bin/sh\nexec {sys.executable} {aws} "$@"\n', mode=0o755)
        self._write("machine.json", json.dumps({**self._settings, **self._describe_plan()}), mode=0o644)
        self._write("environment.json", json.dumps(self.make_environment()), mode=0o644)
        group = self._instance.group
        if self._instance.plan.boot_timers_work:
            if group.age_timer_s is not None:
                self._simulator.timeline.call_later(group.age_timer_s, self._give_back)
            if group.idle_timer_s is not None:
                self._simulator.timeline.call_later(group.idle_timer_s, self._give_back_if_idle)

    def execute(self, script: str, done: Callable[[CommandResult], None]) -> Execution:
        name = f"command-{uuid.uuid4().hex[:8]}"
        self._write(f"{name}.sh", script, mode=0o700)
        process = self.spawn(["/bin/sh", str(self.folder / f"{name}.sh")], log=f"log/{name}")
        return _ProcessExecution(process, self.folder / "log" / name, done, self._simulator.timeline)

    def terminate(self) -> None:
        for pid in self._list_main_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        self._dead = True
        end = time.monotonic() + KILL_LIMIT_S
        while self._signal_all(signal.SIGKILL):  # a process may start another while it is looked for
            if time.monotonic() > end:
                raise RuntimeError(f"processes of {self._instance.id} do not die: {list(self.list_pids())}")
            time.sleep(0.01)
        for process in self._started:
            process.wait(timeout=KILL_LIMIT_S)

    def freeze(self) -> None:
        self._frozen = True
        self._signal_all(signal.SIGSTOP)

    def warn_of_spot(self) -> None:
        """Nothing to do: the script reads the metadata."""

    # -- what happens on it --

    def start_timer(self, seconds: float, command: Sequence[str], *, log: str) -> None:
        """Run a command after a time of the simulated world, which a test can push ahead."""

        def start() -> None:
            if not self._dead and not self._frozen:
                self.spawn(command, log=log)

        self._simulator.timeline.call_later(seconds, start)

    def _give_back(self) -> None:
        """Do what the template's user data do when the instance is old, or idle."""
        command = [
            "aws", "autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", self._instance.id,
            "--should-decrement-desired-capacity",
        ]  # fmt: skip
        self.start_timer(0, command, log="log/user-data")

    def _give_back_if_idle(self) -> None:
        if not self._list_main_pids():
            self._give_back()
        elif not self._dead:
            self._simulator.timeline.call_later(IDLE_LOOK_S, self._give_back_if_idle)

    def spawn(self, command: Sequence[str], *, log: str) -> subprocess.Popen[bytes]:
        """Start a process of this machine: unprivileged, in its folder, with nothing of the tests' environment."""
        with (
            (self.folder / f"{log}.out").open("ab") as output,
            (self.folder / f"{log}.err").open("ab") as errors,
        ):
            process = subprocess.Popen(
                [*find_drop().prefix, *command],
                cwd=self.folder / "tmp",
                env=self.make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                umask=0o022,
            )
        self._started.append(process)
        return process

    def make_environment(self) -> dict[str, str]:
        """Give the environment that the machine's services have."""
        region = self._simulator.world.region
        return {
            MARK: self._mark,
            "PATH": f"{self.folder / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            "GHOSTPEN_MACHINE_FOLDER": str(self.folder),
            "STATE_DIRECTORY": str(self.folder / "state"),
            "RUNTIME_DIRECTORY": str(self.folder / "run"),
            "AWS_ENDPOINT_URL": self._simulator.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self._simulator.url}{METADATA_PREFIX}{self._instance.id}/",
            "AWS_DEFAULT_REGION": region,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def _describe_plan(self) -> dict[str, object]:
        plan, world = self._instance.plan, self._simulator.world
        return {
            "smoke": str(plan.smoke),
            "pull": str(plan.pull),
            "pull_s": plan.pull_s,
            "exit_code": plan.exit_code,
            "out_of_memory": plan.out_of_memory,
            "ignores_sigterm": plan.ignores_sigterm,
            "images": {name: [image.digest for image in images] for name, images in world.repositories.items()},
            "registry": f"{world.account_id}.dkr.ecr.{world.region}.amazonaws.com",
        }

    def _write(self, name: str, text: str, *, mode: int) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        find_drop().own(path)

    # -- its processes --

    def list_pids(self) -> Iterator[int]:
        """List the processes that carry this machine's mark."""
        mark = f"{MARK}={self._mark}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):  # it has ended, or is another user's
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        yield int(entry.name)

    def _signal_all(self, number: int) -> bool:
        pids = list(self.list_pids())
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(pids)

    def _list_main_pids(self) -> list[int]:
        """List the main processes of units and containers, which a shutdown tells to end."""
        mine = set(self.list_pids())
        states = [*self.folder.glob("units/*.json"), *self.folder.glob("containers/*.json")]
        pids = [json.loads(path.read_text(encoding="utf-8")).get("pid") for path in states]
        return [pid for pid in pids if pid in mine]


class _ProcessExecution:
    """A command's process. Its end is reported from a thread, holding the timeline's lock."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: Path,
        done: Callable[[CommandResult], None],
        timeline: Timeline,
    ) -> None:
        self._process = process
        self._log = log
        self._done = done
        self._timeline = timeline
        threading.Thread(target=self._wait, name=log.name, daemon=True).start()

    def cancel(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self) -> None:
        exit_code = self._process.wait()
        texts = [Path(f"{self._log}.{kind}").read_text(encoding="utf-8", errors="replace") for kind in ("out", "err")]
        with self._timeline.lock:
            self._done(CommandResult(exit_code if exit_code >= 0 else 128 - exit_code, *texts))


def _check_plan(plan: InstancePlan) -> None:
    """Refuse a fault that real processes can't be given.

    Raises:
        ValueError: the plan has one.
    """
    usual = InstancePlan()
    if changed := [name for name in MODELLED_ONLY if getattr(plan, name) != getattr(usual, name)]:
        raise ValueError(f"only a modelled instance knows {', '.join(changed)}")
