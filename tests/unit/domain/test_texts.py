"""Texts that people read fit, and never in half a character."""

import pytest

from agent_stack.domain.texts import crop_bytes, crop_characters, last_bytes, printable

MIXED = "aé𝄞…" * 50


@pytest.mark.parametrize("limit", range(4, 60))
def test_a_cropped_text_fits_and_is_whole(limit: int) -> None:
    assert len(crop_characters(MIXED, limit)) == limit
    for cropped in (crop_bytes(MIXED, limit), last_bytes(MIXED, limit)):
        assert len(cropped.encode()) <= limit
        assert "�" not in cropped
    assert MIXED.startswith(crop_bytes(MIXED, limit)[:-1])
    assert MIXED.endswith(last_bytes(MIXED, limit)[1:])


@pytest.mark.parametrize("length", range(1, 12))
def test_bytes_are_counted_and_not_characters(length: int) -> None:
    text = "𝄞" * length
    for cropped in (crop_bytes(text, 12), last_bytes(text, 12)):
        assert len(cropped.encode()) <= 12
        assert cropped == text or length > 3


def test_a_text_that_fits_stays_as_it_is() -> None:
    assert crop_characters("héllo", 5) == crop_bytes("héllo", 6) == last_bytes("héllo", 6) == "héllo"


def test_a_lone_surrogate_can_be_sent() -> None:
    for text in (crop_characters("a\ud800", 9), crop_bytes("a\ud800", 9), last_bytes("a\ud800", 9)):
        assert text == "a?"


def test_a_console_keeps_its_lines_and_loses_what_moves_the_page() -> None:
    said = "\x1b[0;32mok\x1b[0m\r\nnext\rline\x07\x00 \x1b]0;title\x07\u202eevil\t."
    assert printable(said) == "ok\nnext\nline    evil ."
