"""Pages of an answer, as EC2 gives them: the next one by a token."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulator.cloud.errors import Ec2Error


def page_of(name: str, items: Sequence[Any], request: Mapping[str, Any], largest: int) -> dict[str, Any]:
    """The page that was asked for.

    Args:
        name: of the answer's list.
        largest: how many items a page holds at most; also without MaxResults.

    Raises:
        Ec2Error: the token is none of EC2's.
    """
    token = request.get("NextToken") or "0"
    if not token.isdecimal():
        raise Ec2Error("InvalidNextToken", "The token is invalid")
    start = int(token)
    end = start + min(request.get("MaxResults") or largest, largest)
    more = {"NextToken": str(end)} if end < len(items) else {}
    return {name: list(items[start:end]), **more}
