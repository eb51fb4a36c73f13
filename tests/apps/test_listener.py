"""Connections that say nothing cannot keep callers out."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

import pytest

from ops.apps import carrier, door, listener, session, tickets, transports, webhooks
from tests.apps.inside import inside, run
from tests.apps.test_bridge import new_call, next_event


async def _closed(reader: asyncio.StreamReader) -> float:
    """When the other side closed."""
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass
    return time.monotonic()


def test_slow_strangers_are_dropped_and_callers_get_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred connections that trickle their headers only the allowed ones are kept, and not for long;
    meanwhile a signed call is answered at once."""
    monkeypatch.setattr("ops.apps.listener.QUICK", 0.2)
    monkeypatch.setattr("ops.apps.listener.HEADERS_WITHIN", 1.0)

    async def scenario() -> None:
        async with inside(root, MAX_UNAUTHENTICATED_PER_ADDRESS="5") as one:
            slow = [await asyncio.open_connection("127.0.0.1", one.port) for _ in range(100)]
            for _, writer in slow:
                writer.write(b"POST /twiml HTTP/1.1\r\nHost: x\r\nX-Slow: ")
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
            assert (await one.health()).status_code == 200

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
    """Whole headers and half a body: answered with a refusal when its time is over."""
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
            writer.close()

    run(scenario)


def test_the_limits_are_as_promised() -> None:
    """The tests make them short; these are what strangers meet, in seconds and bytes."""
    assert (carrier.START_WITHIN, listener.HEADERS_WITHIN, webhooks.BODY_WITHIN) == (5.0, 5.0, 5.0)
    assert (tickets.LIFE, session.HALF_OPEN) == (30.0, 5.0)
    assert (transports.FROM_PHONE, door.BODY_LIMIT) == (65_536, 65_536)
