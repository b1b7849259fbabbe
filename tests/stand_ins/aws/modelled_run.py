"""One run on a modelled instance: the unit that the start command leaves behind, and the container in it.

    starting -> pulling -> (secrets) -> running: the container runs, uploads -> (stopping) -> ended, given back

The container is the twin of `ghostpen run`: bundles of results and attempts are modelled, checkpoints are not.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING

from tests.stand_ins.aws.api import CallFailed
from tests.stand_ins.aws.bundles import MANIFEST, render_bundle
from tests.stand_ins.aws.faults import Phase, Results
from tests.stand_ins.aws.instances import Instance
from tests.stand_ins.aws.protocol import RUN_LOG, STATUS_NAME, Order, RunSettings, Status
from tests.stand_ins.aws.timeline import Steps

if TYPE_CHECKING:
    from tests.stand_ins.aws.core import Simulator
    from tests.stand_ins.aws.modelled_instance import ModelledHost

KILLED, STOPPED = 137, 143  # exit codes
LOOK_S = 5.0  # between two looks of the script at the instance's metadata
SPOT_GRACE_S = 105.0


class Asked(Exception):
    """The script is to stop the container: `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ModelledRun:
    """One unit: a program from its start to its end."""

    def __init__(
        self,
        host: ModelledHost,
        simulator: Simulator,
        instance: Instance,
        order: Order,
        settings: RunSettings,
        *,
        only_ends_after_s: float | None = None,
    ) -> None:
        """Start it; with `only_ends_after_s` it is the timer that does nothing but the end."""
        self._host = host
        self._simulator = simulator
        self._instance = instance
        self._order = order
        self._settings = settings
        self._status = Status(settings.handover_id, settings.image, instance.id, instance.type, instance.zone)
        self._watching = False  # the script looks for a spot notice only while the container runs
        steps = self._steps() if only_ends_after_s is None else self._end_after(only_ends_after_s)
        self.program = simulator.timeline.start(steps)

    def stop(self) -> None:
        """Send SIGTERM to the unit."""
        self.program.signal(Asked("stopped"))

    def see_spot_notice(self) -> None:
        """Let the script find the notice at its next look at the metadata."""
        self._simulator.timeline.call_later(LOOK_S, self._look_at_metadata)

    def _look_at_metadata(self) -> None:
        if self._watching:
            self.program.signal(Asked("spot-interruption"))

    def _end_after(self, seconds: float) -> Steps:
        yield seconds
        self._tell("ended", reason="max-runtime")
        yield from self._host.give_back()

    def _steps(self) -> Steps:
        try:
            yield from self._run()
        except Asked as asked:
            self._status.reason = self._status.reason or asked.reason
        except CallFailed:
            self._status.reason = self._status.reason or "start-failed"
        self._status.last_log_lines = RUN_LOG
        self._forget_secrets()
        self._tell("ended")
        self._instance.announce(Phase.END)
        if self._instance.plan.ends_itself:
            yield from self._host.give_back()

    def _run(self) -> Steps:
        self._tell("starting")
        self._tell("pulling")
        self._instance.announce(Phase.PULL)
        if not (yield from self._host.pull(limit_s=self._settings.smoke_s)):
            self._status.reason = "image-pull-failed"
            return
        self._fetch_secrets()
        yield 3.0  # docker run
        self._forget_secrets()
        self._tell("running")
        self._instance.announce(Phase.RUN)
        yield from self._watch_container()

    def _fetch_secrets(self) -> None:
        if not self._settings.secrets:
            return
        found = self._host.call("ssm", "GetParametersByPath", Path=self._settings.secrets_path, WithDecryption=True)
        if missing := set(self._settings.secrets) - {parameter["Name"] for parameter in found["Parameters"]}:
            raise CallFailed(f"not there: {missing}")

    def _forget_secrets(self) -> None:
        try:
            if self._settings.secrets:
                self._host.call("ssm", "DeleteParameters", Names=self._settings.secrets)
        except CallFailed:
            return  # they end by themselves

    # -- the container --

    def _watch_container(self) -> Steps:
        """Let the container run until it ends, may run no longer, or the machine goes."""
        self._watching = True
        if self._instance.spot_taken_at is not None:
            self.see_spot_notice()
        container = self._run_container()
        try:
            limit_s = self._settings.max_runtime_s
            for wait_s in container:
                yield min(wait_s, limit_s)
                limit_s -= wait_s
                if limit_s < 0:
                    raise Asked("max-runtime")
        except Asked as asked:
            yield from self._stop_container(asked.reason)
        self._watching = False
        self._read_end()

    def _run_container(self) -> Steps:
        """Train, then upload; leave an exit code."""
        plan = self._instance.plan
        yield plan.run_s
        if plan.out_of_memory or plan.exit_code:
            self._status.oom_killed = plan.out_of_memory
            self._status.container_exit_code = KILLED if plan.out_of_memory else plan.exit_code
            self._write_attempt("failed")
            return
        self._instance.announce(Phase.UPLOAD)
        yield plan.upload_s
        try:
            self._write_results()
            self._write_attempt("finished")
            self._status.container_exit_code = 0
        except CallFailed:
            self._status.container_exit_code = 2

    def _stop_container(self, reason: str) -> Generator[float, None, None]:
        """Send SIGTERM, and SIGKILL when the grace is over."""
        plan = self._instance.plan
        self._watching = False
        self._status.reason = reason
        self._tell("stopping")
        grace_s = (
            min(self._settings.grace_s, SPOT_GRACE_S) if reason == "spot-interruption" else self._settings.grace_s
        )
        if plan.ignores_sigterm or plan.upload_s > grace_s:
            yield grace_s
            self._status.container_exit_code = KILLED
        else:
            yield plan.upload_s
            self._write_attempt("interrupted")
            self._status.container_exit_code = STOPPED

    def _read_end(self) -> None:
        status = self._status
        if status.container_exit_code == 0:
            status.reason = "completed"
        elif not status.reason:
            killed = status.oom_killed or status.container_exit_code == KILLED
            status.reason = "out-of-memory" if killed else "container-failed"

    # -- what it leaves in S3 --

    def _tell(self, phase: str, *, reason: str = "") -> None:
        """Write the script's own status; a failure to do so does not stop the run."""
        self._status.phase = phase
        self._status.reason = reason or self._status.reason
        self._status.times[phase] = self._simulator.timeline.now()
        try:
            self._put(self._order.locate(STATUS_NAME), self._status.render())
        except CallFailed:
            return

    def _write_results(self) -> None:
        files = {"metrics.jsonl": b'{"step": 1, "perplexity": 44.1}\n', "manifest.json": b"{}"}
        names = ["results/author"] + ["results/control"] * self._settings.control
        for name in names if self._settings.mode == "train" else [self._name_next("tests")]:
            self._write_bundle(name, files, self._instance.plan.results)

    def _write_attempt(self, outcome: str) -> None:
        """Write what an attempt leaves behind, where it still can."""
        files = {"log.txt": "\n".join(RUN_LOG).encode(), "outcome.json": json.dumps({"outcome": outcome}).encode()}
        try:
            self._write_bundle(self._name_next("attempts"), files, Results.COMPLETE)
        except CallFailed:
            return

    def _name_next(self, kind: str) -> str:
        """Name the next numbered bundle of a kind."""
        prefix = f"{self._order.run_prefix}{kind}/"
        listed = self._host.call("s3", "ListObjectsV2", Bucket=self._order.bucket, Prefix=prefix)
        taken = {entry["Key"].removeprefix(prefix).partition("/")[0] for entry in listed.get("Contents", [])}
        return f"{kind}/{len(taken) + 1}"

    def _write_bundle(self, name: str, files: dict[str, bytes], results: Results) -> None:
        if results is Results.MISSING:
            return
        created_at = self._simulator.timeline.now_utc().isoformat(timespec="seconds")
        objects = render_bundle(files, info={"run_id": self._settings.run_id}, created_at=created_at)
        for key, content in objects.items():
            last = key == MANIFEST
            if (last and results is Results.TORN) or (not last and results is Results.CORRUPT):
                continue
            self._put(f"{self._order.run_prefix}{name}/{key}", content)

    def _put(self, key: str, content: bytes) -> None:
        self._host.call("s3", "PutObject", Bucket=self._order.bucket, Key=key, Body=content)
