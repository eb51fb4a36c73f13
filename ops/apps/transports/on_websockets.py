"""Sockets on `websockets`: the reference that the fast ones are held against.

The phone's side comes through uvicorn and Starlette, whose websocket is `websockets` as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ops.apps.transports import (
    FROM_MODEL,
    MODEL_STRAIN,
    PHONE_STRAIN,
    SILENT,
    Address,
    NotOpened,
    Reception,
    Socket,
    why_not_opened,
)


class QueuedSocket(Socket):
    """Sends through a queue and a task, because `write` waits; `shut` closes."""

    def __init__(
        self,
        write: Callable[[str], Awaitable[None]],
        shut: Callable[[int, str], Awaitable[None]],
        strain: int,
        peer: str = "?",
    ) -> None:
        super().__init__(peer)
        self._write, self._shut, self._strain = write, shut, strain
        self._queue: asyncio.Queue[str | tuple[int, str]] = asyncio.Queue()
        self._waiting = 0
        self._closing = False
        self._tasks = [asyncio.create_task(self._write_on())]

    def send(self, text: str) -> None:
        if self.closed is None and not self._closing:
            self._waiting += len(text)
            self.strained = self._waiting > self._strain
            self._queue.put_nowait(text)

    def _send_close(self, code: int, reason: str) -> None:
        self._closing = True
        self._queue.put_nowait((code, reason))

    def _abort(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def read_from(self, messages: AsyncIterator[str | bytes | tuple[int | None, str]]) -> None:
        """Passes on what comes, until the close code and reason that end it."""
        async for message in messages:
            if isinstance(message, tuple):
                self._ended(*message)
                self._tasks[0].cancel()
            elif not self._closing:
                self._came(message)

    def read_by_itself(self, messages: AsyncIterator[str | bytes | tuple[int | None, str]]) -> None:
        self._tasks.append(asyncio.create_task(self.read_from(messages)))

    async def _write_on(self) -> None:
        with suppress(ConnectionClosed, RuntimeError, OSError):  # the reader tells why
            while isinstance(message := await self._queue.get(), str):
                await self._write(message)
                self._waiting -= len(message)
                self.strained = self._waiting > self._strain
            await self._shut(*message)


async def dial(address: Address) -> Socket:
    """A socket to the model. Raises NotOpened."""
    try:
        async with asyncio.timeout(address.within):
            connection = await connect(
                address.url,
                additional_headers=address.headers,
                compression=None,  # audio does not shrink
                max_size=FROM_MODEL,
                proxy=None,
                open_timeout=None,
                close_timeout=1.0,
                ping_interval=SILENT,
                ping_timeout=SILENT,
            )
    except InvalidStatus as problem:
        status = problem.response.status_code
        body = (problem.response.body or b"")[:200].decode("utf-8", "replace")
        raise NotOpened(f"refused with HTTP {status} {body}".rstrip(), status) from None
    except Exception as problem:
        raise why_not_opened(problem, address.within) from None
    socket = QueuedSocket(connection.send, connection.close, MODEL_STRAIN)
    socket.read_by_itself(_of_connection(connection))
    return socket


async def _of_connection(connection: ClientConnection) -> AsyncIterator[str | bytes | tuple[int | None, str]]:
    try:
        async for message in connection:
            yield message
    except ConnectionClosed:
        pass
    yield connection.close_code, connection.close_reason or ""


async def stream(reception: Reception, socket: WebSocket) -> None:
    """A phone's stream, as a Starlette endpoint."""
    peer = socket.client.host if socket.client else "?"
    if not reception.admit(peer, socket.headers.getlist("x-twilio-signature")):
        await socket.close(1008)  # before accept: HTTP 403
        return
    await socket.accept()
    taken = QueuedSocket(socket.send_text, socket.close, PHONE_STRAIN, peer)
    reading = asyncio.create_task(taken.read_from(_of_starlette(socket)))
    try:
        await reception.attend(taken)
    finally:
        reading.cancel()


async def _of_starlette(socket: WebSocket) -> AsyncIterator[str | bytes | tuple[int | None, str]]:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            yield message.get("code"), message.get("reason") or ""
            return
        text = message.get("text")
        yield text if text is not None else message.get("bytes") or b""
