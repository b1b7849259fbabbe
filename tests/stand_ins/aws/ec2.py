"""EC2: instances from launch to gone, and what befalls them.

Knows nothing of groups: who wants to hear of an instance's end registers with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.stand_ins.aws.agents import Agent
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import AGENT_AWAY_S, Mishap, Phase
from tests.stand_ins.aws.instances import Host, Instance, State
from tests.stand_ins.aws.timeline import Event, Timeline
from tests.stand_ins.aws.world import GroupSpec, World


class Ec2:
    """All instances of the account."""

    def __init__(
        self, world: World, timeline: Timeline, faults: Faults, make_host: Callable[[Instance], Host]
    ) -> None:
        self._world = world
        self._timeline = timeline
        self._faults = faults
        self._make_host = make_host
        self._instances: dict[str, Instance] = {}
        self._incidents: dict[str, list[Event]] = {}
        self._launched = 0

    def list_instances(self) -> list[Instance]:
        """List all that were ever launched."""
        return list(self._instances.values())

    def find(self, instance_id: str) -> Instance | None:
        """Find an instance that AWS still shows."""
        instance = self._instances.get(instance_id)
        return None if instance is None or instance.forgotten else instance

    # -- from launch to gone --

    def launch(self, group: GroupSpec, type_name: str, zone: str) -> Instance:
        """Make an instance, which will run after a while."""
        self._launched += 1
        plan = self._faults.plan_instance(self._launched)
        delays = self._world.delays
        instance = Instance(
            id=f"i-{self._launched:017x}",
            number=self._launched,
            type=type_name,
            zone=zone,
            spot=group.spot or any(incident.mishap is Mishap.SPOT for incident in plan.incidents),
            group=group,
            plan=plan,
            agent=Agent(self._timeline, ping_lost_s=delays.ping_lost_s),
            launched_at=self._timeline.now(),
        )
        instance.host = self._make_host(instance)
        instance.announce = lambda phase: self._schedule_incidents(instance, phase)
        self._instances[instance.id] = instance
        self._incidents[instance.id] = []
        self._timeline.call_later(plan.in_service_s / 2, lambda: self._run(instance))
        return instance

    def _run(self, instance: Instance) -> None:
        if instance.state is not State.PENDING:
            return
        if instance.plan.boot_fails:
            self.lose(instance, "Server.InternalError", "Server.InternalError: Internal error on launch")
            return
        instance.state = State.RUNNING
        instance.running_at = self._timeline.now()
        if instance.plan.agent_online_s is not None:
            self._timeline.call_later(instance.plan.agent_online_s, lambda: self._register(instance))
        instance.host.boot()
        instance.announce(Phase.BOOT)
        for listener in instance.on_running:
            listener()

    def _register(self, instance: Instance) -> None:
        if instance.state is State.RUNNING and not instance.agent.silenced:
            instance.agent.connect()

    def terminate(self, instance: Instance, code: str = "Client.UserInitiatedShutdown") -> None:
        """Shut an instance down: SIGTERM to what runs on it, SIGKILL after a grace, gone after a while."""
        if not instance.alive:
            return
        terminate_s = instance.plan.terminate_s
        self._end(instance, State.SHUTTING_DOWN, (code, f"{code}: User initiated shutdown"))
        instance.host.terminate()
        self._timeline.call_later(min(self._world.delays.stop_grace_s, terminate_s), instance.host.kill)
        self._timeline.call_later(terminate_s, lambda: self._vanish(instance))

    def lose(self, instance: Instance, code: str, message: str) -> None:
        """Let an instance be gone at once, with what runs on it."""
        if not instance.alive:
            return
        self._end(instance, State.SHUTTING_DOWN, (code, message))
        instance.host.kill()
        self._vanish(instance)

    def interrupt(self, instance: Instance) -> None:
        """Give notice of a spot interruption, and take the instance when that has run out."""
        taken_at = self._timeline.now() + self._world.delays.spot_warning_s
        instance.spot_taken_at = taken_at
        instance.host.warn_of_spot()
        code, message = "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination"
        self._timeline.call_at(taken_at, lambda: self.lose(instance, code, message))

    def hang(self, instance: Instance) -> None:
        """Let everything on the instance stand still, while EC2 calls it running."""
        instance.agent.silence()
        instance.host.freeze()

    def _end(self, instance: Instance, state: State, reason: tuple[str, str]) -> None:
        instance.state = state
        instance.stopped_at = self._timeline.now()
        instance.reason = reason
        instance.agent.silence()
        for incident in self._incidents[instance.id]:
            incident.cancel()
        for listener in instance.on_end:
            listener()

    def _vanish(self, instance: Instance) -> None:
        instance.state = State.TERMINATED
        for listener in instance.on_gone:
            listener()
        self._timeline.call_later(self._world.delays.forget_s, lambda: _forget(instance))

    # -- mishaps --

    def _schedule_incidents(self, instance: Instance, phase: Phase) -> None:
        for incident in instance.plan.incidents:
            if incident.phase is phase and instance.alive:
                strike = partial(self.strike, instance, incident.mishap)
                event = self._timeline.call_later(incident.after_s, strike)
                self._incidents[instance.id].append(event)

    def strike(self, instance: Instance, mishap: Mishap) -> None:
        """Let something befall an instance."""
        match mishap:
            case Mishap.DIES:
                self.lose(instance, "Server.InternalError", "Server.InternalError: Internal error")
            case Mishap.SPOT:
                self.interrupt(instance)
            case Mishap.HANGS:
                self.hang(instance)
            case Mishap.AGENT_LOST:
                instance.agent.silence()
            case Mishap.AGENT_AWAY:
                instance.agent.silence()
                self._timeline.call_later(AGENT_AWAY_S, lambda: self._reconnect(instance))

    def _reconnect(self, instance: Instance) -> None:
        if instance.state is State.RUNNING:
            instance.agent.connect()


def _forget(instance: Instance) -> None:
    instance.forgotten = True
