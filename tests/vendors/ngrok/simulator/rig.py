"""What the tests of the ngrok simulator share: an agent on real ports, and a local service behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from ops.vendors.ngrok.simulator.agent import Agent
from ops.vendors.ngrok.simulator.faults import Faults

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def agent(upstream: int, faults: Faults | None = None) -> AsyncIterator[Agent]:
    """An agent with one tunnel, `command_line`, to a local port; both sides on free ports."""
    running = Agent(faults or Faults())
    await running.tunnel("command_line", "127.0.0.1", upstream, 0)
    await running.open(0)
    try:
        yield running
    finally:
        await running.close()


@asynccontextmanager
async def service(handler: Handler) -> AsyncIterator[int]:
    """A local TCP service; its port."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def request_head(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request with `hello` and lets the connection be closed."""
    await request_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await writer.drain()


async def exchange(port: int, sent: bytes) -> bytes:
    """Send raw bytes to a port of this machine and read until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()
