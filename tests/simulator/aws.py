"""The AWS services that nothing of ours depends on in detail, by moto, over HTTP."""

import logging

import httpx
from moto.server import ThreadedMotoServer


class AwsServer:
    """An empty account on loopback. One at a time: moto keeps its state for the whole process."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        httpx.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()

    def close(self) -> None:
        """Stop to listen."""
        self._server.stop()
