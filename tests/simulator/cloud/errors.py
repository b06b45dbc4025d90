"""How EC2 says no."""


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
