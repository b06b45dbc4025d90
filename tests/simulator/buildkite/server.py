"""The simulated Buildkite on loopback, over real HTTP."""

import time

from werkzeug import Request, Response

from tests.simulator.buildkite.buildkite import Buildkite
from tests.simulator.buildkite.operations import BASE_PATH
from tests.simulator.loopback import AnswerLost, LoopbackServer


class BuildkiteServer(LoopbackServer):
    """Serves a `Buildkite`."""

    def __init__(self, buildkite: Buildkite) -> None:
        self._buildkite = buildkite
        super().__init__(self._answer, advance=buildkite.advance)

    @property
    def url(self) -> str:
        """The base URL of both APIs: where a stack's BuildkiteEndpoint points to."""
        return self.origin + BASE_PATH

    def _answer(self, request: Request) -> Response:
        served = self._buildkite.serve(request)
        if served.lost:
            raise AnswerLost
        time.sleep(served.late_seconds)
        return Response(served.body, status=served.status, headers=dict(served.headers))
