"""The steps of a deployment, one method each. Each can be done again; what it may leave in AWS is marked before it.

Must not clean up: whatever a step raises, `deployment` lets go.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from ghostpen.aws.claim import claim_group
from ghostpen.aws.clients import Clients
from ghostpen.aws.ending import Marks
from ghostpen.aws.facts import Request
from ghostpen.aws.fleet import Fleet, Machine, Member, read_machine
from ghostpen.aws.follow import Follower, Watch, explain_end
from ghostpen.aws.handover import (
    CONFIG_NAME,
    EXIT_PULL,
    EXIT_START,
    SCRIPT_NAME,
    SETTINGS_NAME,
    InstanceStatus,
    compute_sums,
    locate,
    read_moment,
    read_script,
    read_status,
    render_command,
    render_settings,
)
from ghostpen.aws.logs import LogReader
from ghostpen.aws.plan import DeployPlan, Step
from ghostpen.aws.remote import CommandResult, Remote
from ghostpen.aws.results import Results, verify_results
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.secrets import Secrets
from ghostpen.aws.settings import DeployConfig
from ghostpen.aws.shutdown import shut_down
from ghostpen.aws.waiting import DeadlineError, Waiting
from ghostpen.errors import (
    CloudError,
    DeployError,
    GpuSmokeError,
    ImagePullError,
    InstanceLostError,
    InstanceNeverOnlineError,
    ResultsMissingError,
    SpotInterruptionError,
    StartFailedError,
)

VERIFY_S = 300.0  # for S3 to answer
CLOCKS_APART = timedelta(seconds=60)  # this machine's and others': what is wanted is wanted from the first on


@dataclass
class Course:
    """What has become known on the way."""

    armed_at: datetime | None = None
    member: Member | None = None
    machine: Machine | None = None
    results: Results | None = None
    detached: bool = False
    known_activities: frozenset[str] = field(default=frozenset())
    sums: dict[str, str] = field(default_factory=dict)

    @property
    def instance_id(self) -> str:
        """Give the instance that the run is on; "" before there is one."""
        return self.member.instance_id if self.member else ""


class Steps:
    """Take the steps of one plan."""

    def __init__(
        self, clients: Clients, store: ObjectStore, waiting: Waiting, *, config: DeployConfig, request: Request,
        plan: DeployPlan, marks: Marks, report: Callable[[str], None], show_log: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Take what there is to work with; `report` is told what happens, `show_log` what the container writes."""
        self._clients = clients
        self._store = store
        self._waiting = waiting
        self._config = config
        self._request = request
        self._plan = plan
        self._marks = marks
        self._report = report
        self._show_log = show_log
        self._fleet = Fleet(clients.autoscaling, config.group.name)
        self._began_at = waiting.clock() - CLOCKS_APART
        self.course = Course(armed_at=plan.armed_at)

    def take(self, step: Step) -> None:
        """Take one step.

        Raises:
            DeployError: it came to a bad end.
            CloudError: a refusal, or no answer.
        """
        match step:
            case Step.SETTLE:
                self._settle()
            case Step.CLAIM:
                self._claim()
            case Step.HAND_OVER:
                self._hand_over()
            case Step.SCALE_UP:
                self._scale_up()
            case Step.WAIT_INSTANCE:
                self._wait_for_instance()
            case Step.WAIT_ONLINE:
                self._wait_for_online()
            case Step.SMOKE:
                self._smoke()
            case Step.START:
                self._start()
            case Step.FOLLOW:
                self._follow()
            case Step.VERIFY:
                self._verify()

    def _settle(self) -> None:
        waits = self._config.timeouts
        shut_down(self._fleet, self._waiting, limit_s=waits.terminate_s, settle_s=waits.settle_s, report=self._report)
        self._marks.holds = False

    def _claim(self) -> None:
        self.course.armed_at = claim_group(
            self._fleet, self._store, self._waiting, plan=self._plan, run_id=self._request.run_id, marks=self._marks
        )
        self._report(f"armed: group {self._fleet.group} goes to 0 at {self.course.armed_at:%Y-%m-%d %H:%M:%S} UTC")

    def _hand_over(self) -> None:
        request = self._request
        settings = render_settings(
            self._config, self._plan.handover, run_id=request.run_id, guards=self._plan.guards,
            need_gb=request.need_gb, names=tuple(request.secrets),
        )  # fmt: skip
        contents = {SCRIPT_NAME: read_script(), SETTINGS_NAME: settings}
        self.course.sums = compute_sums(contents)
        if request.run_config is not None:
            contents[CONFIG_NAME] = request.run_config
        for name, content in contents.items():
            self._waiting.insist(partial(self._store.write_object, locate(request.run_id, name), content))
        self._put_secrets()

    def _put_secrets(self) -> None:
        end = self.course.armed_at
        assert end is not None
        secrets = Secrets(self._clients.ssm, self._config.secrets.path, self._request.run_id)
        self._waiting.insist(lambda: secrets.put(self._request.secrets, expires_at=end))

    def _scale_up(self) -> None:
        activities = self._waiting.insist(self._fleet.read_activities)
        self.course.known_activities = frozenset(activity.activity_id for activity in activities)
        self._check_armed()
        self._marks.holds = True
        self._waiting.insist(lambda: self._fleet.set_desired(1))
        self._check_armed()  # this machine may have slept between the two

    def _check_armed(self) -> None:
        """See that the dead-man switch is still there: it has fired if this machine slept since, and others exist.

        Raises:
            CloudError: it is not.
        """
        run_id = self._request.run_id
        if all(armed.run_id != run_id for armed in self._waiting.insist(self._fleet.read_armed)):
            raise CloudError(
                f"group {self._fleet.group}: the scheduled action of run {run_id} is not on it any more; it has "
                "fired, or somebody took it off, and without it no instance is started: deploy again"
            )

    def _wait_for_instance(self) -> None:
        if Step.SCALE_UP not in self._plan.steps:
            self.course.known_activities = self._find_older_activities()
        member = self._fleet.wait_for_instance(
            self._waiting, known=self.course.known_activities, limit_s=self._config.timeouts.capacity_s,
            report=self._report,
        )  # fmt: skip
        self._meet(member)

    def _find_older_activities(self) -> frozenset[str]:
        """Find what the group undertook before the launch that an earlier deployment has asked for."""
        handed_over_at = read_moment(self._plan.handover.handover_id)
        if handed_over_at is None:
            return frozenset()
        begin = handed_over_at - CLOCKS_APART
        activities = self._waiting.insist(self._fleet.read_activities)
        return frozenset(activity.activity_id for activity in activities if activity.started_at < begin)

    def _meet(self, member: Member) -> None:
        self.course.member = member
        try:
            self.course.machine = read_machine(self._clients.ec2, member.instance_id)
        except CloudError as error:
            self._report(f"when {member.instance_id} was launched is not known: {error.message}")
        self._report(f"instance {member.instance_id}: {member.type} in {member.zone}")

    def _wait_for_online(self) -> None:
        self._make_remote().wait_for_online(limit_s=self._config.timeouts.online_s, check=self._make_watch().check)

    def _smoke(self) -> None:
        if Step.HAND_OVER not in self._plan.steps:
            self._take_over_files()
        limit_s = self._config.timeouts.smoke_s
        result = self._run_command("smoke", timeout_s=limit_s)
        if result.end == "timed out":
            if not self._waiting.insist(self._make_remote().is_online):
                raise InstanceNeverOnlineError(
                    f"instance {self.course.instance_id}: its SSM agent fell silent during the GPU smoke test"
                )
            raise GpuSmokeError(f"the GPU smoke test on {self.course.instance_id} did not end within {limit_s} s")
        self._check_result(result, otherwise=GpuSmokeError)
        self._report(f"GPU smoke test passed: {_quote(result)}")

    def _take_over_files(self) -> None:
        """Go on with what an earlier deployment has put into S3; only the secrets may be gone."""
        names = (SCRIPT_NAME, SETTINGS_NAME)
        read = self._store.read_object
        contents = {name: self._waiting.insist(partial(read, locate(self._request.run_id, name))) for name in names}
        self.course.sums = compute_sums({name: content or b"" for name, content in contents.items()})
        self._put_secrets()

    def _start(self) -> None:
        # From now on the run's own time counts, which is shorter than the whole start might have taken.
        at = self._plan.guards.compute_action(self._waiting.clock(), first=False)
        self.course.armed_at = self._waiting.insist(lambda: self._fleet.arm(self._request.run_id, at))
        try:
            result = self._run_command("start", timeout_s=self._config.timeouts.start_s)
        except (InstanceLostError, SpotInterruptionError):
            status = self._waiting.insist(lambda: read_status(self._store, self._request.run_id))
            if status is not None and status.has_ended and self._is_ours(status):
                return  # it was over before the command's result was read; `_follow` says how
            raise
        if result.end == "timed out":
            raise StartFailedError(
                f"the command that starts the run on {self.course.instance_id} did not end in time"
            )
        self._check_result(result, otherwise=StartFailedError)

    def _follow(self) -> None:
        if self.course.member is None:
            self._find_instance_of_status()
        watch = self._make_watch()
        logs = LogReader(self._clients.logs, self._config.logs.group, self._request.run_id, since=self._began_at)
        follower = Follower(
            watch, self._store, logs, run_id=self._request.run_id, handover=self._plan.handover, report=self._report,
            show_log=self._show_log,
        )  # fmt: skip
        now = self._waiting.clock()
        wanted_s = self._request.follow_for_s
        status = follower.follow(
            self._waiting,
            until=self.course.armed_at or now,
            let_go_at=None if wanted_s is None else now + timedelta(seconds=wanted_s),
        )
        if status is None:
            self.course.detached = True
        elif (error := explain_end(status)) is not None:
            raise error

    def _is_ours(self, status: InstanceStatus) -> bool:
        ours = (self._plan.handover.handover_id, self.course.instance_id)
        return (status.handover_id, status.instance_id) == ours

    def _find_instance_of_status(self) -> None:
        """Find the instance that an earlier deployment of this run has started it on."""
        status = self._waiting.insist(lambda: read_status(self._store, self._request.run_id))
        name = status.instance_id if status else ""
        group = self._waiting.insist(self._fleet.read_group)
        members = {member.instance_id: member for member in group.instances}
        self._meet(members.get(name) or Member(name, "", "", "", "", protected=False))

    def _verify(self) -> None:
        handover, run_id = self._plan.handover, self._request.run_id

        def look() -> Results:
            return verify_results(
                self._store, run_id, mode=handover.mode, control=handover.control, tests_before=handover.tests_before
            )

        try:
            self.course.results = self._waiting.wait_for(look, limit_s=VERIFY_S)
        except DeadlineError as error:
            raise ResultsMissingError(
                f"the results of run {run_id} could not be read from {self._store.location}{error}; they may be whole"
            ) from error

    def _make_watch(self) -> Watch:
        return Watch(self._fleet, self._clients.ec2, self.course.instance_id)

    def _make_remote(self) -> Remote:
        return Remote(self._clients.ssm, self.course.instance_id, self._waiting)

    def _run_command(self, action: Literal["smoke", "start"], *, timeout_s: int) -> CommandResult:
        script = render_command(
            action, storage_uri=self._config.storage.uri, region=self._config.aws.region, run_id=self._request.run_id,
            instance_id=self.course.instance_id, sums=self.course.sums,
        )  # fmt: skip
        comment = f"ghostpen {action} {self._request.run_id}"
        return self._make_remote().run_command(
            script, timeout_s=timeout_s, comment=comment, check=self._make_watch().check
        )

    def _check_result(self, result: CommandResult, *, otherwise: type[DeployError]) -> None:
        """Raise what the script's exit code says."""
        if result.succeeded:
            return
        where, said = f"instance {self.course.instance_id}", _quote(result)
        if result.end in ("undelivered", "cancelled"):
            raise InstanceNeverOnlineError(
                f"{where}: the command was {result.end}; its SSM agent has stopped answering"
            )
        match result.exit_code:
            case code if code == EXIT_PULL:
                raise ImagePullError(f"{where} could not get {self._plan.handover.image}: {said}")
            case code if code == EXIT_START:
                raise StartFailedError(
                    f"{where} could not fetch or start its script: {said}; its role needs s3:GetObject on "
                    f"{self._store.location}/runs/*"
                )
            case code:
                raise otherwise(f"{where}, exit code {code}: {said}")


def _quote(result: CommandResult) -> str:
    """Quote the end of what a command wrote: the problem that the GPU check names, or its last lines."""
    lines = [line.strip() for line in f"{result.stdout}\n{result.stderr}".splitlines() if line.strip()]
    for line in lines:
        try:
            problem = json.loads(line)["problem"]
        except (ValueError, KeyError, TypeError):
            continue
        if problem:
            return str(problem)
    return " | ".join(lines[-4:])[:600] or "it wrote nothing"
