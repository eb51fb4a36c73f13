"""The HTTP protocol of the public port, with a limit on connections that say little.

A request's headers must be complete within five seconds. Of the connections of one address that are
slow to show a whole request, only so many are kept, the newest, and of all addresses so many more;
those that are quick do not count at all, so many calls through one tunnel do no harm. Who asks and does
not read the answers is closed, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN = 5.0  # seconds
READS_WITHIN = 5.0  # seconds in which whoever asks has read the answers
MEDIA_PATH = "/call"  # behind a proxy with a bridge's name: /call/NAME
QUICK = 1.0  # seconds in which a connection is not called slow
ADDRESSES = 25  # of which the slow connections may all be kept
Take = Callable[[asyncio.Transport, bytes, str], None]  # a connection, the request it began with, its address


def is_media(asked: bytes, media_path: str) -> bool:
    """Whether a request's path, as it stands in it, is the media stream's: a path is right or wrong."""
    return asked == media_path.encode()


def signatures_of(head: bytes) -> list[str]:
    """Every `X-Twilio-Signature` of a request that was taken."""
    lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    headers = (line.partition(b": ") for line in lines)
    return [value.decode("latin-1") for name, _, value in headers if name == b"x-twilio-signature"]


class Strangers:
    """The connections that are slow to show a whole request, the oldest first, and their addresses."""

    def __init__(self, per_address: int, refused: Callable[[str, str], None]) -> None:
        self._limit = per_address
        self._refused = refused
        self._slow: dict[Listener, str] = {}

    def slow(self, one: Listener, address: str) -> None:
        """A connection is slow; with one too many of them, the oldest of its address or of all is dropped."""
        self._slow[one] = address
        neighbours = [other for other, its in self._slow.items() if its == address]
        if len(neighbours) > self._limit:
            self.drop(neighbours[0], "too many connections without a request")
        elif len(self._slow) > self._limit * ADDRESSES:
            self.drop(next(iter(self._slow)), "too many connections without a request, of many addresses")

    def drop(self, one: Listener, reason: str) -> None:
        address = self._slow.pop(one, None)
        if address is not None:  # else dropped a moment ago
            self._refused(address, reason)
            one.transport.abort()

    def forget(self, one: Listener) -> None:
        self._slow.pop(one, None)


class Listener(H11Protocol):
    """uvicorn's protocol, watched until each request is whole."""

    strangers: Strangers  # of the class that `listener` makes, like the next three
    refused: Callable[[str, str], None]
    take: Take | None
    media_path: str

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else "?"
        self._watch: asyncio.TimerHandle | None = self.loop.call_later(QUICK, self._is_slow)
        self._unread: asyncio.TimerHandle | None = None
        transport.set_write_buffer_limits(high=0)  # so that we are told of each answer that is not taken

    def data_received(self, data: bytes) -> None:
        if self._watch is None and not self._whole:
            self._watch = self.loop.call_later(QUICK, self._is_slow)
        super().data_received(data)

    @property
    def _answering(self) -> bool:
        """Whether there is a request whose headers are whole, and which has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _whole(self) -> bool:
        """Whether its body is, too."""
        return self._answering and not self.cycle.more_body

    def _is_slow(self) -> None:
        self._watch = self.loop.call_later(HEADERS_WITHIN - QUICK, self._is_late)
        self.strangers.slow(self, self._address)

    def _is_late(self) -> None:
        if self._answering:  # in time, and whoever reads its body has a limit of his own
            self._watch = self.loop.call_later(HEADERS_WITHIN, self._is_late)
        else:
            self.strangers.drop(self, f"no whole request within {HEADERS_WITHIN:g} s")

    def handle_events(self) -> None:
        before = self.headers
        super().handle_events()
        asks_for_a_stream = self.headers is not before and not self._answering
        if self._whole or asks_for_a_stream:
            self._known()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READS_WITHIN, self._is_deaf)

    def resume_writing(self) -> None:
        self._is_read()
        super().resume_writing()

    def _is_deaf(self) -> None:
        self.refused(self._address, f"no answer was read within {READS_WITHIN:g} s")
        self.transport.abort()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP: no other answer may follow this one, nor this one another."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self._answering:
            self.cycle.disconnected = True

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        if self.flow.write_paused:  # no caller: its stream would begin with a buffer that is full
            self._is_deaf()
            return
        if self.take is None or not is_media(self.scope["raw_path"], self.media_path):
            self.transport.set_write_buffer_limits()
            super().handle_websocket_upgrade(event)
            return
        self.connections.discard(self)
        lines = [b"%b %b HTTP/1.1" % (event.method, event.target), b"Connection: Upgrade"]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"connection"]
        self.take(self.transport, b"\r\n".join([*lines, b"", self.conn.trailing_data[0]]), self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        self._known()
        self._is_read()
        super().connection_lost(exc)

    def _known(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self.strangers.forget(self)


def listener(
    per_address: int,
    refused: Callable[[str, str], None],
    take: Take | None = None,
    media_path: str = MEDIA_PATH,
) -> type[Any]:
    """The protocol class for one server; `refused(address, reason)` hears of every connection dropped, and
    `take` gets those that ask for the media stream (left out, they go the way of every request)."""
    bound = {
        "strangers": Strangers(per_address, refused),
        "refused": staticmethod(refused),
        "take": staticmethod(take) if take else None,
        "media_path": media_path,
    }
    return type("Listener", (Listener,), bound)
