"""The page of a simulated day on a phone, in a browser: it is as wide as the phone, whatever names are in it."""

from dataclasses import replace
from html import escape
from pathlib import Path

from agent_stack_cli.simulation.page import page, pictures
from tests.cli.test_simulate import a_day, an_outcome
from tests.simulator.demo.picture import headless
from tests.unit.simulator.test_demo_page import needs_browser

PHONE = 390
LONG = "x" * 200


@needs_browser
def test_no_name_makes_the_page_wider_than_a_phone(tmp_path: Path) -> None:
    (job,) = an_outcome()["jobs"]
    lost = {**job, "started": None, "finished_by_stack": LONG}
    said = [{"level": "WARNING", "message": LONG, "times": 3}]
    request = {"name": LONG, "total": 1, "busiest": 1, "budget": LONG, "used_percent": 2.0, "refused": 0}
    day = a_day(jobs=[job, lost], said=said, broken_classes={LONG: LONG}, requests=[request])
    other = replace(day, deployment=replace(day.deployment, name=LONG))
    inputs = [("classes", ", ".join(f"class-{n}" for n in range(300)), "ci"), (LONG, LONG, LONG)]
    drawn = pictures([a_day()])
    text = page(LONG, LONG, [day, other], drawn, drawn, inputs, [LONG])
    frame = f'<iframe width={PHONE} height=800 style="border:0" srcdoc="{escape(text)}"></iframe>'
    script = (
        "const inner = document.querySelector('iframe').contentDocument;"
        "inner.querySelectorAll('details').forEach(one => one.open = true);"
        "document.title = 'wide ' + inner.documentElement.scrollWidth + ' '"
        " + [...inner.querySelectorAll('h1, h2, p, li, section')].filter(one => one.scrollWidth > one.clientWidth + 1)"
        ".map(one => one.tagName)"
    )
    outer = tmp_path / "outer.html"
    outer.write_text(f'<!doctype html>{frame}<script>addEventListener("load", () => {{{script}}})</script>')
    dom = headless("--window-size=1000,900", "--virtual-time-budget=5000", "--dump-dom", outer.as_uri())
    assert f"<title>wide {PHONE} </title>" in dom
