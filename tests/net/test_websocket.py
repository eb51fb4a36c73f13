"""The reconnecting client against real servers that accept, drop, refuse and say nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ops.errors import Unreachable
from ops.net.retry import Policy
from ops.net.websocket import Change, ReconnectingWebSocket, State

QUICK = Policy(limit=3, first=0.01, cap=0.05, jitter=0.3, stable=60.0)


@asynccontextmanager
async def server(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/"


async def everything(client: ReconnectingWebSocket) -> tuple[list[State], list[str | bytes], Change]:
    """All states, all messages and the last change of a client that ends by itself."""
    states, messages = [], []
    last = Change(State.CLOSED)
    async for event in client.stream():
        if isinstance(event, Change):
            states.append(event.state)
            last = event
        else:
            messages.append(event)
    return states, messages, last


def test_messages_and_changes_come_in_order() -> None:
    """Connecting, open, messages, then closed when we close; sending works both ways."""

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async def scenario() -> None:
        async with server(echo) as url:
            client = ReconnectingWebSocket(url, policy=QUICK)
            seen: list[Any] = []
            async for event in client.stream():
                seen.append(event.state if isinstance(event, Change) else event)
                if event == "hello":
                    await client.close()
                elif seen[-1] is State.OPEN:
                    await client.send("hello")
            assert seen == [State.CONNECTING, State.OPEN, "hello", State.CLOSED]
            assert client.state is State.CLOSED

    asyncio.run(scenario())


def test_a_server_that_accepts_and_closes_is_not_hammered() -> None:
    """Accept-then-close counts as failure: the client gives up after its limit, with growing delays."""
    accepted = 0

    async def close_at_once(socket: ServerConnection) -> None:
        nonlocal accepted
        accepted += 1
        await socket.close(1011, "no")

    async def scenario() -> None:
        async with server(close_at_once) as url:
            states, _, last = await everything(ReconnectingWebSocket(url, policy=QUICK))
            assert states.count(State.OPEN) == accepted == 4
            assert last.state is State.FAILED
            assert last.code == 1011
            assert "1011" in last.cause

    asyncio.run(scenario())


def test_a_connection_that_lasted_starts_the_count_anew() -> None:
    """With a minimum uptime of zero every connection is a success and the limit is never reached."""

    async def scenario() -> None:
        seen = 0

        async def close_at_once(socket: ServerConnection) -> None:
            await socket.close()

        async with server(close_at_once) as url:
            client = ReconnectingWebSocket(url, policy=Policy(limit=1, first=0.001, cap=0.002, stable=0.0))
            async for event in client.stream():
                seen += isinstance(event, Change) and event.state is State.OPEN
                if seen == 6:
                    await client.close()
            assert client.state is State.CLOSED

    asyncio.run(scenario())


def test_a_lost_connection_is_made_again_and_the_loss_stands_in_the_stream() -> None:
    """The user sees the loss exactly between the last old and the first new message."""

    async def scenario() -> None:
        count = 0

        async def drop_first(socket: ServerConnection) -> None:
            nonlocal count
            count += 1
            await socket.send(f"hello {count}")
            if count == 1:
                socket.transport.abort()
            await socket.wait_closed()

        async with server(drop_first) as url:
            client = ReconnectingWebSocket(url, policy=QUICK)
            seen: list[Any] = []
            async for event in client.stream():
                seen.append(event.state if isinstance(event, Change) else event)
                if event == "hello 2":
                    await client.close()
            opened = [State.CONNECTING, State.OPEN]
            assert seen == [*opened, "hello 1", State.WAITING, *opened, "hello 2", State.CLOSED]

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_for_good_is_not_tried_again(status: int) -> None:
    """HTTP 401, 403 and 404 end it at once, with status and body in the cause."""

    async def scenario() -> None:
        asked = 0

        def refuse(connection: ServerConnection, request: Any) -> Any:
            nonlocal asked
            asked += 1
            return connection.respond(HTTPStatus(status), "no such key")

        async with server(_nothing, process_request=refuse) as url:
            states, _, last = await everything(ReconnectingWebSocket(url, policy=QUICK))
            assert states == [State.CONNECTING, State.FAILED]
            assert (asked, last.code) == (1, status)
            assert "no such key" in last.cause

    asyncio.run(scenario())


def test_a_final_close_code_is_not_tried_again() -> None:
    """Close code 3000, a bad key, ends it although the handshake went well."""

    async def scenario() -> None:
        async def bad_key(socket: ServerConnection) -> None:
            await socket.close(3000, "invalid_api_key")

        async with server(bad_key) as url:
            states, _, last = await everything(ReconnectingWebSocket(url, policy=QUICK))
            assert states == [State.CONNECTING, State.OPEN, State.FAILED]
            assert "invalid_api_key" in last.cause

    asyncio.run(scenario())


def test_nobody_there_is_retried_and_named(free_ports: Callable[[int], list[int]]) -> None:
    """A refused connection is tried limit + 1 times; the cause is in words."""
    (port,) = free_ports(1)
    client = ReconnectingWebSocket(f"ws://127.0.0.1:{port}/", policy=QUICK)
    states, _, last = asyncio.run(everything(client))
    assert states.count(State.CONNECTING) == 4
    assert "refused" in last.cause.lower()


def test_a_silent_server_times_out() -> None:
    """A server that accepts the TCP connection and says nothing costs `timeout` seconds a try."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}/"
        client = ReconnectingWebSocket(url, policy=Policy(limit=0), timeout=0.1)
        began = time.monotonic()
        states, _, last = asyncio.run(everything(client))
        assert states == [State.CONNECTING, State.FAILED]
        assert last.cause == "no handshake within 0.1 s"
        assert time.monotonic() - began < 8


