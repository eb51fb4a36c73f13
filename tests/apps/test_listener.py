"""Connections that say nothing cannot keep callers out."""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ops.apps import carrier, door, listener, session, tickets, transports, webhooks
from tests.apps.inside import Inside, inside, run
from tests.apps.test_bridge import new_call, next_event
from tests.apps.test_forgeries import ask

HEADERS = b"POST /twiml HTTP/1.1\r\nHost: x\r\nX-Slow: "
BODY = b"POST /twiml HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nCallSid="
UNREAD = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nCallSid="
CHUNKS = b"POST /twiml HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def _healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Its connection is there, and stays."""
    writer.write(HEALTH)
    assert b" 200 " in await asyncio.wait_for(reader.readline(), 20)
    await asyncio.wait_for(reader.readuntil(b"}"), 20)


async def _closed(reader: asyncio.StreamReader) -> float:
    """When the other side closed."""
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass
    return time.monotonic()


@pytest.mark.parametrize("begins", [HEADERS, BODY, UNREAD], ids=["headers", "body", "a body nobody reads"])
def test_slow_strangers_are_dropped_and_callers_get_in(
    root: Path, monkeypatch: pytest.MonkeyPatch, begins: bytes
) -> None:
    """Of a hundred connections that trickle their request only the allowed ones are kept, and not for long;
    meanwhile a signed call of the same address is answered at once, and one that was quick before is not
    pushed out."""
    monkeypatch.setattr("ops.apps.listener.QUICK", 0.2)
    monkeypatch.setattr("ops.apps.listener.HEADERS_WITHIN", 1.0)
    monkeypatch.setattr("ops.apps.webhooks.BODY_WITHIN", 1.0)

    async def scenario() -> None:
        async with inside(root, MAX_UNAUTHENTICATED_PER_ADDRESS="5") as one:
            quick = await asyncio.open_connection("127.0.0.1", one.port)
            await _healthy(*quick)
            slow = [await asyncio.open_connection("127.0.0.1", one.port) for _ in range(100)]
            for _, writer in slow:
                writer.write(begins)
            waiting = [asyncio.create_task(_closed(reader)) for reader, _ in slow]
            async with asyncio.timeout(10):
                while sum(task.done() for task in waiting) < 95:
                    await asyncio.sleep(0.01)
            sid = new_call()
            async with one.talking(sid):
                answered = time.monotonic()
            for _, writer in slow:
                writer.write(b"a")  # one more byte buys no time
            async with asyncio.timeout(20):
                ended = [await task for task in waiting]
            assert [at > answered for at in ended].count(True) == 5  # in while they still held their places
            for _, writer in slow:
                writer.close()
            await _healthy(*quick)
            quick[1].close()

    run(scenario)


def test_many_calls_through_one_address_are_not_slow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that have shown a signature do not count as strangers, however few are allowed."""
    monkeypatch.setattr("ops.apps.listener.QUICK", 0.2)

    async def scenario() -> None:
        async with inside(root, MAX_UNAUTHENTICATED_PER_ADDRESS="1") as one:
            sockets = []
            for _ in range(8):
                sid = new_call()
                phone = await one.stream()
                await phone.send(one.start(sid, await one.ticket(sid)))
                sockets.append(phone)
            for phone in sockets:
                assert await next_event(phone) == "media"
            await asyncio.sleep(0.3)
            assert (await one.health()).json()["live_calls"] == 8
            for phone in sockets:
                await phone.close()

    run(scenario)


def test_a_body_that_does_not_come_is_not_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole headers and half a body: answered with a refusal when its time is over, which is longer than that
    for headers, and closed though it promised more."""
    monkeypatch.setattr("ops.apps.listener.QUICK", 0.05)
    monkeypatch.setattr("ops.apps.listener.HEADERS_WITHIN", 0.1)
    monkeypatch.setattr("ops.apps.webhooks.BODY_WITHIN", 0.2)

    async def scenario() -> None:
        async with inside(root) as one:
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            head = (
                f"POST /twiml HTTP/1.1\r\nHost: {secrets.token_hex(4)}\r\nContent-Length: 100\r\n\r\nCallSid="
            )
            writer.write(head.encode())
            line = await asyncio.wait_for(reader.readline(), 20)
            assert b" 408 " in line
            assert b"connection: close" in await asyncio.wait_for(reader.read(), 20)
            writer.close()

    run(scenario)


def test_of_many_addresses_only_so_many_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow connection from each of eight addresses, where three may stay: the newest do."""
    monkeypatch.setattr("ops.apps.listener.QUICK", 0.1)
    monkeypatch.setattr("ops.apps.listener.ADDRESSES", 3)

    async def scenario() -> None:
        async with inside(root, MAX_UNAUTHENTICATED_PER_ADDRESS="1") as one:
            slow = []
            for number in range(8):
                local = (f"127.0.0.{number + 2}", 0)
                slow.append(await asyncio.open_connection("127.0.0.1", one.port, local_addr=local))
                slow[-1][1].write(HEADERS)
            waiting = [asyncio.create_task(_closed(reader)) for reader, _ in slow]
            async with asyncio.timeout(20):
                while sum(task.done() for task in waiting) < 5:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert [task.done() for task in waiting] == [True] * 5 + [False] * 3
            for _, writer in slow:
                writer.close()
            await asyncio.gather(*waiting)

    run(scenario)


def test_nobody_is_slow_for_a_loop_that_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came while the bridge did something else is read before anybody is called slow."""
    monkeypatch.setattr("ops.apps.listener.QUICK", 0.1)

    async def scenario() -> None:
        async with inside(root, MAX_UNAUTHENTICATED_PER_ADDRESS="1") as one:
            callers = [socket.create_connection(("127.0.0.1", one.port), 20) for _ in range(8)]
            async with asyncio.timeout(20):
                while len(one.server.server_state.connections) < 8:
                    await asyncio.sleep(0.01)
            for caller in callers:
                caller.sendall(HEALTH)
            time.sleep(0.15)  # noqa: ASYNC251 - that is what the loop does meanwhile
            for caller in callers:
                with caller:
                    assert b" 200 " in await asyncio.to_thread(caller.recv, 1000)

    run(scenario)


