"""`scripts/pin-agent` writes digests of an agent that came whole, over https, and as its published checksum says."""

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.pin_agent import main, written
from tests.vm.harness import UNPINNED, download_server


@pytest.mark.parametrize("checksum", ["", "0" * 64])
def test_a_digest_is_written_only_when_the_published_checksum_says_the_same(tmp_path: Path, checksum: str) -> None:
    path = tmp_path / "digests"
    path.write_text(f"# known\n{UNPINNED} amd64 {'f' * 64}\n1.0.0 amd64 {'1' * 64}\n")
    before = path.read_text()
    with download_server(b"an agent", checksum=checksum or None, machines=("amd64", "arm64")) as releases:
        code = main([UNPINNED, "--releases", releases.origin], path)
    digest = hashlib.sha256(b"an agent").hexdigest()
    wanted = f"# known\n1.0.0 amd64 {'1' * 64}\n{UNPINNED} amd64 {digest}\n{UNPINNED} arm64 {digest}\n"
    assert (code, path.read_text()) == ((1, before) if checksum else (0, wanted))


@pytest.mark.parametrize(
    "releases",
    ["http://releases.example", "http://127.0.0.1:1@releases.example", "https://u:p@releases.example", "ftp://x"],
)
def test_releases_are_asked_over_https_alone(tmp_path: Path, releases: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digests").write_text("")
    assert main(["1.0.0", "--releases", releases], tmp_path / "digests") == 1
    assert (tmp_path / "digests").read_text() == ""
    assert "is not https to a host without a user" in capsys.readouterr().err


@contextmanager
def releases_that(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on loopback whose every answer that is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _leads_to_plain_http(request: http.server.BaseHTTPRequestHandler) -> None:
    """What it leads to would be taken: an agent whose published checksum fits."""
    name = request.path.removeprefix("/elsewhere")
    if name == request.path:
        request.send_response(302)
        request.send_header("Location", f"http://127.0.0.1:{request.server.server_address[1]}/elsewhere{name}")  # type: ignore[index]  # of a TCP server
        request.end_headers()
        return
    body = hashlib.sha256(b"agent").hexdigest().encode() if name.endswith(".sha256") else b"agent"
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _is_cut(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b"half")


def _is_no_http(request: http.server.BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"hello\r\n")


@pytest.mark.parametrize("answer", [_leads_to_plain_http, _is_cut, _is_no_http])
def test_what_cannot_be_had_whole_and_over_https_is_said_in_one_line_with_the_next_command(
    tmp_path: Path,
    answer: Callable[[http.server.BaseHTTPRequestHandler], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "digests").write_text("")
    with releases_that(answer) as origin:
        assert main(["1.0.0", "--releases", origin], tmp_path / "digests") == 1
    assert (tmp_path / "digests").read_text() == ""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Nothing written: http://127.0.0.1:")
    assert line.endswith(f"Then run scripts/pin-agent 1.0.0 --releases {origin}")


def test_a_version_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digests").write_text("")
    assert main(["../latest"], tmp_path / "digests") == 1
    assert "'../latest' is no version, such as 4." in capsys.readouterr().err


def test_the_newest_versions_are_kept_with_the_default_and_the_added_one() -> None:
    known = "# known\n" + "".join(f"{version} amd64 {'1' * 64}\n" for version in ("4.0.3", "4.2.0", "4.10.0", "4.9.0"))
    kept = [
        line.partition(" ")[0] for line in written(known, [f"3.133.0 amd64 {'2' * 64}"], default="4.0.3").splitlines()
    ]
    assert kept == ["#", "3.133.0", "4.0.3", "4.10.0", "4.9.0"]
