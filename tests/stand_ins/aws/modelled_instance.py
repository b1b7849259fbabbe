"""An instance without processes: what its user data and the deployment's commands do, step by step.

The twin of `src/ghostpen/aws/instance/run.sh` and of the template's user data, for the virtual clock: same phases,
same objects in S3, same end. Every call that it makes goes through the simulator's rights and faults, as the
instance's own. The words that both sides know stand in `protocol.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from tests.stand_ins.aws.api import Answer, ApiError, CallFailed, Request
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import AnswerLost, Phase, Pull, Refused, Smoke, Unreachable
from tests.stand_ins.aws.instances import CommandResult, Execution, Instance
from tests.stand_ins.aws.modelled_run import ModelledRun
from tests.stand_ins.aws.protocol import (
    EXIT_PULL,
    EXIT_SMOKE,
    EXIT_START,
    SCRIPT_NAME,
    SETTINGS_NAME,
    Order,
    OrderKind,
    RunSettings,
    read_order,
    read_settings,
)
from tests.stand_ins.aws.timeline import Program, Steps

FOREVER_S = 10 * 365 * 86400.0
TRIES = 8  # of giving the instance back
CommandSteps = Generator[float, None, CommandResult]


class ModelledHost:
    """The programs on one instance."""

    def __init__(self, simulator: Simulator, instance: Instance) -> None:
        self._simulator = simulator
        self._instance = instance
        self._programs: list[Program] = []  # timers and commands
        self._armed: set[tuple[str, str]] = set()
        self._pulled = False
        self.run: ModelledRun | None = None

    # -- instances.Host --

    def boot(self) -> None:
        group = self._instance.group
        if self._instance.plan.boot_timers_work:
            if group.age_timer_s is not None:
                self._start(self._give_back_after(group.age_timer_s))
            if group.idle_timer_s is not None:
                self._start(self._give_back_if_idle(group.idle_timer_s))

    def execute(self, script: str, done: Callable[[CommandResult], None]) -> Execution:
        def steps() -> Steps:
            done((yield from self._obey(read_order(script))))

        return _ModelledExecution(self._start(steps()), done)

    def terminate(self) -> None:
        if self.run is not None:
            self.run.stop()

    def kill(self) -> None:
        for program in self._programs:
            program.kill()
        if self.run is not None:
            self.run.program.kill()

    def freeze(self) -> None:
        self.kill()  # nothing on it ever goes on

    def warn_of_spot(self) -> None:
        if self.run is not None:
            self.run.see_spot_notice()

    def start_timer(self, seconds: float, command: Sequence[str], *, log: str) -> None:
        raise NotImplementedError("a modelled instance has no processes; see arm")

    # -- commands --

    def _start(self, steps: Steps) -> Program:
        program = self._simulator.timeline.start(steps)
        self._programs.append(program)
        return program

    def _obey(self, order: Order) -> CommandSteps:
        if order.kind is OrderKind.UNKNOWN:
            return CommandResult(127, "", "the modelled instance does not know this command; see protocol.py\n")
        yield 2.0  # fetching script and settings
        try:
            self.call("s3", "GetObject", Bucket=order.bucket, Key=order.locate(SCRIPT_NAME))
            answer = self.call("s3", "GetObject", Bucket=order.bucket, Key=order.locate(SETTINGS_NAME))
        except CallFailed as error:
            return CommandResult(EXIT_START, "", f"fatal error: {error}\n")
        settings = read_settings(answer["Body"].read().decode())
        if order.kind is OrderKind.START:
            return self._start_unit(order, settings)
        return (yield from self._smoke(order, settings))

    def _smoke(self, order: Order, settings: RunSettings) -> CommandSteps:
        """Run the GPU smoke test: the driver, the image, CUDA in the image."""
        plan = self._instance.plan
        self.arm("smoke", settings.smoke_timer_s, order, settings)
        self._instance.announce(Phase.SMOKE)
        if plan.smoke is Smoke.STUCK:
            yield FOREVER_S
        yield 2.0
        if plan.smoke is Smoke.NO_DRIVER:
            return CommandResult(EXIT_SMOKE, "", "NVIDIA-SMI has failed\n")
        if not (yield from self.pull(limit_s=settings.smoke_s)):
            return CommandResult(EXIT_PULL, "", "failed to register layer: no space left on device\n")
        yield 8.0
        if plan.smoke in {Smoke.NO_CUDA, Smoke.NO_MEMORY}:
            return CommandResult(EXIT_SMOKE, "", f"{plan.smoke}\n")
        return CommandResult(0, "NVIDIA L40S, 44.0 GB free\n")

    def pull(self, *, limit_s: float) -> Generator[float, None, bool]:
        """Pull the image, once; False where that fails or takes too long."""
        plan = self._instance.plan
        if self._pulled:
            return True
        if plan.pull is Pull.STUCK or plan.pull_s > limit_s:
            yield limit_s
            return False
        yield plan.pull_s
        self._pulled = plan.pull is Pull.WORKS
        return self._pulled

    def _start_unit(self, order: Order, settings: RunSettings) -> CommandResult:
        """Start the run's unit; a second command of the same kind starts nothing."""
        if self.run is not None:
            return CommandResult(0, "the run was started before\n")
        self.arm("run", settings.timer_s, order, settings)
        self.run = ModelledRun(self, self._simulator, self._instance, order, settings)
        return CommandResult(0, f"Running as unit: ghostpen-{settings.run_id}.service\n")

    # -- the end --

    def arm(self, name: str, seconds: float, order: Order, settings: RunSettings) -> None:
        """End the instance after a time, whatever has become of everything else; the same timer only once."""
        if (settings.run_id, name) in self._armed:
            return
        self._armed.add((settings.run_id, name))
        run = ModelledRun(self, self._simulator, self._instance, order, settings, only_ends_after_s=seconds)
        self._programs.append(run.program)

    def _give_back_after(self, seconds: float) -> Steps:
        yield seconds
        yield from self.give_back()

    def _give_back_if_idle(self, seconds: float) -> Steps:
        yield seconds
        while self.run is not None and self.run.program.alive:
            yield 300.0
        yield from self.give_back()

    def give_back(self) -> Steps:
        """Ask the group to end this instance and not to replace it; as a last resort shut down."""
        for number in range(1, TRIES + 1):
            for decrement in (True, False):
                try:
                    self._ask_for_end(decrement=decrement)
                    return
                except CallFailed as error:
                    if "equals minSize" not in str(error):  # desired capacity is 0: then nothing is replaced
                        break
            yield 5.0 * number
        self._simulator.ec2.terminate(self._instance, "Client.InstanceInitiatedShutdown")

    def _ask_for_end(self, *, decrement: bool) -> None:
        self.call(
            "autoscaling",
            "TerminateInstanceInAutoScalingGroup",
            InstanceId=self._instance.id,
            ShouldDecrementDesiredCapacity=decrement,
        )

    def call(self, service: str, operation: str, **params: Any) -> Answer:
        """Make an API call as this instance.

        Raises:
            CallFailed: a refusal, or no answer.
        """
        simulator = self._simulator
        request = Request(service, operation, params, self._instance.id, simulator.timeline.now())
        simulator.record(request)
        failure = simulator.faults.count_call(request.name, by_instance=True)
        if isinstance(failure, Refused | Unreachable):
            raise CallFailed(str(failure))
        try:
            answer = simulator.answer(request)
        except ApiError as error:
            raise CallFailed(str(error)) from error
        if isinstance(failure, AnswerLost):
            raise CallFailed("no answer")
        return answer


class _ModelledExecution:
    """A command's program, which can be killed."""

    def __init__(self, program: Program, done: Callable[[CommandResult], None]) -> None:
        self._program = program
        self._done = done

    def cancel(self) -> None:
        if self._program.alive:
            self._program.kill()
            self._done(CommandResult(137))
