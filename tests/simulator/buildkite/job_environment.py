"""The environment Buildkite gives a job, as an agent and a stack read it."""

from tests.simulator.buildkite.job import Job

_REPOSITORY = "https://git.invalid/simulated.git"


def job_environment(job: Job, *, organization_slug: str) -> dict[str, str]:
    """Environment variables of one job; the step's own come on top.

    `BUILDKITE_SKIP_CHECKOUT` keeps a real agent away from the repository, which does not exist.

    Source: the environment variables page of the public documentation; the agent's public source for
    the ones it cannot do without.
    """
    build = job.build
    build_url = f"https://buildkite.invalid/{organization_slug}/{build.pipeline_slug}/builds/{build.number}"
    return {
        "CI": "true",
        "BUILDKITE": "true",
        "BUILDKITE_JOB_ID": job.id,
        "BUILDKITE_BUILD_ID": build.id,
        "BUILDKITE_BUILD_NUMBER": str(build.number),
        "BUILDKITE_BUILD_URL": build_url,
        "BUILDKITE_BUILD_CREATOR": "Simulated User",
        "BUILDKITE_ORGANIZATION_SLUG": organization_slug,
        "BUILDKITE_PIPELINE_SLUG": build.pipeline_slug,
        "BUILDKITE_PIPELINE_NAME": build.pipeline_slug,
        "BUILDKITE_PIPELINE_ID": build.pipeline_id,
        "BUILDKITE_PIPELINE_PROVIDER": "git",
        "BUILDKITE_PIPELINE_DEFAULT_BRANCH": "main",
        "BUILDKITE_PROJECT_SLUG": f"{organization_slug}/{build.pipeline_slug}",
        "BUILDKITE_REPO": _REPOSITORY,
        "BUILDKITE_BRANCH": build.branch or "",
        "BUILDKITE_COMMIT": build.commit,
        "BUILDKITE_MESSAGE": build.message,
        "BUILDKITE_TAG": "",
        "BUILDKITE_PULL_REQUEST": "false",
        "BUILDKITE_SOURCE": "api",
        "BUILDKITE_STEP_ID": job.step_id,
        "BUILDKITE_STEP_KEY": job.step.key or "",
        "BUILDKITE_LABEL": job.step.label,
        "BUILDKITE_COMMAND": job.step.command,
        "BUILDKITE_SCRIPT_PATH": job.step.command,
        "BUILDKITE_RETRY_COUNT": str(job.retry_count),
        "BUILDKITE_TIMEOUT": str(int(job.step.timeout.total_seconds() // 60)) if job.step.timeout else "false",
        "BUILDKITE_ARTIFACT_PATHS": "",
        "BUILDKITE_PLUGINS": "",
        "BUILDKITE_SKIP_CHECKOUT": "true",
        **job.step.env,
    }
