"""The build page: who may read it, what it sends, and that nothing of a pipeline is ever more than text in it."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from rich.console import Console

from tests.simulator.buildkite import Buildkite, Step
from tests.simulator.demo.live import draw
from tests.simulator.demo.picture import NoBrowserError, browser, headless, take_picture
from tests.simulator.demo.snapshot import Camera
from tests.simulator.demo.web import WebPage, page_html
from tests.unit.simulator.region import Region

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>bold</b>"
PNG = b"\x89PNG"


def has_browser() -> bool:
    try:
        return bool(browser())
    except NoBrowserError:
        return False


needs_browser = pytest.mark.skipif(not has_browser(), reason="no Chromium here (apt install chromium)")


def a_camera(*steps: Step) -> Camera:
    buildkite = Buildkite(now=lambda: datetime(2026, 1, 5, 9, tzinfo=UTC))
    buildkite.create_build(steps=steps or [Step(label="Unit", command="make unit")])
    return Camera(
        buildkite=buildkite,
        ec2=Region().ec2,
        assignments=dict,
        now=lambda: datetime(2026, 1, 5, 9, tzinfo=UTC),
        name="p.yml",
    )


def hostile_state() -> dict[str, Any]:
    """A state in which every text that a pipeline, a log or a build page decides on would like to be markup."""
    state = a_camera(Step(label=HOSTILE, command=HOSTILE)).state()
    (job,) = state["jobs"]
    job |= {"log": HOSTILE, "said": HOSTILE, "group": HOSTILE, "kind": "failed", "told": [{"at": 1.0, "text": HOSTILE}]}
    job["vms"] = [
        {
            "id": HOSTILE,
            "type": HOSTILE,
            "zone": "z",
            "capacity": "spot",
            "state": HOSTILE,
            "reason": HOSTILE,
            "at": 0.0,
            "job": HOSTILE,
        }
    ]
    return {**state, "name": HOSTILE, "notes": [HOSTILE], "verdict": [HOSTILE], "vms": job["vms"], "outcome": "failed"}


@pytest.fixture
def page() -> Iterator[WebPage]:
    made = WebPage(a_camera())
    yield made
    made.close()


def test_the_page_asks_nobody_but_the_demo_and_runs_only_its_own_script(page: WebPage) -> None:
    answer = httpx.get(page.url)
    policy = answer.headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert set(re.findall(r"<(?:script|style) nonce=\"([\w-]+)\"", answer.text)) == {nonce}
    assert not re.search(r"https?://|//[a-z]|innerHTML|document\.write|eval\(", answer.text.replace("// All text", ""))
    assert nonce not in httpx.get(page.url).text


def test_it_listens_on_this_machine_only_and_to_no_other_name(page: WebPage) -> None:
    where = urlsplit(page.url)
    assert where.hostname == "127.0.0.1"
    for name, status in (
        ("localhost", 200),
        ("127.0.0.1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ):
        assert httpx.get(page.url, headers={"Host": f"{name}:{where.port}"}).status_code == status
    assert httpx.get(f"{page.url}etc/passwd").status_code == 404
    assert httpx.post(page.url).status_code == 404


def test_the_state_comes_as_events_until_the_demo_ends(page: WebPage) -> None:
    with httpx.stream("GET", f"{page.url}events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        state = json.loads(next(lines).removeprefix("data: "))
        assert [job["label"] for job in state["jobs"]] == ["Unit"]
        assert next(lines) == ""
        assert next(lines).startswith("data: ")
        threading.Timer(0.1, page.close).start()
        assert all(line == "" or line.startswith("data: ") for line in lines)


def test_a_state_in_the_page_ends_no_element() -> None:
    html, policy = page_html(hostile_state())
    assert html.count("</script>") == 1
    assert "connect-src 'none'" in policy


@needs_browser
def test_what_a_pipeline_writes_is_text_in_a_browser(tmp_path: Path) -> None:
    html, _ = page_html(hostile_state())
    path = tmp_path / "page.html"
    path.write_text(html)
    seen = headless("--dump-dom", path.as_uri())
    body = seen[seen.index("<body>") if "<body>" in seen else 0 : seen.index("<script")]
    assert "<img" not in body
    assert "<b>" not in body
    assert "<title>owned</title>" not in seen
    assert body.count("&lt;/script&gt;&lt;img") >= 8, "some of it is not shown at all"


def _close_when_asked(page: WebPage) -> None:
    page.asked.wait(30)
    page.close()


@needs_browser
def test_a_browser_follows_the_demo_and_draws_it(page: WebPage, tmp_path: Path) -> None:
    # The browser's own clock stands still while a stream is open, so the demo ends soon after it was asked.
    ended = threading.Thread(target=_close_when_asked, args=(page,))
    ended.start()
    seen = headless("--virtual-time-budget=2000", "--dump-dom", page.url)
    ended.join()
    assert "Unit" in seen
    assert "waits for a VM" in seen
    assert "The demo has ended" in seen
    picture = tmp_path / "page.png"
    take_picture(a_camera().state(), picture, height=300)
    assert picture.read_bytes().startswith(PNG)


def test_a_terminal_shows_what_moves_where_not_all_fits() -> None:
    state = a_camera(*(Step(label=f"Job {n}") for n in range(30))).state()
    state["jobs"][7] |= {"kind": "running", "said": "running"}
    console = Console(file=StringIO(), width=120, force_terminal=True)
    console.print(draw(state, rows=5))
    said = str(console.file.getvalue())  # type: ignore[attr-defined]  # it is a StringIO
    assert "Job 7" in said
    assert "(25 more jobs)" in said
    assert said.count("Job ") == 5
