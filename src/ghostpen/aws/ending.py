"""How a deployment lets go: the group at 0, no secret left, the dead-man switch off, in this order.

Everything here can be done again, and by anybody who knows the names; `ghostpen down` does. What has to happen is
known from two marks that are set *before* the call that they stand for: `claimed` (the scheduled action may be on the
group) and `holds` (desired capacity may be 1). If desired 1 may ever have been sent, desired 0 is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ghostpen.aws.clients import Clients
from ghostpen.aws.fleet import Fleet
from ghostpen.aws.handover import Handover, read_handover, write_over
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.secrets import Secrets
from ghostpen.aws.settings import TimeoutsConfig
from ghostpen.aws.shutdown import render_by_hand, shut_down
from ghostpen.aws.stopping import StopRequested
from ghostpen.aws.waiting import DeadlineError, Waiting
from ghostpen.errors import CloudError, ShutdownNotConfirmedError

HURRY_S = 6.0  # GitHub kills 10 seconds after it has asked for the end
HURRY_PAUSE_S = 0.5
TIDY_S = 60.0  # for what ends by itself if it can't be taken away
STOPS = (StopRequested, KeyboardInterrupt)


@dataclass
class Marks:
    """What may stand in AWS because of this deployment."""

    claimed: bool = False
    sole: bool = False  # no other deployment of the same run can be about: the claim was gone through, or not needed
    holds: bool = False
    keeps: bool = False  # action and secrets may be another deployment's of the same run: leave them
    handover_id: str = ""  # of what is known to be handed over for this deployment
    held_by: str = ""  # the run of another deployment, which had the group before this one let it go
    emptied_at: datetime | None = None  # since when the group is seen at 0 without an instance
    notes: list[str] = field(default_factory=list)  # what could not be tidied up, and when it ends by itself


class Ending:
    """The end of one run's deployment."""

    def __init__(
        self, clients: Clients, hurried: Clients, store: ObjectStore, *, group: str, run_id: str, secrets_path: str,
        secret_names: tuple[str, ...], waits: TimeoutsConfig, clock: Callable[[], datetime],
        sleep: Callable[[float], None], report: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Take the clients: those that try for long, and those that give up soon, for `hurry`."""
        self._fleet = Fleet(clients.autoscaling, group)
        self._secrets = Secrets(clients.ssm, secrets_path, run_id)
        self._store = store
        # Made now: making a client takes longer than there is time in the end.
        self._hurried_fleet = Fleet(hurried.autoscaling, group)
        self._hurried_secrets = Secrets(hurried.ssm, secrets_path, run_id)
        self._hurried_store = ObjectStore(hurried.s3, store.location, sleep=sleep)
        self._run_id = run_id
        self._secret_names = secret_names
        self._waits = waits
        self._clock = clock
        self._sleep = sleep
        self._report = report
        self._put_back_at: datetime | None = None  # where the group is up, and another run's switch guards it
        self.marks = Marks()

    def finish(self, *, sleep: Callable[[float], None]) -> None:
        """Let go and see it: takes as long as it takes, up to timeouts.terminate_s.

        What others hold by now is theirs: they could take it because this run was over, while this machine slept.

        Args:
            sleep: may raise when it is to stop; what is left is then `hurry`'s.

        Raises:
            ShutdownNotConfirmedError: the group was not seen at 0; everything else was done.
        """
        waiting = Waiting(self._waits.poll_s, self._clock, sleep)
        shout: ShutdownNotConfirmedError | None = None
        if self.marks.holds and not self.marks.keeps:
            self.marks.held_by = self._find_successor()
            self.marks.holds = not self.marks.held_by
            self.marks.keeps = self.marks.held_by == self._run_id
        if self.marks.holds:
            self.marks.emptied_at = None
            try:
                self.marks.emptied_at = shut_down(
                    self._fleet, waiting, limit_s=self._waits.terminate_s, settle_s=self._waits.settle_s,
                    report=self._report,
                )  # fmt: skip
            except ShutdownNotConfirmedError as error:
                shout = error
        touched = (self.marks.claimed or self.marks.holds) and not self.marks.keeps
        if touched and not self._may_tidy(self._fleet, self._store):
            self.marks.notes.append(
                f"the scheduled action ghostpen-{self._run_id} is left on group {self._fleet.group}, for another "
                "deployment of the same run may rely on it"
            )
        elif touched:
            self._tidy(
                waiting,
                lambda: self._secrets.delete(self._secret_names),
                f"secrets below {self._secrets.path} could not be deleted, and end by themselves",
            )
            # With the group still up, it is what ends it.
            if shout is None:
                self._tidy(
                    waiting,
                    lambda: self._disarm(self._fleet),
                    f"the scheduled action ghostpen-{self._run_id} is still on group {self._fleet.group} and does no "
                    "harm; until it fires, `ghostpen down` frees the group",
                )
        if shout is not None:
            raise shout

    def hurry(self, handover: Handover) -> str:
        """Let go within seconds, and say what was done: nobody waits for the instance's end.

        The scheduled action stays on the group, because an instance may still be on its way.

        Raises:
            ShutdownNotConfirmedError: AWS did not take desired capacity 0.
        """
        end = self._clock() + timedelta(seconds=HURRY_S)
        if not (self.marks.claimed or self.marks.holds) or self.marks.keeps:
            return "nothing was started"
        trouble = self._insist(lambda: self._hurried_fleet.set_desired(0), end) if self.marks.holds else None
        if not self._may_tidy(self._hurried_fleet, self._hurried_store):
            return "no instance was started by this deployment, and another one of the same run is left alone"
        self._insist(lambda: self._hurried_secrets.delete(self._secret_names), end, tries=2)
        if trouble is not None:
            raise ShutdownNotConfirmedError(
                f"cancelled, and group {self._fleet.group} could not be set to 0 ({trouble}): A GPU MAY BE RUNNING "
                f"AND COSTING MONEY. By hand: {render_by_hand(self._fleet)}"
            ) from trouble
        if not self.marks.holds:
            self._insist(lambda: self._disarm(self._hurried_fleet), end, tries=2)
        self._insist(lambda: write_over(self._hurried_store, self._run_id, handover), end, tries=1)
        if not self.marks.holds:
            return "no instance was started"
        return (
            f"group {self._fleet.group} is set to 0, and its instance goes; `ghostpen down --group "
            f"{self._fleet.group} --region {self._fleet.region}` sees it out and frees the group"
        )

    def _may_tidy(self, fleet: Fleet, store: ObjectStore) -> bool:
        """Say whether switch and secrets are this deployment's, and not one's of the same run beside it that is up.

        Left where they are they end by themselves, and with them the run that has the group by then. Taken from a
        group that is up they would leave it unguarded, so another run's switch has to be on it, and whoever handed
        over for this run last must be this deployment: any other one of the run sees that, and goes on no more.
        """
        if self.marks.sole or self.marks.holds:
            return True
        try:
            if not _is_up(fleet):
                return True
            armed = fleet.read_armed()
            found = read_handover(store, self._run_id)
        except (Exception, *STOPS):
            return False
        self._put_back_at = next((holder.at for holder in armed if holder.run_id == self._run_id), None)
        is_guarded = any(holder.run_id != self._run_id for holder in armed)
        return is_guarded and found is not None and found.handover_id == self.marks.handover_id

    def _disarm(self, fleet: Fleet) -> None:
        """Take the switch off; back it goes if the other one has been taken off meanwhile, and the group is up."""
        fleet.disarm(self._run_id)
        if self._put_back_at is not None and not fleet.read_armed() and _is_up(fleet):
            fleet.arm(self._run_id, self._put_back_at)

    def _find_successor(self) -> str:
        """Name the run that has the group by now, if that is certain; its own switch guards it.

        It is another run where that alone has its scheduled action on the group, and another deployment of the same
        run where that has handed over anew.
        """
        try:
            armed = [holder.run_id for holder in self._fleet.read_armed()]
            if self._run_id not in armed:
                return next(iter(armed), "")
            found = read_handover(self._store, self._run_id) if self.marks.handover_id else None
        except Exception:  # whatever it is: a GPU may be running, and it is this run's
            return ""
        return self._run_id if found is not None and found.handover_id != self.marks.handover_id else ""

    def _insist(self, call: Callable[[], Any], end: datetime, *, tries: int = 1000) -> BaseException | None:
        """Call until it works, time is up or it was tried often enough; give what stood in the way."""
        trouble: BaseException | None = None
        while trouble is None or (tries > 0 and self._clock() < end):
            tries -= 1
            try:
                if trouble is not None:
                    self._sleep(HURRY_PAUSE_S)
                call()
            except (Exception, *STOPS) as error:  # whatever it is: a GPU may be running
                trouble = error
            else:
                return None
        return trouble

    def _tidy(self, waiting: Waiting, call: Callable[[], None], note: str) -> None:
        def look() -> bool:
            call()
            return True

        try:
            waiting.wait_for(look, limit_s=TIDY_S)
        except DeadlineError as error:
            self.marks.notes.append(f"{note}{error}")
        except CloudError as error:
            self.marks.notes.append(f"{note} ({error.message})")


def _is_up(fleet: Fleet) -> bool:
    group = fleet.read_group()
    return group.desired > 0 or bool(group.instances)
