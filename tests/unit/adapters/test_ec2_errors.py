"""EC2's error codes: the class of a code decides what the dispatcher does."""

from itertools import combinations

import pytest

from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.errors import classify
from agent_stack.domain.launching import LaunchErrorClass
from tests.simulator.cloud.errors import WORDS
from tests.simulator.cloud.pools import NO_ADDRESS, NO_CAPACITY, QUOTA

THROTTLE, CAPACITY = LaunchErrorClass.THROTTLE, LaunchErrorClass.CAPACITY
ACCOUNT, CONFIGURATION = LaunchErrorClass.ACCOUNT, LaunchErrorClass.CONFIGURATION


@pytest.mark.parametrize("code", WORDS)
def test_each_code_that_the_simulated_ec2_has_a_message_for_has_a_class(code: str) -> None:
    assert classify(code) is not LaunchErrorClass.UNRECOGNISED


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        ("RequestLimitExceeded", THROTTLE),
        ("InternalError", THROTTLE),
        (NO_CAPACITY, CAPACITY),
        (NO_ADDRESS, CAPACITY),
        ("Unsupported", CAPACITY),
        ("SpotMaxPriceTooLow", CAPACITY),
        *((code, LaunchErrorClass.QUOTA) for code in QUOTA.values()),
        ("UnauthorizedOperation", ACCOUNT),
        ("InvalidAMIID.NotFound", CONFIGURATION),
        ("InvalidParameterValue", CONFIGURATION),
        ("Unheard.Of", LaunchErrorClass.UNRECOGNISED),
        ("", LaunchErrorClass.UNRECOGNISED),
    ],
)
def test_a_code_has_the_class_of_its_remedy(code: str, error_class: LaunchErrorClass) -> None:
    assert classify(code) is error_class


def test_a_type_that_a_zone_does_not_have_is_told_from_a_wrong_request_by_its_message() -> None:
    code = "InvalidFleetConfiguration"
    absent = "Your requested instance type (c7i.large) is not supported in your requested Availability Zone (zone-a)."
    assert classify(code, absent) is CAPACITY
    assert classify(code, "The fleet configuration is not valid.") is CONFIGURATION


def test_no_code_has_two_classes() -> None:
    named = (errors.NOTHING_DONE, errors.SERVER, errors.CAPACITY, errors.QUOTA, errors.ACCOUNT, errors.CONFIGURATION)
    assert not [one & other for one, other in combinations(named, 2) if one & other]
    by_prefix = {code for codes in named[:5] for code in codes if code.startswith(errors.CONFIGURATION_PREFIXES)}
    assert not by_prefix
