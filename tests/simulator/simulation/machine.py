"""A VM as a state machine: the stages of the boot program, then of the agent, each an event of its own."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from agent_stack.adapters.ec2.requests import HOLD_TAG
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import BootStage
from agent_stack.domain.vms import WAITS, Assignment
from tests.simulator.buildkite.transport import Ask
from tests.simulator.cloud import Instance
from tests.simulator.memory import Store
from tests.simulator.simulation.kernel import Kernel

SECOND = timedelta(seconds=1)
POLL = 0.2
"""Seconds from one look of a VM that stands by to the next (infra/vm/standby.sh)."""

REQUEST = 0.05
"""Seconds of each of its requests: a program that starts, a connection, an answer from within the region."""

BEFORE_TAKING = 0.1
"""From the look that finds the job: its timer is armed, and it asks for the credential."""

SPOT_LOOK_IDLE = 5.0
"""Seconds between two looks for a spot notice while a VM stands by (infra/vm/standby.sh)."""

SPOT_LOOK_RUNNING = 2.0
"""The same while its agent runs (infra/vm/agent.sh). In between, on its way up, nobody looks."""

HOLD_VERDICT = timedelta(seconds=90)
"""How long a VM whose boot failed waits for its hold (infra/vm/hold.sh)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temper:
    """How likely a VM is to fail on its way up, and how long its parts take."""

    fails_booting: float = 0.0  # before it takes the credential
    fails_starting: float = 0.0  # after
    dies_anywhere: float = 0.0
    loses_credential: float = 0.0  # the answer to its taking never arrives
    hangs: float = 0.0  # never does anything, not even end itself
    loses_timer: float = 0.0  # does its work, but its lifetime timer never fires
    outstays: float = 0.0  # is held, and does not end itself when that is over
    boot: tuple[float, float] = (1.0, 6.0)