def test_closing_while_waiting_or_connecting_ends_at_once() -> None:
    """close() does not wait for a delay or a handshake to run out."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"ws://127.0.0.1:{deaf.getsockname()[1]}/"
            client = ReconnectingWebSocket(url, policy=Policy(first=60), timeout=0.05)
            async for event in client.stream():
                if isinstance(event, Change) and event.state is State.WAITING:
                    asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(client.close()))
            assert client.state is State.CLOSED

            client = ReconnectingWebSocket(url, timeout=60)
            async for event in client.stream():
                if isinstance(event, Change) and event.state is State.CONNECTING:
                    asyncio.get_running_loop().call_later(0.02, lambda: asyncio.ensure_future(client.close()))
            assert client.state is State.CLOSED

    asyncio.run(asyncio.wait_for(scenario(), 5))


def test_a_user_who_is_cancelled_leaves_no_connection_behind() -> None:
    """Whenever the reader is cancelled, also at the very moment of the handshake, the server sees the end."""

    async def scenario() -> None:
        gone = asyncio.Semaphore(0)
        opened = 0

        async def watch(socket: ServerConnection) -> None:
            nonlocal opened
            opened += 1
            await socket.wait_closed()
            gone.release()

        async def read(client: ReconnectingWebSocket) -> None:
            async for _ in client.stream():
                pass

        async with server(watch) as url:
            for after in range(60):
                client = ReconnectingWebSocket(url, policy=QUICK)
                reader = asyncio.ensure_future(read(client))
                for _ in range(after):
                    await asyncio.sleep(0)
                reader.cancel()
                await asyncio.wait([reader])
                await client.close()
            for _ in range(opened):
                await asyncio.wait_for(gone.acquire(), 5)
            assert opened > 5

    asyncio.run(scenario())


def test_sending_without_a_connection_is_a_clear_error() -> None:
    """send() before the connection is open says so."""
    with pytest.raises(Unreachable, match="not connected"):
        asyncio.run(ReconnectingWebSocket("ws://127.0.0.1:1/").send("x"))


async def _nothing(socket: ServerConnection) -> None:
    await socket.wait_closed()
