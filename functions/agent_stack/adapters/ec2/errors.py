"""EC2's error codes, sorted by what to do about them. The sets are disjoint.

Source: EC2's error-code reference, and the codes that CreateFleet was seen to answer inside a 200.
"""

from agent_stack.domain.launching import LaunchErrorClass

NOTHING_DONE = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"})
"""Refused before anything was looked at."""

SERVER = frozenset(
    {"InternalError", "InternalFailure", "ServerInternal", "ServiceUnavailable", "Unavailable", "RequestTimeout"}
)
"""EC2's own trouble: it may or may not have acted."""

CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "UnfulfillableCapacity",
        "InsufficientHostCapacity",
        "InsufficientVolumeCapacity",
        "InsufficientFreeAddressesInSubnet",
        "Unsupported",
        "SpotMaxPriceTooLow",
        "ReservationCapacityExceeded",
    }
)
QUOTA = frozenset(
    {"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "MaxFleetCountExceeded"}
)
ACCOUNT = frozenset(
    {
        "PendingVerification",
        "OptInRequired",
        "Blocked",
        "UnauthorizedOperation",
        "AuthFailure",
        "VolumeLimitExceeded",
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
    }
)
CONFIGURATION = frozenset(
    {
        "InvalidUserData.Malformed",
        "InvalidKeyPair.NotFound",
        "InvalidSnapshot.NotFound",
        "InvalidBlockDeviceMapping",
        "MissingParameter",
        "IdempotentParameterMismatch",
    }
)
CONFIGURATION_PREFIXES = (
    "InvalidAMIID.",
    "InvalidSubnetID.",
    "InvalidSubnet.",
    "InvalidGroup.",
    "InvalidLaunchTemplate",
    "InvalidParameter",
)


def _codes(error_class: LaunchErrorClass) -> frozenset[str]:
    match error_class:
        case LaunchErrorClass.THROTTLE:
            return NOTHING_DONE | SERVER
        case LaunchErrorClass.CAPACITY:
            return CAPACITY
        case LaunchErrorClass.QUOTA:
            return QUOTA
        case LaunchErrorClass.ACCOUNT:
            return ACCOUNT
        case LaunchErrorClass.CONFIGURATION:
            return CONFIGURATION
        case LaunchErrorClass.UNRECOGNISED:
            return frozenset()


NOT_IN_THAT_ZONE = ("InvalidFleetConfiguration", "Availability Zone")
"""A type that a zone does not have is `Unsupported`, or this code with these words; else that code is our mistake."""


def classify(code: str, message: str = "") -> LaunchErrorClass:
    """What to do about an error code of EC2; a code never heard of is UNRECOGNISED."""
    if code == NOT_IN_THAT_ZONE[0]:
        absent = NOT_IN_THAT_ZONE[1] in message
        return LaunchErrorClass.CAPACITY if absent else LaunchErrorClass.CONFIGURATION
    for error_class in LaunchErrorClass:
        if code in _codes(error_class):
            return error_class
    if code.startswith(CONFIGURATION_PREFIXES):
        return LaunchErrorClass.CONFIGURATION
    return LaunchErrorClass.UNRECOGNISED