def _asking(port: int) -> socket.socket:
    """From a socket that takes in next to nothing."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    peer.connect(("127.0.0.1", port))
    peer.setblocking(False)
    return peer


async def _served(one: Inside) -> Any:
    """The bridge's side of the only connection, which sends no more than it must."""
    async with asyncio.timeout(20):
        while not one.server.server_state.connections:
            await asyncio.sleep(0.01)
    (connection,) = one.server.server_state.connections
    sending = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return connection


@pytest.mark.parametrize("times", [150, 50_000], ids=["less than a buffer", "more than all buffers"])
def test_who_does_not_read_is_not_waited_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    """A peer that asks and asks and takes no answer is closed in time."""
    monkeypatch.setattr("ops.apps.listener.READS_WITHIN", 0.3)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with inside(root) as one:
            with _asking(one.port) as deaf:
                await _served(one)
                sending = loop.create_task(loop.sock_sendall(deaf, HEALTH * times))
                async with asyncio.timeout(10):
                    while one.server.server_state.connections:
                        await asyncio.sleep(0.01)
                await asyncio.gather(sending, return_exceptions=True)
        assert caplog.text.count("no answer was read within") == 1

    run(scenario)


def test_who_reads_late_stays(root: Path) -> None:
    """Once the answers are read the time for them is over."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with inside(root) as one:
            with _asking(one.port) as slow:
                connection = await _served(one)
                sending = loop.create_task(loop.sock_sendall(slow, HEALTH * 150))
                async with asyncio.timeout(20):
                    while connection._unread is None:
                        await asyncio.sleep(0.01)
                    answers = 0
                    while answers < 150:
                        answers += (await loop.sock_recv(slow, 100)).count(b"}")
                    await sending
                assert connection._unread is None
                assert not connection.transport.is_closing()

    run(scenario)


@pytest.mark.parametrize("path", ["/call", "/nothing"])
def test_who_does_not_read_gets_no_stream(root: Path, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """A handshake behind answers that nobody has taken is closed at once: nobody would read what it is told."""
    upgrade = HEALTH.replace(b"/health", path.encode())[:-2] + (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: %b\r\n\r\n" % base64.b64encode(secrets.token_bytes(16))
    )

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with inside(root) as one:
            with _asking(one.port) as deaf:
                connection = await _served(one)
                connection.pause_writing()
                await loop.sock_sendall(deaf, upgrade)
                async with asyncio.timeout(3):
                    while not connection.transport.is_closing():
                        await asyncio.sleep(0.01)
        assert "no answer was read within" in caplog.text

    run(scenario)


async def _seen_out(one: Inside) -> None:
    """Until the bridge holds no connection any more, and works for none."""
    async with asyncio.timeout(20):
        while one.server.server_state.connections or one.server.server_state.tasks:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", [b"/twiml", b"/resume", b"/status", b"/nothing"])
def test_no_stranger_makes_an_error(root: Path, caplog: pytest.LogCaptureFixture, path: bytes) -> None:
    """Who leaves in the middle of a request, or goes on with what is no HTTP, before the answer or behind it. An
    error would be written at once, and the calls would wait for that."""
    body, chunks = BODY.replace(b"/twiml", path), CHUNKS.replace(b"/twiml", path)

    async def scenario() -> None:
        async with inside(root) as one:
            for begins in (HEADERS, body, chunks):
                _, writer = await asyncio.open_connection("127.0.0.1", one.port)
                writer.write(begins)
                writer.close()
            assert (await ask(one, chunks + b"no chunk\r\n"))[0] == 400
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(chunks)
            if path == b"/nothing":
                assert b" 404 " in await asyncio.wait_for(reader.readline(), 20)
            writer.write(b"no chunk\r\n")
            await _closed(reader)
            writer.close()
            await _seen_out(one)
            told = [(record.levelname, record.message) for record in caplog.records]
            assert not [row for row in told if row[0] not in ("INFO", "WARNING")], told
            left = told.count(("WARNING", "Refused: it left before its body was whole."))
            assert left == (0 if path == b"/nothing" else 4)

    run(scenario)


def test_the_limits_are_as_promised() -> None:
    """The tests make them short; these are what strangers meet, in seconds and bytes."""
    assert (carrier.START_WITHIN, listener.HEADERS_WITHIN, webhooks.BODY_WITHIN) == (5.0, 5.0, 5.0)
    assert (tickets.LIFE, session.HALF_OPEN) == (30.0, 5.0)
    assert (transports.FROM_PHONE, door.BODY_LIMIT) == (65_536, 65_536)
