"""The websocket below a media stream: the client side, without a task of its own.

Bytes go to and from `websockets`' protocol object (RFC 6455) in callbacks of the event loop, so that
two hundred calls fit on one core, and so that a socket can be stalled, sliced or torn on request. Texts,
fifty a second and call, are framed here: the protocol object has no part in a whole frame of an open socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast
from urllib.parse import urljoin, urlsplit, urlunsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

MAX_MESSAGE = 1 << 20  # bytes; a longer message from the server ends the stream
CLOSE_TIMEOUT = 2.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SEND_BUFFER = 16 * 1024
FINAL_TEXT, MASKED = 0x81, 0x80  # first and second byte of a frame


class HandshakeFailed(Exception):
    """The server did not answer the upgrade with 101; `status` is what it answered, if anything."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class WebSocket(asyncio.Protocol):
    """One client connection; text messages come as `on_text`, everything else as its end."""

    def __init__(self, protocol: ClientProtocol, on_text: Callable[[str | None], None]) -> None:
        self._protocol = protocol
        self._on_text = on_text  # called with None for a message that is no text
        self._transport: asyncio.Transport | None = None
        self._parts = bytearray()
        self._text = True
        self._loop = asyncio.get_running_loop()
        self._response: asyncio.Future[Response] = self._loop.create_future()
        self.closed: asyncio.Future[int | None] = self._loop.create_future()
        self.slice_bytes = 0  # >0: hand the bytes to the network in pieces of that size

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        headers: Mapping[str, str],
        on_text: Callable[[str | None], None],
        timeout: float,
        tls: ssl.SSLContext | None = None,
    ) -> WebSocket:
        """Open `url`; raises HandshakeFailed, TimeoutError, ssl.SSLError or OSError."""
        uri = parse_uri(url)
        protocol = ClientProtocol(uri, max_size=MAX_MESSAGE)
        loop = asyncio.get_running_loop()
        context = (tls or _trusting()) if uri.secure else None
        async with asyncio.timeout(timeout):
            _, opened = await loop.create_connection(
                lambda: cls(protocol, on_text), uri.host, uri.port, ssl=context
            )
            try:
                await opened._upgrade(headers)
            except BaseException:
                opened.abort()
                raise
        return opened

    async def _upgrade(self, headers: Mapping[str, str]) -> None:
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        waited: list[asyncio.Future[Any]] = [self._response, self.closed]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        problem = self._protocol.handshake_exc
        if isinstance(problem, InvalidStatus):
            status = problem.response.status_code
            raise HandshakeFailed(f"the server answered {status}, not 101", status)
        if problem is not None or not self._response.done():
            raise HandshakeFailed(f"the upgrade failed: {problem or 'the connection was closed'}")

    @property
    def open(self) -> bool:
        return self._protocol.state is State.OPEN

    @property
    def unsent(self) -> int:
        """Bytes that the server has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    @property
    def broke_protocol(self) -> bool:
        """Whether the server violated RFC 6455 or our size limit."""
        problem = self._protocol.parser_exc
        return problem is not None and not isinstance(problem, EOFError)

    def send(self, text: str) -> None:
        """One text message; nothing happens on a socket that is not open."""
        if self.open:
            self._write(text_frame(text.encode("utf-8", "replace"), os.urandom(4)))

    def close(self, code: int = 1000) -> None:
        """Say goodbye; the connection is cut if the server does not answer soon."""
        if self.open:
            self._protocol.send_close(code)
            self._flush()
        self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        """Cut the connection without a word (a TCP reset where bytes are unsent)."""
        if self._transport:
            self._transport.abort()

    def stall(self) -> None:
        """Read nothing any more; the server notices only when its buffers are full."""
        if self._transport and not self._transport.is_closing():
            self._transport.pause_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        # A server that does not read is noticed after a second or two, not after megabytes.
        shared = os.dup(transport.get_extra_info("socket").fileno())  # uvloop's own object sets no options
        with socket.socket(fileno=shared) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._flush()
        self._deliver()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()
        self._deliver()

    def connection_lost(self, problem: Exception | None) -> None:
        self._protocol.receive_eof()
        self._deliver()
        if not self.closed.done():
            self.closed.set_result(self._protocol.close_rcvd.code if self._protocol.close_rcvd else None)

    def _flush(self) -> None:
        transport = self._transport
        for data in self._protocol.data_to_send():
            if data:
                self._write(data)
            elif transport and not transport.is_closing() and transport.can_write_eof():
                transport.write_eof()
        if self._protocol.close_expected() and transport:
            self._loop.call_later(CLOSE_TIMEOUT, transport.abort)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        size = self.slice_bytes or len(data)
        for begin in range(0, len(data), size):
            transport.write(data[begin : begin + size])

    def _deliver(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                if not self._response.done():
                    self._response.set_result(event)
            elif isinstance(event, Frame):
                self._frame(event)

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode is Opcode.TEXT
            self._parts = bytearray()
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts += frame.data
        if frame.fin:
            try:
                text = self._parts.decode() if self._text else None
            except UnicodeDecodeError:
                text = None
            self._parts = bytearray()
            self._on_text(text)


def text_frame(payload: bytes, key: bytes) -> bytes:
    """One whole text frame as a client sends it, masked with a key of four bytes (RFC 6455, 5.2 and 5.3)."""
    size = len(payload)
    if size < 126:
        head = bytes((FINAL_TEXT, MASKED | size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", FINAL_TEXT, MASKED | 126, size)
    else:
        head = struct.pack(">BBQ", FINAL_TEXT, MASKED | 127, size)
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return head + key + masked.to_bytes(size, "little")


@cache
def _trusting() -> ssl.SSLContext:
    """Certificates as this machine trusts them; reading them takes too long to do it for every call."""
    return ssl.create_default_context()


def address_fault(url: str) -> str:
    """What is wrong with a stream's address, or nothing; plain ws is accepted on loopback alone."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises on a bad port)
        parse_uri(url)
        well_formed = not parts.netloc.endswith(":")  # wss://https://…
    except (ValueError, WebSocketException):
        well_formed = False
    if not well_formed:
        return f"expected a wss:// URL, got {url[:120]!r}"
    if parts.scheme == "ws" and parts.hostname not in LOOPBACK:
        return f"expected a wss:// URL (ws:// only on loopback), got {url[:120]!r}"
    return ""


def absolute_address(url: str, base: str) -> str:
    """A stream's address; a relative one is relative to its document, over websockets."""
    if "://" in url:
        return url
    return urljoin(base, url).replace("http", "ws", 1)


def behind_tunnel(url: str, webhook: str) -> str:
    """Where a stream's address really is.

    A bridge on loopback that was asked in plain HTTP has no TLS; it writes wss:// all the same,
    because in public a tunnel stands before it. Such an address, the webhook's own host with its
    port or none, is opened as that tunnel would: in plain, at the webhook's port.
    """
    parts, asked = urlsplit(url), urlsplit(webhook)
    same = parts.hostname == asked.hostname and parts.port in (None, asked.port)
    if (parts.scheme, asked.scheme) == ("wss", "http") and same and parts.hostname in LOOPBACK:
        return urlunsplit(("ws", asked.netloc, parts.path, parts.query, ""))
    return url
