"""Jobs without their VMs: the environment hook and the program for AWS access, as root puts them into place.

What a boot of a whole VM would take seconds for: a job that a simulated Buildkite runs, the hook, its exports, and AWS
behind its signatures.
"""

import base64
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from infra.user_data import VM, second_stage
from tests.infra.stacks import deployed
from tests.simulator.aws import AwsServer
from tests.simulator.buildkite import AGENT_TOKEN, Buildkite, BuildkiteServer, Step
from tests.simulator.buildkite.oidc import ISSUER
from tests.simulator.iam.sts import FakeSts, Role, Session
from tests.simulator.iam.web_identity import Provider
from tests.simulator.vm.process import AGENT_STUB, HERE
from tests.simulator.vm.role import VmFront
from tests.vm.job_stack import ACCESS, ACCOUNT, BUCKETS, REGION, job_role
from tests.vm.running_job import Hooked, RunningJob

INSTALL = """
set -euo pipefail
declare -A endpoint version=([ssm]=1.1)
source {requests}
source {second_stage}
endpoint=([ssm]={front} [s3]={front})
install_job_access
environment_hook >"$HOOKS/environment"
pre-exit_hook >"$HOOKS/pre-exit"
"""


class JobYard:
    """One test's jobs."""

    def __init__(self, aws: AwsServer, directory: Path, *, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or (lambda: datetime.now(UTC))
        self.buildkite = Buildkite(now=self.now)
        self.server = BuildkiteServer(self.buildkite)
        self.sts = FakeSts(account_id=ACCOUNT, now=self.now)
        self.sts.providers.append(Provider(url=ISSUER, keys=self.buildkite.jwks))
        self.role = self.sts.add(job_role())
        self.front = VmFront(
            backend=aws.url,
            region=REGION,
            account_id=ACCOUNT,
            policies=deployed(ACCESS).policies("InstanceRole"),
            sts=self.sts,
        )
        self.place = directory
        httpx.post(f"{aws.url}/moto-api/reset", timeout=10).raise_for_status()
        self.backend = aws.url
        self._api = httpx.Client(base_url=self.server.url, timeout=20)
        self._install()
        for bucket in BUCKETS:
            place = {"LocationConstraint": REGION}
            self.operator("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)

    def close(self) -> None:
        self._api.close()
        self.front.close()
        self.server.close()

    def _install(self) -> None:
        """As root does it while the VM boots."""
        for part in ("hooks", "run/private", "bin", "home"):
            (self.place / part).mkdir(parents=True)
        (self.place / "bin" / "buildkite-agent").symlink_to(AGENT_STUB)
        (self.place / "second-stage").write_text(second_stage())
        script = INSTALL.format(
            requests=VM / "requests.sh", second_stage=self.place / "second-stage", front=self.front.origin
        )
        subprocess.run(
            ["bash", "-c", script],
            check=True,
            env={
                "PATH": f"{HERE / 'shims'}:{os.defpath}",
                "HOOKS": str(self.place / "hooks"),
                "RUN": str(self.place / "run"),
                "AGENT_USER": "buildkite-agent",
                "DEPLOYMENT_REGION": REGION,
                "curl_signs": "1",
                "JOB_AWS": self.job_aws(),
                "ENVIRONMENT": "",
                "STATE": str(self.place),
                "PRIVATE": str(self.place / "run" / "private"),
                **self.front.environment,
            },
        )

    def job_aws(self, *, role: str | None = None, secrets: str = "", bucket: str = "", caches: str = "") -> str:
        """The setting JOB_AWS."""
        return "|".join((self.role.arn if role is None else role, secrets, bucket, caches))

    def add_role(self, name: str, trust: Mapping[str, Any], *policies: Mapping[str, Any]) -> str:
        """Make a role of the operator's; its ARN."""
        return self.sts.add(Role(arn=f"arn:aws:iam::{ACCOUNT}:role/{name}", trust=trust, policies=policies)).arn

    @property
    def token_file(self) -> Path:
        return self.place / "run" / "aws" / "token"

    def job(self, pipeline: str = "app", *, branch: str | None = "main", **step: Any) -> RunningJob:  # noqa: ANN401  (a step's)
        """A job that an agent has just started."""
        build = self.buildkite.create_build(pipeline, steps=[Step(**step)], branch=branch)
        (job_id,) = build.job_ids
        session = self._ask("POST", "/register", AGENT_TOKEN, {"name": "a", "meta_data": []})["access_token"]
        self._ask("POST", "/connect", session, {})
        acquired = self._ask("PUT", f"/jobs/{job_id}/acquire", session, {})
        self._ask("PUT", f"/jobs/{job_id}/start", acquired["token"], {"started_at": self.now().isoformat()})
        return RunningJob(id=job_id, pipeline_id=build.pipeline_id, token=acquired["token"], env=acquired["env"])

    @staticmethod
    def signed_by_another(claims: Mapping[str, object]) -> str:
        """A token that another issuer's key signed."""
        return Buildkite(now=lambda: datetime.now(UTC)).sign(claims)

    def refused(self, job: RunningJob) -> int:
        """The status that a request for a token about that job gets."""
        headers = {"Authorization": f"Token {job.token}"}
        return self._api.post(f"/jobs/{job.id}/oidc/tokens", json={}, headers=headers).status_code

    def oidc_token(self, job: RunningJob, **body: Any) -> str:  # noqa: ANN401  (JSON)
        """A token that the job asks for by itself."""
        asked = {"audience": "sts.amazonaws.com", "subject_claim": "organization_id", **body}
        given = {name: value for name, value in asked.items() if value is not None}
        return str(self._ask("POST", f"/jobs/{job.id}/oidc/tokens", job.token, given)["token"])

    def alive(self, job: RunningJob) -> None:
        """What its agent asks each second, without which it is lost."""
        self._ask("GET", f"/jobs/{job.id}", job.token, None)

    def _ask(self, method: str, path: str, token: str, body: Mapping[str, Any] | None) -> Any:  # noqa: ANN401  (JSON)
        answer = self._api.request(method, path, json=body, headers={"Authorization": f"Token {token}"})
        answer.raise_for_status()
        return answer.json()

    def hooked(
        self,
        job: RunningJob,
        then: str = "true",
        *,
        job_aws: str | None = None,
        env: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> Hooked:
        """Run the hook in the job's shell, and then that script.

        Args:
            env: what the step and the operator set.
        """
        shown = self.place / "shown"
        shown.unlink(missing_ok=True)
        script = f'source "$BUILDKITE_HOOKS_PATH/environment"\nenv -0 >{shown}\n{then}\n'
        done = subprocess.run(
            [
                "bash",
                "-c",
                'bash -c "$0"; exit $?',
                script,
            ],  # the outer one stands for the agent, and ends with the job
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            cwd=self.place,
            env={**self.environment(job, job_aws=job_aws), **(env or {})},
        )
        text = shown.read_bytes().decode() if shown.exists() else ""
        pairs = dict(line.partition("=")[::2] for line in text.split("\0") if line)
        return Hooked(code=done.returncode, out=done.stdout, said=done.stderr, env=pairs)

    def environment(self, job: RunningJob, *, job_aws: str | None = None) -> dict[str, str]:
        """What an agent gives a job."""
        redacted = self.place / "redacted"
        redacted.touch()
        return {
            **job.env,
            "PATH": f"{self.place / 'bin'}:{os.defpath}",
            "HOME": str(self.place / "home"),
            "AGENT_STACK_PRIVATE": str(self.place / "run" / "private"),
            "AGENT_STACK_JOB_AWS": self.job_aws() if job_aws is None else job_aws,
            "BUILDKITE_HOOKS_PATH": str(self.place / "hooks"),
            "BUILDKITE_AGENT_ENDPOINT": self.server.url,
            "BUILDKITE_AGENT_ACCESS_TOKEN": job.token,
            "STUB_REDACTED": str(redacted),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **self.front.environment,
        }

    def claims(self) -> Any:  # noqa: ANN401  (JSON)
        """What the token in the file says."""
        return self.claims_in(self.token_file.read_text())

    def claims_in(self, token: str) -> Any:  # noqa: ANN401  (JSON)
        """What a token says."""
        segment = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))

    def hidden(self) -> str:
        """What the agent was told to hide in the job's log."""
        return (self.place / "redacted").read_text()

    def session(self, token: str, role: str | None = None) -> Session:
        """What a client gets of STS for a token.

        Raises:
            ClientError: STS refuses.
        """
        sts = self.client("sts", None)
        given = sts.assume_role_with_web_identity(
            RoleArn=role or self.role.arn, RoleSessionName="attack", WebIdentityToken=token
        )
        return self.sts.sessions[given["Credentials"]["AccessKeyId"]]

    def client(self, service: str, session: Session | None) -> Any:  # noqa: ANN401  (a client of any service)
        """A client with that session's keys."""
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's name
            region_name=REGION,
            endpoint_url=self.front.origin,
            aws_access_key_id=session.access_key_id if session else "none",
            aws_secret_access_key=session.secret_access_key if session else "none",
            aws_session_token=session.session_token if session else "none",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def operator(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        """A client whom nothing is forbidden."""
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's name
            region_name=REGION,
            endpoint_url=self.backend,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
