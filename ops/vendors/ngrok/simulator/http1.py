"""One HTTP/1.1 message at a time over asyncio streams: its head, and its body piece by piece (RFC 9112)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Literal

HEAD_LIMIT = 65_536
PIECE = 65_536
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ \S+ HTTP/1\.[01]")
_RESPONSE = re.compile(r"HTTP/1\.[01] \d{3}( .*)?")
Framing = Literal["none", "length", "chunked", "close"]


class BadMessage(Exception):
    """The other side does not speak HTTP/1.1; `status` is what to answer, when there is someone to answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Head:
    """A start line and the headers in their order; names keep their case, lookups ignore it."""

    start: str
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str, default: str = "") -> str:
        return next(iter(self.all(name)), default)

    def words(self, name: str) -> set[str]:
        """The comma-separated words of a header, lower case."""
        return {word.strip().lower() for value in self.all(name) for word in value.split(",") if word.strip()}

    def without(self, names: Iterable[str]) -> Head:
        dropped = {name.lower() for name in names}
        return Head(self.start, tuple(pair for pair in self.headers if pair[0].lower() not in dropped))

    def plus(self, *pairs: tuple[str, str]) -> Head:
        return Head(self.start, (*self.headers, *pairs))

    @property
    def method(self) -> str:
        return self.start.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def grouped(self) -> dict[str, list[str]]:
        """Headers as lists by name, as ngrok's inspector shows them."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
        return found

    def encode(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


async def read_head(
    reader: asyncio.StreamReader, kind: Literal["request", "response"], first: bytes = b""
) -> Head | None:
    """The next head, None at a clean end; `first` are bytes of it that were read already."""
    try:
        raw = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as broken:
        if first + broken.partial:
            raise BadMessage(400, "the head ended in the middle") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadMessage(431, f"the head is longer than {HEAD_LIMIT} bytes") from None
    start, *lines = raw[:-4].lstrip(b"\r\n").decode("latin-1").split("\r\n")
    if not (_REQUEST if kind == "request" else _RESPONSE).fullmatch(start):
        raise BadMessage(400, "the start line is malformed")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or "\0" in value or "\n" in value or "\r" in value:
            raise BadMessage(400, "a header line is malformed")
        headers.append((name, value.strip(" \t")))
    return Head(start, tuple(headers))


def framing(head: Head, *, response_to: str | None = None) -> tuple[Framing, int]:
    """How the body is delimited, and its length; `response_to` is the request's method for a response."""
    if response_to is not None and (response_to == "HEAD" or head.status in (204, 304) or head.status < 200):
        return "none", 0
    lengths, encodings = set(head.all("content-length")), head.words("transfer-encoding")
    if encodings:
        if encodings != {"chunked"} or lengths:
            raise BadMessage(400, "unclear where the body ends")
        return "chunked", 0
    if lengths:
        if len(lengths) != 1 or not re.fullmatch(r"\d{1,15}", length := lengths.pop(), re.ASCII):
            raise BadMessage(400, "a bad Content-Length")
        return ("length", int(length)) if int(length) else ("none", 0)
    return ("close", 0) if response_to is not None else ("none", 0)


async def body(reader: asyncio.StreamReader, how: Framing, length: int) -> AsyncIterator[bytes]:
    """The body's bytes as they arrive, chunk framing included, so that they can be passed on as they are."""
    if how == "length":
        while length:
            piece = await reader.read(min(PIECE, length))
            if not piece:
                raise BadMessage(400, "the body ended early")
            length -= len(piece)
            yield piece
    elif how == "close":
        while piece := await reader.read(PIECE):
            yield piece
    elif how == "chunked":
        try:
            while True:
                line = await reader.readuntil(b"\r\n")
                size = _chunk_size(line)
                yield line
                if size == 0:
                    break
                async for piece in body(reader, "length", size + 2):
                    yield piece
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                yield line
            yield line
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise BadMessage(400, "the chunked body is malformed") from None


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{1,12}", digits):
        raise BadMessage(400, "the chunked body is malformed")
    return int(digits, 16)


def response(status: str, content_type: str, content: bytes, *extra: tuple[str, str]) -> bytes:
    """A whole response, ready to send."""
    headers = (("Content-Type", content_type), ("Content-Length", str(len(content))), *extra)
    return Head(f"HTTP/1.1 {status}", headers).encode() + content
