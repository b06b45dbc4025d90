"""How EC2 says no."""

from collections.abc import Mapping


class Ec2Error(Exception):
    """An error answer with EC2's code."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def throttled(action: str) -> Ec2Error:
    """The request came too fast."""
    return Ec2Error("RequestLimitExceeded", f"Request limit exceeded: {action}", status=503)


SERVER_ERRORS: Mapping[str, int] = {
    "InternalError": 500,
    "InternalFailure": 500,
    "InsufficientInstanceCapacity": 500,
    "RequestLimitExceeded": 503,
    "ServiceUnavailable": 503,
    "Unavailable": 503,
}
"""Codes whose status is not 400."""

WORDS: Mapping[str, str] = {
    "InsufficientFreeAddressesInSubnet": "There are not enough free addresses in subnet '{subnet}' to satisfy the "
    "requested number of instances.",
    "InsufficientInstanceCapacity": "We currently do not have sufficient {type} capacity in the Availability Zone you "
    "requested ({zone}). Our system will be working on provisioning additional capacity.",
    "InternalError": "An internal error has occurred",
    "InvalidAMIID.NotFound": "The image id '[{image}]' does not exist",
    "InvalidAMIID.Unavailable": "The image id '[{image}]' is no longer available",
    "InvalidSubnetID.NotFound": "The subnet ID '{subnet}' does not exist",
    "MaxFleetCountExceeded": "You've reached your quota for maximum Fleet Requests for this account.",
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
    "RequestLimitExceeded": "Request limit exceeded.",
    "ServiceUnavailable": "The service is unavailable. Please try again shortly.",
    "SpotMaxPriceTooLow": "Your Spot request price is lower than the minimum required Spot request fulfillment price "
    "of {price}.",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
    "UnfulfillableCapacity": "Unable to fulfill capacity due to your request configuration. Please adjust your request "
    "and try again.",
    "Unsupported": "Your requested instance type ({type}) is not supported in your requested Availability Zone "
    "({zone}).",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the "
    "instance bucket that the specified instance type belongs to. Please visit "
    "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
}
"""What EC2 was seen to say with a code. Source: its error-code reference and public issue trackers."""


class _Known(dict[str, object]):
    """Leaves a name that has no value as it stands."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def words(code: str, **values: object) -> str:
    """EC2's message for a code; the code itself where it is not known."""
    return WORDS.get(code, code).format_map(_Known(values))


def refused(code: str, message: str = "", **values: object) -> Ec2Error:
    """The refusal of a whole request, with EC2's words and status unless others are given."""
    return Ec2Error(code, message or words(code, **values), status=SERVER_ERRORS.get(code, 400))
