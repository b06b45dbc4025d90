"""SSM parameters by name, as a client of SSM sees them."""

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError


@dataclass(slots=True)
class FakeParameters:
    """What is stored.

    Attributes:
        values: by name, to be changed at any time.
        denied: names that the caller's role may not read.
        failing: the code that every request is refused with; empty for none.
    """

    values: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    failing: str = ""

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> dict[str, Any]:  # noqa: N803  (boto3's own)
        """GetParameter."""
        code = self.failing or ("AccessDeniedException" if Name in self.denied else "")
        if not code and Name not in self.values:
            code = "ParameterNotFound"
        if code:
            raise ClientError({"Error": {"Code": code, "Message": f"{Name}: refused"}}, "GetParameter")
        return {"Parameter": {"Name": Name, "Value": self.values[Name]}}
