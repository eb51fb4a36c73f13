"""HTTP/1.1 heads and bodies: what is taken, and that nothing else gets through."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.vendors.ngrok.simulator import http1
from ops.vendors.ngrok.simulator.http1 import BadMessage, Head


def _fed(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=http1.HEAD_LIMIT)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def _head(data: bytes) -> Head | None:
    async def read() -> Head | None:
        return await http1.read_head(_fed(data), "request")

    return asyncio.run(read())


def _body(data: bytes, how: http1.Framing, length: int = 0) -> bytes:
    async def read() -> bytes:
        return b"".join([piece async for piece in http1.body(_fed(data), how, length)])

    return asyncio.run(read())


def test_a_head_is_encoded_as_it_was_read() -> None:
    """Names keep their case, repeated headers their order."""
    raw = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\n\r\n"
    head = _head(raw)
    assert head is not None
    assert head.encode() == raw
    assert (head.method, head.target, head.all("A"), head.get("HOST")) == ("GET", "/a?b=c", ["1", "2"], "x")


def test_the_end_of_a_connection() -> None:
    """A clean end is None, an end within a head is not."""
    assert _head(b"") is None
    with pytest.raises(BadMessage):
        _head(b"GET / HT")


@pytest.mark.parametrize(
    ("headers", "method", "status", "expected"),
    [
        ([], None, 0, ("none", 0)),
        ([("Content-Length", "5")], None, 0, ("length", 5)),
        ([("Transfer-Encoding", "chunked")], None, 0, ("chunked", 0)),
        ([("Content-Length", "5")], "HEAD", 200, ("none", 0)),
        ([("Content-Length", "5")], "GET", 304, ("none", 0)),
        ([], "GET", 200, ("close", 0)),
    ],
)
def test_where_a_body_ends(
    headers: list[tuple[str, str]], method: str | None, status: int, expected: tuple[str, int]
) -> None:
    """By the rules of RFC 9112, section 6.3."""
    start = "POST / HTTP/1.1" if method is None else f"HTTP/1.1 {status} X"
    assert http1.framing(Head(start, tuple(headers)), response_to=method) == expected


def test_a_chunked_body_passes_as_it_is() -> None:
    """Sizes, extensions and trailers included; what follows stays."""
    raw = b"5;x=1\r\nhello\r\n0\r\nTrailer: a\r\n\r\n"
    assert _body(raw + b"GET /", "chunked") == raw


@pytest.mark.parametrize("raw", [b"zz\r\n", b"5\r\nhel", b"-1\r\n\r\n", b"", b"fffffffffffffff\r\n"])
def test_a_broken_chunked_body(raw: bytes) -> None:
    """Refused, not guessed."""
    with pytest.raises(BadMessage):
        _body(raw, "chunked")


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    """No other exception, and a head that is taken has no line break or NUL in a value."""
    try:
        head = _head(data + b"\r\n\r\n")
    except BadMessage:
        return
    assert head is not None
    assert not any(c in value for _, value in head.headers for c in "\r\n\0")
