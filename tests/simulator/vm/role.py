"""AWS as a VM sees it: behind a check of its signature and of what its role may do."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulator.iam import Policies
from tests.simulator.iam.front import Signer, SigningFront
from tests.simulator.iam.sts import FakeSts
from tests.simulator.vm.imds import ROLE_NAME, MachineIdentity

SERVICES = ("DYNAMODB", "SSM", "LOGS", "ECR", "S3", "STS", "SECRETSMANAGER", "KMS")


class VmFront(SigningFront):
    """Serves VMs that carry the keys of `FakeImds`."""

    def __init__(
        self,
        *,
        backend: str,
        region: str,
        account_id: str,
        policies: Sequence[Mapping[str, Any]],
        sts: FakeSts | None = None,
    ) -> None:
        """Serve.

        Args:
            backend: where the services are simulated.
            policies: the documents of the VMs' role.
            sts: makes the sessions of jobs.
        """
        self.permit(policies)

        def signer(access_key_id: str) -> Signer | None:
            if not access_key_id.startswith("ASIA"):
                return None
            vm = MachineIdentity(
                instance_id=f"i-{access_key_id.removeprefix('ASIA').lower()}",
                region=region,
                account_id=account_id,
                zone="",
                instance_type="",
            )
            return Signer(
                arn=f"arn:aws:sts::{account_id}:assumed-role/{ROLE_NAME}/{vm.instance_id}",
                secret_access_key=vm.secret_access_key,
                session_token=vm.session_token,
                policies=self._role,
                context={"ec2:SourceInstanceARN": [vm.arn]},
            )

        super().__init__(backend=backend, region=region, account_id=account_id, signer=signer, sts=sts)

    def permit(self, policies: Sequence[Mapping[str, Any]]) -> None:
        """Give the role those policies, of VMs that run, too."""
        self._role = Policies(policies)

    @property
    def environment(self) -> Mapping[str, str]:
        """Where a VM finds the services."""
        return {f"AWS_ENDPOINT_URL_{service}": self.origin for service in SERVICES}
