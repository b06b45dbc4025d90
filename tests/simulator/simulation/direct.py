"""An EC2 client without botocore in between: the same parameters, answers and errors, a hundred times as fast.

That real botocore says the same is for the fleet's contract suite to show.
"""

import base64
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

from tests.simulator.cloud import Caller, Ec2
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.loopback import AnswerLost


class DirectClient:
    """Looks like boto3's EC2 client to whoever calls it."""

    def __init__(
        self, ec2: Ec2, caller: Caller | None = None, told: Callable[[str, Any, Any], None] = lambda *_: None
    ) -> None:
        """A client.

        Args:
            told: what each answer is told to, with its action and parameters; a refusal as its `Ec2Error`.
        """
        self._ec2 = ec2
        self._caller = caller
        self._told = told

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        action = re.sub(r"(?:^|_)(\w)", lambda match: match.group(1).upper(), name)

        def call(**parameters: object) -> dict[str, Any]:
            try:
                answer = self._ec2.request(action, parameters, self._caller)
            except Ec2Error as error:
                self._told(action, parameters, error)
                refusal: Any = {
                    "Error": {"Code": error.code, "Message": error.message},
                    "ResponseMetadata": {"HTTPStatusCode": error.status},
                }
                raise ClientError(refusal, action) from None
            except AnswerLost:
                raise ConnectionClosedError(endpoint_url="https://ec2") from None
            self._told(action, parameters, answer)
            if action == "GetConsoleOutput":  # botocore decodes it for its caller
                answer = {**answer, "Output": base64.b64decode(answer["Output"]).decode()}
            return answer

        return call
