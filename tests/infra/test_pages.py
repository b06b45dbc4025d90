"""Pages that are written from the code: whole, and readable."""

from agent_stack.domain.notices import NoticeKind
from infra import decisions, notifications


def test_a_reader_finds_every_notice_and_no_page_without_end() -> None:
    page = notifications.page()
    assert {example.notice.kind for example in notifications.examples()} == set(NoticeKind)
    assert all(example.notice.text.replace("|", "\\|") in page for example in notifications.examples())
    assert len(decisions.page().splitlines()) < 200
