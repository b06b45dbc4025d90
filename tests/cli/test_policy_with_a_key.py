"""The printed policies of a stack whose tables and logs a key of the operator encrypts."""

from typing import get_args

from agent_stack_cli.policy import Kind, document
from tests.cli.conftest import stack_of
from tests.cli.served import Served
from tests.simulator.iam import Asked, Policies

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd"


def test_whoever_reads_the_tables_may_decrypt_them_and_only_through_the_services(served: Served) -> None:
    plain_stack, with_a_key = stack_of(served.world.deployed), stack_of(served.world.deployed, KmsKeyArn=KEY)
    for kind in get_args(Kind):
        encrypted = Policies([document(with_a_key, kind)])
        plain = Policies([document(plain_stack, kind)])
        for service in ("dynamodb", "logs"):
            through = {"kms:ViaService": [f"{service}.eu-central-1.amazonaws.com"]}
            asked = Asked(action="kms:Decrypt", resource=KEY, context=through)
            assert (encrypted.allow(asked), plain.allow(asked)) == (True, False)
        assert not encrypted.allow(Asked(action="kms:Decrypt", resource=KEY))
