"""Batons: who owns a job is settled before anything is destroyed, and a lost credential is replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import InstanceArn, JobId, QueueKey
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import MAX_REISSUES, BootStage, CredentialHolder, JobState, Outcome, VmState
from agent_stack.ports import JobStates, JobTokens
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.decide import Decide
from agent_stack.tracker.refresh_credentials import RefreshCredentials
from agent_stack.tracker.revoke import FAILURES_PER_CYCLE, Revoke
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryLedger, MemoryMailbox, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_letter, a_policy, a_run, a_vm

BOOT_TIMEOUT = timedelta(seconds=300)


class Jobs:
    """Buildkite, as far as states and tokens go."""

    def __init__(self, states: Mapping[JobId, JobState]) -> None:
        self.states = dict(states)
        self.issued = 0

    def job_states(self, queue: QueueKey, job_ids: Sequence[JobId]) -> JobStates:
        return JobStates(states={job_id: self.states[job_id] for job_id in job_ids if job_id in self.states})

    def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
        self.issued += len(job_ids)
        tokens = dict.fromkeys(job_ids, f"bkjat_{self.issued}")
        return JobTokens(tokens=tokens, not_issued=frozenset())


class Records:
    """A ledger with its mailboxes, and one booting run in them."""

    def __init__(self, count: int = 1) -> None:
        self.store = Store()
        self.ledger = MemoryLedger(store=self.store)
        self.mailbox = MemoryMailbox(store=self.store)
        for number in range(1, count + 1):
            (run,) = self.ledger.record([a_run(number)])
            run = run.bound(a_vm(number), now=EPOCH)
            self.ledger.bind([(run, a_letter(run, a_vm(number)))])

    @property
    def runs(self) -> list[Run]:
        return list(self.ledger.active_runs())

    def looked_at(self, state: JobState, *, seconds: float = 1, read: bool = True) -> TrackerCycle:
        """A cycle in which that much time has passed since the binding."""
        now = EPOCH + timedelta(seconds=seconds)
        mailbox_statuses = self.mailbox.read([run.binding.arn for run in self.runs if run.binding]) if read else {}
        situations = tuple(
            Situation(
                run=replace(run, reserved_until=now + timedelta(hours=1)),
                vm=a_vm(state=VmState.RUNNING),
                described=True,
                job_state=state,
                mailbox_status=mailbox_statuses.get(run.binding.arn) if run.binding else None,
                boot_timeout=BOOT_TIMEOUT,
                policy=a_policy(),
                now=now,
            )
            for run in self.runs
        )
        return Decide(telemetry=RecordedTelemetry())(TrackerCycle(now=now, situations=situations))

    def claim(self, jobs: Jobs, cycle: TrackerCycle, mailbox: Any = None) -> TrackerCycle:  # noqa: ANN401  (what stands for it)
        stacks: Any = jobs
        step = Revoke(mailbox=mailbox or self.mailbox, ledger=self.ledger, stacks=stacks, telemetry=RecordedTelemetry())
        return step(cycle)


def test_with_the_baton_here_the_state_read_last_decides() -> None:
    records = Records()
    (run,) = records.runs
    after = records.claim(Jobs({run.job_id: JobState.CANCELED}), records.looked_at(JobState.CANCELED))
    verdict = after.verdicts[run.job_id]
    assert (verdict.decision.action, verdict.decision.outcome) == (Action.END, Outcome.CANCELLED)
    assert records.runs[0].credential_holder is CredentialHolder.TRACKER
    assert records.store.take_credential(a_vm().arn) is None


def test_a_vm_that_was_quicker_has_the_job() -> None:
    records = Records()
    (run,) = records.runs
    cycle = records.looked_at(JobState.RESERVED, seconds=301)
    assert records.store.take_credential(a_vm().arn) is not None
    after = records.claim(Jobs({run.job_id: JobState.RESERVED}), cycle)
    assert after.verdicts[run.job_id].decision.action is Action.KEEP
    assert records.runs[0].credential_holder is CredentialHolder.VM


def test_past_the_second_time_out_an_agent_that_has_come_meanwhile_is_left_alone() -> None:
    records = Records()
    (run,) = records.runs
    records.store.take_credential(a_vm().arn)
    cycle = records.looked_at(JobState.RESERVED, seconds=600)
    assert cycle.verdicts[run.job_id].decision.action is Action.TERMINATE
    still = records.claim(Jobs({run.job_id: JobState.RESERVED}), cycle)
    assert still.verdicts[run.job_id].decision.action is Action.TERMINATE
    came = records.claim(Jobs({run.job_id: JobState.RUNNING}), cycle)
    assert came.verdicts[run.job_id].decision.action is Action.RUN
    unknown = records.claim(Jobs({}), cycle)
    assert unknown.verdicts[run.job_id].decision.action is Action.KEEP


def test_a_job_that_an_agent_elsewhere_has_is_let_go_with_its_vm() -> None:
    records = Records()
    (run,) = records.runs
    after = records.claim(Jobs({run.job_id: JobState.RUNNING}), records.looked_at(JobState.RUNNING))
    verdict = after.verdicts[run.job_id]
    assert (verdict.decision.action, verdict.decision.outcome) == (Action.END, Outcome.RELEASED)


class Unreachable:
    """Mailboxes of which none can be reached."""

    def __init__(self) -> None:
        self.asked: list[InstanceArn] = []

    def revoke_credential(self, arn: InstanceArn) -> bool:
        self.asked.append(arn)
        raise RetryError("throttled")


def test_mailboxes_that_cannot_be_reached_hold_up_no_tick_and_end_nothing() -> None:
    records, mailbox = Records(count=8), Unreachable()
    jobs = Jobs({run.job_id: JobState.CANCELED for run in records.runs})
    after = records.claim(jobs, records.looked_at(JobState.CANCELED, read=False), mailbox)
    assert len(mailbox.asked) == FAILURES_PER_CYCLE
    assert {verdict.decision.action for verdict in after.verdicts.values()} == {Action.REVOKE}


def test_mailboxes_that_could_not_be_read_can_be_claimed_all_the_same() -> None:
    records = Records(count=8)
    jobs = Jobs({run.job_id: JobState.CANCELED for run in records.runs})
    after = records.claim(jobs, records.looked_at(JobState.CANCELED, read=False))
    assert {verdict.decision.action for verdict in after.verdicts.values()} == {Action.END}


# --- renew ---


def renew(records: Records, jobs: Jobs, cycle: TrackerCycle) -> None:
    stacks: Any = jobs
    RefreshCredentials(stacks=stacks, mailbox=records.mailbox, policy=a_policy(), telemetry=RecordedTelemetry())(cycle)


def test_an_extended_run_gets_a_fresh_credential_unless_it_has_one() -> None:
    records, jobs = Records(count=2), Jobs({})
    first, second = records.runs
    records.store.take_credential(a_vm(2).arn)
    renew(
        records,
        jobs,
        TrackerCycle(now=EPOCH, extended=(first, second.with_facts(credential_holder=CredentialHolder.VM))),
    )
    assert jobs.issued == 1
    assert records.store.take_credential(a_vm(1).arn) == "bkjat_1"
    assert records.store.take_credential(a_vm(2).arn) is None


def test_a_vm_that_loses_its_credential_gets_another_but_not_for_ever() -> None:
    records, jobs = Records(), Jobs({})
    arn, got = a_vm().arn, 0
    while records.store.take_credential(arn) is not None:
        got += 1
        records.store.report(arn, BootStage.CREDENTIAL_LOST)
        cycle = records.looked_at(JobState.RESERVED)
        assert [verdict.decision.action for verdict in cycle.verdicts.values()] == [Action.REISSUE]
        renew(records, jobs, cycle)
    assert got == 1 + MAX_REISSUES
