"""Pages that are written from the code: whole, and readable."""

from agent_stack.domain.notices import NoticeKind
from agent_stack.wiring import inspection
from agent_stack_cli import doctor
from infra import decisions, doctor_looks, notifications


def test_a_reader_finds_every_notice_and_no_page_without_end() -> None:
    page = notifications.page()
    assert {example.notice.kind for example in notifications.examples()} == set(NoticeKind)
    assert all(example.notice.text.replace("|", "\\|") in page for example in notifications.examples())
    assert len(decisions.page().splitlines()) < 200


def test_the_page_of_the_command_has_each_look_of_doctor_with_what_it_finds() -> None:
    """By each of them on its own, so that a look that is added, or taken away, is noticed."""
    page = doctor_looks.PAGE.read_text()
    looks = {**inspection.LOOKS, **doctor.LOOKS}
    assert len(looks) == len(inspection.LOOKS) + len(doctor.LOOKS)
    begun = page.partition(doctor_looks.BEGIN)[2].partition(doctor_looks.END)[0]
    assert [line.split(" | ")[0].removeprefix("| ") for line in begun.splitlines()[2:]] == list(looks)
    assert page == doctor_looks.page()
