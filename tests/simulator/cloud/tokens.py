"""Client tokens: the same request again gets the same answer, another request under the token is refused."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.simulator.cloud.errors import Ec2Error

MAX_CHARACTERS = 64


class Tokens:
    """The tokens of one action. A refusal of a whole request spends none."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, dict[str, Any]]] = {}
        self.count = 0
        """Answers so far, with tokens and without."""

    def once(self, request: Mapping[str, Any], serve: Callable[[], dict[str, Any]], scope: str = "") -> dict[str, Any]:
        """The answer to a request, which is served only if its token is new.

        Args:
            scope: within which the token counts, such as a zone.

        Raises:
            Ec2Error: the token is malformed, or was used with other parameters.
        """
        token = request.get("ClientToken", "")
        if len(token) > MAX_CHARACTERS or not token.isascii():
            raise Ec2Error("InvalidParameterValue", "ClientToken has at most 64 ASCII characters")
        asked = json.dumps(request, sort_keys=True, default=str)
        key = f"{scope}:{token}"
        if token and key in self._answers:
            before, answer = self._answers[key]
            if before != asked:
                raise Ec2Error("IdempotentParameterMismatch", "The token was used with other parameters")
            return answer
        answer = serve()
        self.count += 1
        if token:
            self._answers[key] = (asked, answer)
        return answer
