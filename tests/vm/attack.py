"""What a job that is root on its VM has: its own session, the VM's role, and what it makes Buildkite say of it."""

from typing import Any

from tests.simulator.iam.sts import Session
from tests.simulator.iam.web_identity import TAGS_CLAIM
from tests.simulator.vm.imds import MachineIdentity
from tests.vm.job_stack import ACCOUNT, REGION
from tests.vm.job_yard import JobYard
from tests.vm.running_job import RunningJob

TAGS = ("organization_id", "pipeline_id", "pipeline_slug", "job_id")


class Attack:
    """A job of one pipeline, another pipeline's job beside it, and clients with whatever keys are on the VM."""

    def __init__(self, yard: JobYard) -> None:
        self.yard = yard
        self.mine, self.other = yard.job("mine"), yard.job("other")
        self.own = yard.session(yard.oidc_token(self.mine, aws_session_tags=list(TAGS)))
        self.vm: MachineIdentity = MachineIdentity(
            instance_id="i-1", region=REGION, account_id=ACCOUNT, zone="", instance_type=""
        )

    def client(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        """With the session of the job's own role."""
        return self.yard.client(service, self.own)

    def as_vm(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        """With the VM's role, which root reads at the metadata service."""
        keys = Session(
            access_key_id=self.vm.access_key_id,
            secret_access_key=self.vm.secret_access_key,
            session_token=self.vm.session_token,
            role=self.yard.role,
            name="",
            tags={},
            expires_at=self.yard.now(),
        )
        return self.yard.client(service, keys)

    def assume(self, job: RunningJob | None = None, **body: Any) -> Session:  # noqa: ANN401  (JSON)
        """The stack's job role, with a token that asks for that."""
        return self.yard.session(self.yard.oidc_token(job or self.mine, **{"aws_session_tags": list(TAGS), **body}))

    def forged(self, **claims: Any) -> Session:  # noqa: ANN401  (JSON)
        """The role, with a token that Buildkite never signed."""
        said = self.yard.claims_in(self.yard.oidc_token(self.mine, aws_session_tags=list(TAGS)))
        stranger = JobYard.signed_by_another({**said, **claims})
        return self.yard.session(stranger)

    def without(self, *names: str) -> Session:
        """The role, with a token that Buildkite signed for a job that has none of that: such a tag is an empty text."""
        said = self.yard.claims_in(self.yard.oidc_token(self.mine, aws_session_tags=list(TAGS)))
        said[TAGS_CLAIM]["principal_tags"].update({name: [""] for name in names})
        return self.yard.session(self.yard.buildkite.sign(said))
