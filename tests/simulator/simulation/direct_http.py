"""An httpx client without what httpx does between two processes: the same requests, answers and errors, much faster.

Redirects, cookies, authentication and pools took a sixth of a simulated day, and this Buildkite has none of them. That
the product's client works with the whole of httpx is for the Stacks API's contract suite to show.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import httpx


class DirectHttp(httpx.Client):
    """Looks like httpx's client to whoever streams an answer; all else of it is httpx's own."""

    def __init__(self, carry: Callable[[httpx.Request], httpx.Response], base_url: str) -> None:
        super().__init__(transport=httpx.MockTransport(carry), base_url=base_url)
        self._carry = carry

    @contextmanager
    def stream(  # type: ignore[override]  # only what the product gives
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,  # noqa: ANN401  (JSON)
        headers: Mapping[str, str],
        extensions: Mapping[str, Any],
        timeout: httpx.Timeout,
    ) -> Iterator[httpx.Response]:
        """See `httpx.Client.stream`."""
        request = httpx.Request(
            method,
            _address(url, tuple((params or {}).items())),
            headers=headers,
            json=json,
            extensions={**extensions, "timeout": timeout.as_dict()},
        )
        yield self._carry(request)


@lru_cache(maxsize=1024)
def _address(url: str, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    """Most requests of a world go to the same few addresses, and httpx takes long to read one."""
    return httpx.URL(url, params=dict(params)) if params else httpx.URL(url)
