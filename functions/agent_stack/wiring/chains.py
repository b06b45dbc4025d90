"""The two chains: which step follows which, and what each is given.

    dispatcher   register → resume → poll → inspect → admit → record → reserve → launch → bind → note → measure
                                                                                    ↓ VM, mailbox
    tracker      observe → decide → claim → tell → explain → extend → renew → terminate
                 → hand back → finish → end → sweep → measure

A chain is a tuple of steps; each takes the tick and gives the next one. Observing only is the same chain without
its effects. Measuring changes nothing, and is what a tick ends with.
"""

from dataclasses import dataclass

from agent_stack.domain.programs import VmProgram
from agent_stack.ports import ClassSource, Clock, Fleet, Ids, Ledger, Mailbox, Programs, StacksApi, Telemetry, Workers
from agent_stack.settings import Settings
from agent_stack.stages.absences import Absences
from agent_stack.stages.admit import Admit
from agent_stack.stages.bind import AgentIdentity, Bind
from agent_stack.stages.claim import Claim
from agent_stack.stages.decide import Decide
from agent_stack.stages.end import End
from agent_stack.stages.explain import Explain
from agent_stack.stages.extend import Extend
from agent_stack.stages.finish import Finish
from agent_stack.stages.hand_back import HandBack
from agent_stack.stages.inspect import Inspect
from agent_stack.stages.launch import Launch
from agent_stack.stages.launches import Launches
from agent_stack.stages.measure_queues import MeasureQueues
from agent_stack.stages.measure_runs import MeasureRuns
from agent_stack.stages.note import Note
from agent_stack.stages.observe import Observe
from agent_stack.stages.poll import Poll
from agent_stack.stages.publish_program import PublishProgram
from agent_stack.stages.quiet import Quiet
from agent_stack.stages.record import Record
from agent_stack.stages.register import Register
from agent_stack.stages.renew import Renew
from agent_stack.stages.reserve import Reserve
from agent_stack.stages.resume import Resume
from agent_stack.stages.status_checks import StatusChecks
from agent_stack.stages.sweep import Sweep
from agent_stack.stages.tell import Tell
from agent_stack.stages.terminate import Terminate
from agent_stack.stages.ticks import DispatcherStep, TrackerStep
from agent_stack.stages.token_supply import TokenSupply
from agent_stack.stages.tolerate import Tolerate


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world, as the stages see it."""

    stacks: StacksApi
    fleet: Fleet
    ledger: Ledger
    mailbox: Mailbox
    programs: Programs
    program: VmProgram
    classes: ClassSource
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    workers: Workers


def launches_of(ports: Ports, settings: Settings) -> Launches:
    """What a dispatcher's process has under way."""
    return Launches(
        fleet=ports.fleet,
        ledger=ports.ledger,
        workers=ports.workers,
        policy=settings.policy,
        telemetry=ports.telemetry,
    )


def dispatcher_steps(ports: Ports, settings: Settings, launches: Launches) -> tuple[DispatcherStep, ...]:
    """The dispatcher's chain."""
    policy, telemetry = settings.policy, ports.telemetry
    stacks, fleet, ledger = ports.stacks, ports.fleet, ports.ledger
    identity = AgentIdentity(
        endpoint=settings.endpoint,
        deployment=settings.deployment,
        credential_kind=settings.agent_credential,
        deployment_tags=settings.agent_tags,
    )
    tokens, quiet = TokenSupply(), Quiet()
    program = PublishProgram(
        programs=ports.programs,
        ledger=ledger,
        program=ports.program,
        wanted=settings.program_sha256,
        policy=policy,
        telemetry=telemetry,
    )
    looking: tuple[DispatcherStep, ...] = (
        Register(stacks=stacks, queues=settings.queues, telemetry=telemetry),
        Resume(
            ledger=ledger,
            fleet=fleet,
            launches=launches,
            quiet=quiet,
            classes=ports.classes,
            policy=policy,
            telemetry=telemetry,
        ),
        Poll(stacks=stacks, queues=settings.queues, policy=policy, telemetry=telemetry),
        *((Inspect(stacks=stacks, telemetry=telemetry),) if settings.read_job_environment else ()),
        Admit(launches=launches, policy=policy, telemetry=telemetry),
    )
    acting: tuple[DispatcherStep, ...] = (
        Record(ledger=ledger, quiet=quiet, telemetry=telemetry),
        Reserve(stacks=stacks, ledger=ledger, policy=policy, telemetry=telemetry),
        Launch(
            fleet=fleet,
            ledger=ledger,
            launches=launches,
            program=program,
            tokens=tokens,
            ids=ports.ids,
            policy=policy,
            telemetry=telemetry,
        ),
        Bind(stacks=stacks, ledger=ledger, tokens=tokens, policy=policy, identity=identity, telemetry=telemetry),
        Note(launches=launches, ledger=ledger, workers=ports.workers, policy=policy, telemetry=telemetry),
    )
    measure = MeasureQueues(launches=launches, policy=policy, clock=ports.clock, telemetry=telemetry)
    return (*looking, *(() if settings.observe_only else acting), measure)


def tracker_steps(ports: Ports, settings: Settings) -> tuple[TrackerStep, ...]:
    """The tracker's chain."""
    policy, telemetry = settings.policy, ports.telemetry
    stacks, fleet, ledger, mailbox = ports.stacks, ports.fleet, ports.ledger, ports.mailbox
    looking: tuple[TrackerStep, ...] = (
        Observe(
            fleet=fleet,
            ledger=ledger,
            stacks=stacks,
            mailbox=mailbox,
            classes=ports.classes,
            absences=Absences(telemetry=telemetry),
            checks=StatusChecks(fleet=fleet, telemetry=telemetry),
            policy=policy,
            telemetry=telemetry,
        ),
        Decide(telemetry=telemetry),
    )
    tell = Tell(stacks=stacks, ledger=ledger, policy=policy, telemetry=telemetry)
    explain = Explain(stacks=stacks, ledger=ledger, policy=policy, telemetry=telemetry)
    extend = Extend(stacks=stacks, ledger=ledger, policy=policy, telemetry=telemetry)
    renew = Renew(stacks=stacks, mailbox=mailbox, policy=policy, telemetry=telemetry)
    acting: tuple[TrackerStep, ...] = (
        Claim(mailbox=mailbox, ledger=ledger, stacks=stacks, telemetry=telemetry),
        Tolerate(step=tell, telemetry=telemetry),
        Tolerate(step=explain, telemetry=telemetry),
        Tolerate(step=extend, telemetry=telemetry),
        *((Tolerate(step=renew, telemetry=telemetry),) if settings.agent_credential == "job-token" else ()),
        Terminate(fleet=fleet, policy=policy, telemetry=telemetry),
        HandBack(ledger=ledger, classes=ports.classes, telemetry=telemetry),
        Finish(stacks=stacks, fleet=fleet, ledger=ledger, telemetry=telemetry),
        End(ledger=ledger, telemetry=telemetry),
        Sweep(fleet=fleet, ledger=ledger, policy=policy, telemetry=telemetry),
    )
    measure = MeasureRuns(policy=policy, clock=ports.clock, telemetry=telemetry)
    return (*looking, *(() if settings.observe_only else acting), measure)
