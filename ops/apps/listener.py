"""The HTTP protocol of the public port, with a limit on connections that say nothing.

A request's headers must be complete within five seconds. Of the connections of one address that are
slow to show theirs, only so many are kept, the newest; those that are quick do not count at all, so
many calls through one tunnel do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN = 5.0  # seconds
MEDIA_PATH = "/call"  # behind a proxy with a bridge's name: /call/NAME
QUICK = 1.0  # seconds in which a connection is not called slow
Take = Callable[[asyncio.Transport, bytes, str], None]  # a connection, the request it began with, its address


def is_media(asked: bytes, media_path: str) -> bool:
    """Whether a request's path, as it stands in it, is the media stream's: a path is right or wrong."""
    return asked == media_path.encode()


class Strangers:
    """The connections that have not shown a whole request yet, by address."""

    def __init__(self, per_address: int, refused: Callable[[str, str], None]) -> None:
        self._limit = per_address
        self._refused = refused
        self._slow: dict[str, dict[Listener, None]] = {}

    def slow(self, one: Listener, address: str) -> None:
        """A connection is slow; with one too many of them, the oldest of its address is dropped."""
        waiting = self._slow.setdefault(address, {})
        waiting[one] = None
        if len(waiting) > self._limit:
            self.drop(next(iter(waiting)), address, "too many connections without a request")

    def drop(self, one: Listener, address: str, reason: str) -> None:
        self._refused(address, reason)
        self.forget(one, address)
        one.transport.abort()

    def forget(self, one: Listener, address: str) -> None:
        waiting = self._slow.get(address, {})
        waiting.pop(one, None)
        if not waiting:
            self._slow.pop(address, None)


class Listener(H11Protocol):
    """uvicorn's protocol, watched until each request's headers are whole."""

    strangers: Strangers  # of the class that `listener` makes, like the next
    take: Take | None
    media_path: str

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else "?"
        self._watch: asyncio.TimerHandle | None = self.loop.call_later(QUICK, self._is_slow)

    def data_received(self, data: bytes) -> None:
        if self._watch is None and (self.cycle is None or self.cycle.response_complete):
            self._watch = self.loop.call_later(QUICK, self._is_slow)
        super().data_received(data)

    def _is_slow(self) -> None:
        self.strangers.slow(self, self._address)
        self._watch = self.loop.call_later(HEADERS_WITHIN - QUICK, self._is_late)

    def _is_late(self) -> None:
        self.strangers.drop(self, self._address, f"no whole request within {HEADERS_WITHIN:g} s")

    def handle_events(self) -> None:
        before = self.headers
        super().handle_events()
        if self.headers is not before:
            self._known()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        if self.take is None or not is_media(self.scope["raw_path"], self.media_path):
            super().handle_websocket_upgrade(event)
            return
        self.connections.discard(self)
        lines = [b"%b %b HTTP/1.1" % (event.method, event.target), b"Connection: Upgrade"]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"connection"]
        self.take(self.transport, b"\r\n".join([*lines, b"", self.conn.trailing_data[0]]), self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        self._known()
        super().connection_lost(exc)

    def _known(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self.strangers.forget(self, self._address)


def listener(
    per_address: int,
    refused: Callable[[str, str], None],
    take: Take | None = None,
    media_path: str = MEDIA_PATH,
) -> type[Any]:
    """The protocol class for one server; `refused(address, reason)` hears of every connection dropped, and
    `take` gets those that ask for the media stream (left out, they go the way of every request)."""
    strangers, taken = Strangers(per_address, refused), staticmethod(take) if take else None
    return type("Listener", (Listener,), {"strangers": strangers, "take": taken, "media_path": media_path})
