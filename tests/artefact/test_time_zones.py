"""Time zones ship with the artefact: Lambda's Python may have none of its own."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_artefact_has_the_tz_database() -> None:
    assert "\ntzdata==" in (ROOT / "functions" / "requirements.txt").read_text()
