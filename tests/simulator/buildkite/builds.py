"""Turns steps into builds and jobs, and failed jobs into their automatic retries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tests.simulator.buildkite.holds import Holds
from tests.simulator.buildkite.identity import Identities, TokenPrefix
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.job_environment import job_environment
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.settings import Settings
from tests.simulator.buildkite.states import JobState
from tests.simulator.buildkite.steps import Build, Step


class Builds:
    """Creates builds; watches jobs end, and retries those whose step says so."""

    def __init__(self, *, jobs: Jobs, holds: Holds, identities: Identities, settings: Settings) -> None:
        self._jobs = jobs
        self._holds = holds
        self._identities = identities
        self._settings = settings
        self._pipelines: dict[str, str] = {}
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._by_id: dict[str, Build] = {}
        self._job_count = 0
        jobs.after_each_move(self._retry_when_failed)

    @property
    def all(self) -> Sequence[Build]:
        """Every build that was not deleted, in the order of creation."""
        return tuple(self._by_id.values())

    def create(
        self,
        *,
        pipeline: str,
        branch: str | None,
        commit: str,
        message: str,
        steps: Sequence[Step],
        env: Mapping[str, str],
        at: datetime,
    ) -> Build:
        """Create a build whose jobs are scheduled at once where nothing holds them back.

        Raises:
            ValueError: a step claims to be older than the moment of its creation allows.
        """
        if any(step.scheduled_at is not None and step.scheduled_at > at for step in steps):
            raise ValueError("a job is scheduled when it is created, never later; hold it back by another field")
        pipeline_id = self._pipelines.setdefault(pipeline, self._identities.uuid())
        self._numbers[pipeline] += 1
        build = Build(
            id=self._identities.uuid(),
            number=self._numbers[pipeline],
            pipeline_slug=pipeline,
            pipeline_id=pipeline_id,
            branch=branch,
            commit=commit,
            message=message,
            created_at=at,
            steps=tuple(replace(step, env={**env, **step.env}) for step in steps),
            job_ids=tuple(self._identities.uuid() for _ in steps),
        )
        self._by_id[build.id] = build
        step_ids: dict[str, str] = {}
        for step, job_id in zip(build.steps, build.job_ids, strict=True):
            step_id = step_ids.get(step.handle) or self._identities.uuid()
            if step.handle:
                step_ids[step.handle] = step_id
            self._add_job(job_id, build, step, step_id, at)
        self._holds.settle(build, at)  # what waits for nothing, or for what is skipped, need not wait
        return build

    def rename(self, slug: str, new: str) -> None:
        """Rename a pipeline: later builds have another slug and the same id.

        Raises:
            KeyError: there is none of that slug.
        """
        self._pipelines[new] = self._pipelines.pop(slug)
        self._numbers[new] = self._numbers.pop(slug)

    def delete(self, build_id: str, at: datetime) -> None:
        """Delete a build with all its jobs, retries too.

        Raises:
            KeyError: there is none with that id.
        """
        build = self._by_id.pop(build_id)
        for job in self._jobs.all:
            if job.build is build and not job.deleted:
                self._jobs.delete(job, at)

    def _add_job(
        self, job_id: str, build: Build, step: Step, step_id: str, at: datetime, retried: Job | None = None
    ) -> Job:
        self._job_count += 1
        job = Job(
            id=job_id,
            sequence=self._job_count,
            build=build,
            step=step,
            step_id=step_id,
            queue_key=step.stated_queue or self._settings.default_queue,
            env={},
            token=self._identities.token(TokenPrefix.JOB),
            created_at=at,
            scheduled_at=step.scheduled_at or at,
            state=self._holds.first_state(step),
            retry_of=retried.id if retried else None,
            retry_count=retried.retry_count + 1 if retried else 0,
        )
        job.env = job_environment(job, organization_slug=self._settings.organization_slug)
        self._jobs.add(job, at)
        return job

    def _retry_when_failed(self, job: Job, before: JobState, at: datetime) -> None:
        """A retry is a new job with a new id: nothing returns the failed one to `scheduled`."""
        if job.state is not JobState.FINISHED or before is JobState.FINISHED:
            return
        if not job.is_retried:
            return
        again = replace(job.step, scheduled_at=None, held=None, runnable_after=None, waits_for=())
        new = self._add_job(self._identities.uuid(), job.build, again, job.step_id, at, retried=job)
        job.retried_by = new.id