class VirtualVm:
    """One running instance."""

    def __init__(
        self,
        *,
        instance: Instance,
        arn: InstanceArn,
        kernel: Kernel,
        store: Store,
        ask: Ask,
        chance: random.Random,
        temper: Temper,
        unassigned: timedelta,
        lifetime: timedelta,
        longest_hold: timedelta = timedelta(),
        power_off: Callable[[str], None],
        hit: Callable[[str], None],
    ) -> None:
        self.instance_id = instance.instance_id
        self.alive = True
        self.job_id: str | None = None
        """The job whose credential this VM took."""
        self.agent_has_job = False
        self.held_until: datetime | None = None
        """When its hold is over, by its own clock; None of one that is not held."""
        self.noticed = False
        """Its metadata announces that EC2 takes it back."""
        self.mute = False
        """Its records are out of its reach: what it reports never arrives. The job goes on."""
        self._arn = arn
        self._kernel = kernel
        self._store = store
        self._ask = ask
        self._chance = chance
        self._temper = temper
        self._power_off = power_off
        self._hit = hit
        self._longest_hold = longest_hold
        self._gives_up_at = kernel.now() + unassigned
        self._lifetime = lifetime
        self._lives = 0  # counts its lifetime timers, of which the last one counts
        self._hold = _seconds((instance.metadata_tags or {}).get(HOLD_TAG, ""))
        self._born_at = kernel.now()
        self._session = ""
        self._token = ""
        self._ends_at = kernel.now()
        self._stopping = False  # by a spot notice
        self._takes = False  # it stood by, and has found a job
        self._said: list[str] = []
        self._polls = random.Random(f"{instance.instance_id} polls")
        self._lost = random.Random(instance.instance_id)  # a stream of its own, so that it moves no other draw
        if chance.random() < temper.hangs:
            kernel.note(f"{self.instance_id} hangs")
            self._hit("VM hangs")
            return
        self._keeps_time = chance.random() >= temper.loses_timer
        if self._keeps_time:
            self._arm(lifetime if self._hold is None else self._hold + lifetime)
        if self._hold is not None:
            self._then(SECOND * chance.uniform(*temper.boot), "network is up", self._prepare_first)
            return
        self._then(SECOND * chance.uniform(*temper.boot), "network is up", self._look)

    def stop(self) -> None:
        """The power is cut."""
        self.alive = False

    def spot_notice(self) -> None:
        """EC2 announces that it takes the VM back in two minutes. The VM learns of it with its next look."""
        self.noticed = True
        if self._arn in self._store.waiting_vms:
            self._kernel.after(SECOND * self._polls.uniform(0, SPOT_LOOK_IDLE), "", self._end_of_standing_by)

    def console(self) -> str:
        """What it said at each stage, and at its end."""
        return "\n".join(self._said)

    # --- standing by ---

    def _prepare_first(self) -> None:
        """All that does not depend on a job, before there is one."""
        if self._chance.random() < self._temper.fails_booting:
            self._hit("boot program fails")
            self._then(SECOND, "preparation failed", self._fail_unprepared)
            return
        self._then(SECOND * self._chance.uniform(0.5, 3), "stands by", self._wait)

    def _fail_unprepared(self) -> None:
        if self._store.find_letter(self._arn) is not None:
            self._fail_booting()
        else:
            self._off()

    def _wait(self) -> None:
        self._store.waiting_vms.pop(self._arn, None)
        if not self.alive:
            return
        assert self._hold is not None
        over = self._kernel.now() - self._born_at >= self._hold
        assignment = self._store.find_letter(self._arn)
        if assignment is not None:
            self._takes = True
            if self._keeps_time:
                self._arm(self._lifetime)
            self._then(SECOND * BEFORE_TAKING, "takes the credential", lambda: self._take(assignment))
        elif self.noticed:
            self._then(SECOND * self._polls.uniform(0, SPOT_LOOK_IDLE), "", self._end_of_standing_by)
        elif self._arn in self._store.closed:
            self._then(SECOND * 0.2, "is closed", self._off)
        elif over:
            self._then(SECOND * 0.2, "found no job within its hold", self._off)
        else:  # what its looks would not find is no event of this world
            self._store.waiting_vms[self._arn] = self._look_soon
            left = self._hold - (self._kernel.now() - self._born_at)
            self._kernel.after(left, "", lambda: self._wait() if self._store.waiting_vms.get(self._arn) else None)

    def _end_of_standing_by(self) -> None:
        """A look once more, because the ledger may have given it a job; that goes to another VM at once."""
        if not self.alive or self.job_id is not None or self._takes:
            return
        self._store.waiting_vms.pop(self._arn, None)
        self._hit("spot notice")
        if self._store.find_letter(self._arn) is not None:
            self._report(BootStage.FAILED, "EC2 takes the VM back (spot notice)")
        self._then(SECOND * REQUEST, "spot notice", self._off)

    def _look_soon(self) -> None:
        wait = SECOND * (self._polls.uniform(0, POLL + REQUEST) + REQUEST)
        self._kernel.after(wait, "", lambda: self._wait() if self.alive else None)

    def _arm(self, lifetime: timedelta) -> None:
        """A timer in place of the one before."""
        self._lives += 1
        number = self._lives
        self._kernel.after(lifetime, "", lambda: self._lifetime_over() if number == self._lives else None)

    # --- boot program ---

    def _look(self) -> None:
        assignment = self._store.find_letter(self._arn)
        if assignment is not None:
            self._report(BootStage.BOOTING)
            self._then(SECOND * 0.3, "prepares", lambda: self._prepare(assignment))
        elif self._kernel.now() >= self._gives_up_at:
            self._then(SECOND, "found no job", self._off)
        else:
            self._then(SECOND, "", self._look)

    def _prepare(self, assignment: Assignment) -> None:
        if self._chance.random() < self._temper.fails_booting:
            self._hit("boot program fails")
            self._fail_booting()
            return
        self._report(BootStage.PREPARING)
        self._then(SECOND * self._chance.uniform(0.5, 3), "takes the credential", lambda: self._take(assignment))

    def _take(self, assignment: Assignment) -> None:
        credential = self._store.take_credential(self._arn)
        if credential is None:
            self._then(SECOND * 0.2, "came too late for the credential", self._off)
            return
        if self._lost.random() < self._temper.loses_credential:
            self._hit("credential lost on its way")
            self._report(BootStage.CREDENTIAL_LOST)
            self._then(SECOND * 5, "asks for another credential", lambda: self._take(assignment))
            return
        self.job_id = assignment.job_id
        if self._chance.random() < self._temper.fails_starting:
            self._hit("agent cannot start")
            self._report(BootStage.FAILED, "agent cannot be started")
            self._then(SECOND, "agent cannot be started", self._off)
            return
        self._then(SECOND * 0.3, "starts the agent", lambda: self._register(assignment, credential))

    def _fail_booting(self) -> None:
        """It has a job, and did not take the credential: it tells so, and may be held."""
        self._report(BootStage.FAILED, (WAITS if self._longest_hold else "") + "disk is on fire")
        waits_until = self._kernel.now() + HOLD_VERDICT
        after = partial(self._await_hold, waits_until) if self._longest_hold else self._off
        self._then(SECOND, "boot program failed", after)

    def _await_hold(self, until: datetime) -> None:
        seconds = self._store.hold_seconds(self._arn)
        if seconds is not None and timedelta() < SECOND * seconds <= self._longest_hold:
            self.held_until = self._kernel.now() + SECOND * seconds
            self._kernel.note(f"{self.instance_id} is held for {seconds} s")
            self._hit("VM held")
            if self._lost.random() >= self._temper.outstays:
                self._then(SECOND * seconds, "its hold is over", self._off)
        elif self._kernel.now() >= until:
            self._then(SECOND, "is not held", self._off)
        else:
            self._then(SECOND, "", partial(self._await_hold, until))

    # --- agent ---

    def _register(self, assignment: Assignment, credential: str) -> None:
        # As the boot program: without a queue where the stack calls the cluster's default queue by an alias.
        queue = [f"queue={assignment.queue_key}"] if assignment.queue_key else []
        tags = [*queue, *assignment.agent_tags]
        answer = self._ask("POST", "/register", credential, {"name": assignment.agent_name, "meta_data": tags})
        if answer is None:
            self._exit("1 cannot register")
            return
        self._session = answer["access_token"]
        self._ask("POST", "/connect", self._session, None)
        self._then(SECOND * 0.2, "acquires", lambda: self._acquire(assignment))

    def _acquire(self, assignment: Assignment) -> None:
        answer = self._ask("PUT", f"/jobs/{assignment.job_id}/acquire", self._session, None)
        if answer is None:
            self._ask("POST", "/disconnect", self._session, None)
            self._exit("27 not acquirable")
            return
        self.agent_has_job = True
        self._token = answer["token"]
        self._ask("PUT", f"/jobs/{assignment.job_id}/start", self._token, {"started_at": "now"})
        self._report(BootStage.AGENT_STARTED)
        self._ends_at = self._kernel.now() + SECOND * float(answer["env"].get("SIM_SECONDS", "5"))
        exits = answer["env"].get("SIM_EXIT", "0").split()  # one for each attempt; further ones end as the last one
        exit_status = exits[min(int(answer["env"].get("BUILDKITE_RETRY_COUNT", "0")), len(exits) - 1)]
        self._then(SECOND, "", lambda: self._run(assignment, exit_status))

    def _run(self, assignment: Assignment, exit_status: str) -> None:
        answer = self._ask("GET", f"/jobs/{assignment.job_id}", self._token, None)
        cancelled = answer is not None and answer["state"] in {"canceling", "canceled"}
        if self.noticed and not self._stopping:
            self._stopping = True
            self._hit("spot notice")
            self._report(BootStage.SPOT_NOTICE)
            self._ends_at = min(self._ends_at, self._kernel.now() + SECOND * self._polls.uniform(0, SPOT_LOOK_RUNNING))
            exit_status = "-1"
        if cancelled or self._kernel.now() >= self._ends_at:
            status = "-1" if cancelled else exit_status
            self._ask("PUT", f"/jobs/{assignment.job_id}/finish", self._token, {"exit_status": status})
            self.agent_has_job = False
            self._ask("POST", "/disconnect", self._session, None)
            self._exit("0 (spot notice)" if self._stopping else "0")
        else:
            self._then(SECOND, "", lambda: self._run(assignment, exit_status))

    def _exit(self, detail: str) -> None:
        self._report(BootStage.AGENT_EXITED, detail)
        self._then(SECOND * 0.5, f"agent exited: {detail}", self._off)

    def _lifetime_over(self) -> None:
        if self.alive:
            self._kernel.note(f"{self.instance_id} ends its lifetime")
            self._off()

    def _off(self) -> None:
        self.stop()
        self._power_off(self.instance_id)

    def _report(self, stage: BootStage, detail: str = "") -> None:
        if not self.mute:
            self._store.report(self._arn, stage, detail)

    def _then(self, delay: timedelta, what: str, action: Callable[[], None]) -> None:
        """The next stage, unless the power is cut before."""

        def go() -> None:
            if not self.alive:
                return
            if what:
                self._said.append(what)
            if self._chance.random() < self._temper.dies_anywhere:
                self._kernel.note(f"{self.instance_id} dies")
                self._hit("VM dies")
                self._off()
            else:
                action()

        self._kernel.after(delay, f"{self.instance_id} {what}" if what else "", go)


def _seconds(tag: str) -> timedelta | None:
    return timedelta(seconds=int(tag)) if tag else None
