"""A simulated Buildkite, as a test or a demo holds it in its hand."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from werkzeug import Request

from tests.simulator.buildkite.access_log import AccessRecord, Violation
from tests.simulator.buildkite.agents import AgentView
from tests.simulator.buildkite.events import Watcher
from tests.simulator.buildkite.faults import Faults
from tests.simulator.buildkite.job import JobView
from tests.simulator.buildkite.model import build_model
from tests.simulator.buildkite.queues import Queue, QueueStatus
from tests.simulator.buildkite.service import Served, Service
from tests.simulator.buildkite.settings import Settings
from tests.simulator.buildkite.stacks import Stack
from tests.simulator.buildkite.steps import Build, Step

AGENT_TOKEN = "bkct_simulated"


class Buildkite:
    """One organisation with one cluster. Safe to use from several threads."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        seed: int = 0,
        agent_token: str = AGENT_TOKEN,
        settings: Settings | None = None,
        queues: Sequence[str] = ("default",),
    ) -> None:
        """Make an organisation with those queues; the same seed gives the same ids and tokens."""
        self._now = now
        self._lock = threading.RLock()
        self._moment = _Locked(self)
        self._model = build_model(settings=settings or Settings(), seed=seed, agent_token=agent_token)
        self._service = Service(self._model)
        self.agent_token = agent_token
        for key in queues:
            self.add_queue(key)

    # --- as the network sees it ---

    def serve(self, request: Request) -> Served:
        """Serve one HTTP request."""
        with self._locked() as now:
            return self._service.serve(request, now)

    @property
    def faults(self) -> Faults:
        """What is to go wrong with the next requests."""
        return self._service.faults

    # --- time ---

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        with self._locked():
            pass

    def next_due(self) -> datetime | None:
        """When the next thing happens by itself."""
        with self._lock:
            return self._model.agenda.next_due()

    # --- what people do ---

    def add_queue(self, key: str) -> None:
        """Add a queue to the cluster."""
        with self._locked():
            self._model.queues.add(Queue(id=self._model.identities.uuid(), key=key))

    def pause_queue(self, key: str) -> None:
        """Stop dispatch on a queue."""
        with self._locked():
            self._model.queues[key].paused = True

    def resume_queue(self, key: str) -> None:
        """Let a paused queue dispatch again."""
        with self._locked():
            self._model.queues[key].paused = False

    def create_build(
        self,
        pipeline: str = "pipeline",
        *,
        steps: Sequence[Step],
        branch: str | None = "main",
        message: str = "A change",
        env: Mapping[str, str] | None = None,
    ) -> Build:
        """Push a build; its jobs are scheduled at once where nothing holds them back.

        All of them have the same `scheduled_at`, and are listed in the order of their steps.
        """
        with self._locked() as now:
            return self._model.builds.create(
                pipeline=pipeline, branch=branch, commit="HEAD", message=message, steps=steps, env=env or {}, at=now
            )

    def release(self, job_id: str, fields: Mapping[str, str] | None = None) -> None:
        """Let a held job go: unblock it, or whatever else it waits for.

        Args:
            fields: what a person filled in; the build's meta-data has it from then on.
        """
        with self._locked() as now:
            job = self._model.jobs[job_id]
            self._model.meta_data.update({(job.build.id, key): value for key, value in (fields or {}).items()})
            self._model.holds.release(job, now)

    def delete_build(self, build_id: str) -> None:
        """Delete a build: its jobs end, and no answer ever names them again."""
        with self._locked() as now:
            self._model.builds.delete(build_id, now)

    def rename_pipeline(self, slug: str, new: str) -> None:
        """Rename a pipeline. The next one that is made under the old slug is another pipeline."""
        with self._locked():
            self._model.builds.rename(slug, new)

    def cancel_job(self, job_id: str) -> None:
        """Press the job's Cancel button."""
        with self._locked() as now:
            self._model.jobs.cancel(self._model.jobs[job_id], now)

    def rotate_token(self) -> str:
        """Make a new agent token and revoke all others."""
        with self._locked():
            self._model.agent_tokens.revoke(None)
            self.agent_token = self._model.agent_tokens.issue("rotated")
            return self.agent_token

    def revoke_tokens(self) -> None:
        """Make every agent token invalid."""
        with self._locked():
            self._model.agent_tokens.revoke(None)

    def set_available(self, *, available: bool) -> None:
        """Take the organisation out of service, or back."""
        with self._locked():
            self._model.available = available

    def disguise(self, job_id: str, state: str | None) -> None:
        """Show a job in a state of the future."""
        with self._locked():
            self._model.jobs[job_id].disguise = state

    def forget_environment(self, job_id: str) -> None:
        """Leave a job without any environment variable."""
        with self._locked():
            self._model.jobs[job_id].env.clear()

    def withhold(self, job_id: str, *, withheld: bool) -> None:
        """Leave a job out of answers about states, or name it again."""
        with self._locked():
            self._model.jobs[job_id].withheld = withheld

    # --- what people see ---

    def job(self, job_id: str) -> JobView:
        """One job as it is now.

        Raises:
            KeyError: there is none with that id.
        """
        with self._locked():
            return self._view(job_id)

    def jobs(self) -> tuple[JobView, ...]:
        """Every job as it is now, in the order of creation."""
        with self._locked():
            return tuple(self._view(job.id) for job in self._model.jobs.all)

    def agents(self) -> tuple[AgentView, ...]:
        """Every agent that ever registered."""
        with self._locked():
            return tuple(agent.view() for agent in self._model.agents.all)

    def stacks(self) -> tuple[Stack, ...]:
        """Every registered stack."""
        with self._locked():
            return self._model.stacks.all

    def queue_status(self, key: str) -> QueueStatus:
        """What the cluster page shows beside a queue."""
        with self._locked():
            return self._model.queues[key].status

    def access_log(self) -> tuple[AccessRecord, ...]:
        """Every request so far."""
        with self._lock:
            return self._model.access_log.records

    def violations(self) -> tuple[Violation, ...]:
        """Every documented rule that a client broke so far."""
        with self._lock:
            return self._model.access_log.violations

    @property
    def organization_id(self) -> str:
        """The organisation's UUID."""
        return self._model.organization_id

    def sign(self, claims: Mapping[str, object]) -> str:
        """An OIDC token with exactly those claims, whatever they are."""
        with self._locked():
            return self._model.oidc_tokens.sign(claims)

    def jwks(self) -> Mapping[str, object]:
        """The keys by which others check OIDC tokens."""
        with self._locked():
            return self._model.oidc_tokens.jwks()

    def credentials(self) -> frozenset[str]:
        """Every credential that was ever valid, to search for in what must not hold any."""
        with self._lock:
            return self._model.identities.tokens | self._model.agent_tokens.ever_valid

    def on_event(self, watcher: Watcher) -> Callable[[], None]:
        """Hand every later event to `watcher`, until the function returned is called."""
        return self._model.events.watch(watcher)

    def _view(self, job_id: str) -> JobView:
        job = self._model.jobs[job_id]
        held = self._model.reservations.of(job_id)
        return job.view(reserved_by=held.stack_key if held else None, reserved_until=held.expires_at if held else None)

    def _locked(self) -> "_Locked":
        """The model at this moment, for one thread; events go out when it is free again."""
        return self._moment

    def _enter(self) -> datetime:
        self._lock.acquire()
        try:
            now = self._now()
            self._model.agenda.run_until(now)
        except BaseException:
            self._lock.release()
            raise
        return now

    def _leave(self, *, well: bool) -> None:
        self._lock.release()
        if well:
            self._model.events.deliver()


class _Locked:
    """What `with` holds while the model is locked. No generator, because a simulated world enters it at each event."""

    __slots__ = ("_buildkite",)

    def __init__(self, buildkite: Buildkite) -> None:
        self._buildkite = buildkite

    def __enter__(self) -> datetime:
        return self._buildkite._enter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._buildkite._leave(well=kind is None)
