"""A websocket client that reconnects: explicit states, an event on every change, clear causes.

Built on `websockets`. It yields what happens in order, so its user sees a lost and a new
connection at the very place in the stream of messages where they happened.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ops.errors import Unreachable
from ops.net.retry import Attempts, Policy

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class State(StrEnum):
    """Where the client stands; every move yields a `Change`."""

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"  # a try failed or a connection was lost; the next try comes after a delay
    CLOSED = "closed"  # we closed it
    FAILED = "failed"  # given up: refused for good, or too many tries


@dataclass(frozen=True)
class Change:
    """A move to a new state: which try, why, the seconds until the next try, the handshake's seconds."""

    state: State
    attempt: int = 0
    cause: str = ""
    delay: float = 0.0
    handshake: float = 0.0
    code: int | None = None  # HTTP status or close code, where there was one


class ReconnectingWebSocket:
    """One logical connection to `url`, kept open by `policy` until closed or refused for good.

    Iterate over `stream()` for messages (text or bytes) and `Change`s; `send` raises `Unreachable`
    while no connection is open. A try that takes longer than `timeout` seconds counts as failed.
    HTTP 401, 403, 404 and the close codes in `final` are not tried again.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        policy: Policy | None = None,
        timeout: float = 5.0,
        max_size: int = 16 * 1024 * 1024,
        final: frozenset[int] = frozenset({401, 403, 404, 3000, 4000}),
        dice: random.Random | None = None,
    ) -> None:
        self.url = url
        self.state = State.CLOSED
        self._headers = dict(headers or {})
        self._policy = policy or Policy()
        self._timeout = timeout
        self._max_size = max_size
        self._final = final
        self._dice = dice or random.Random()
        self._socket: ClientConnection | None = None
        self._closing = asyncio.Event()

    async def stream(self) -> AsyncIterator[str | bytes | Change]:
        """Connects, and yields changes and messages until the client is closed or has failed."""
        attempts = Attempts()
        attempt = 0
        while not self._closing.is_set():
            attempt += 1
            yield self._move(Change(State.CONNECTING, attempt))
            began = time.monotonic()
            uptime, cause, code = 0.0, "", None
            try:
                self._socket = await self._unless_closing(self._connect())
            except Exception as problem:
                cause, code = _why_not_open(problem, self._timeout)
            if self._socket is not None:
                opened = time.monotonic()
                yield self._move(Change(State.OPEN, attempt, handshake=opened - began))
                try:
                    async for message in self._socket:
                        yield message
                except Exception as problem:
                    cause = str(problem)
                uptime = time.monotonic() - opened
                code = self._socket.close_code
                cause = cause or f"closed with {code} {self._socket.close_reason or ''}".rstrip()
                await self._drop()
            if self._closing.is_set():
                break
            attempts = attempts.after(self._policy, uptime)
            if code in self._final or attempts.exhausted(self._policy):
                yield self._move(Change(State.FAILED, attempt, cause, code=code))
                return
            delay = attempts.delay(self._policy, self._dice)
            yield self._move(Change(State.WAITING, attempt, cause, delay, code=code))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), delay)
        yield self._move(Change(State.CLOSED, attempt, "closed by us"))

    async def send(self, message: str | bytes) -> None:
        """Sends one message; raises `Unreachable` when no connection is open."""
        from websockets.exceptions import ConnectionClosed

        try:
            if self._socket is None:
                raise Unreachable(f"{self.url} is not connected ({self.state}).", fix="wait until it is open")
            await self._socket.send(message)
        except ConnectionClosed as problem:
            raise Unreachable(
                f"{self.url} was lost while sending: {problem}.", fix="wait until it is open"
            ) from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes the connection for good; `stream()` then ends with CLOSED."""
        self._closing.set()
        if self._socket is not None:
            await self._socket.close(code, reason)

    async def _connect(self) -> ClientConnection:
        from websockets.asyncio.client import connect

        async with asyncio.timeout(self._timeout):
            return await connect(
                self.url,
                additional_headers=self._headers,
                compression=None,  # audio does not shrink; deflate costs more than the whole relay
                max_size=self._max_size,
                proxy=None,
                open_timeout=None,
                close_timeout=1.0,
            )

    async def _unless_closing(
        self, connecting: Coroutine[Any, Any, ClientConnection]
    ) -> ClientConnection | None:
        """The new connection; None when `close` was called meanwhile."""
        attempt = asyncio.ensure_future(connecting)
        closing = asyncio.ensure_future(self._closing.wait())
        taken = False
        try:
            await asyncio.wait((attempt, closing), return_when=asyncio.FIRST_COMPLETED)
            taken = attempt.done()
            return attempt.result() if taken else None
        finally:
            closing.cancel()
            if not taken:
                await _discard(attempt)

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with suppress(Exception):
                await socket.close()

    def _move(self, change: Change) -> Change:
        self.state = change.state
        return change


async def _discard(attempt: asyncio.Future[ClientConnection]) -> None:
    """Ends a try that nobody waits for any more; it may have succeeded at this very moment."""
    attempt.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await (await attempt).close()


def _why_not_open(problem: Exception, timeout: float) -> tuple[str, int | None]:
    """A failed try in words, and the HTTP status where the other side gave one."""
    from websockets.exceptions import InvalidStatus

    if isinstance(problem, InvalidStatus):
        status = problem.response.status_code
        body = (problem.response.body or b"")[:200].decode("utf-8", "replace")
        return f"refused with HTTP {status} {body}".rstrip(), status
    if isinstance(problem, TimeoutError):
        return f"no handshake within {timeout:g} s", None
    if isinstance(problem, OSError):
        reason = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem)
        return f"cannot connect: {reason}", None
    return f"{type(problem).__name__}: {problem}", None
