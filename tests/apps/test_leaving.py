"""How a call is left, by its caller or by its bridge: real sockets, a real process, no word too late."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ops.apps.streams import WAY_BACK
from tests.apps.test_bridge import FRAME, World, close_code, new_call, next_event, world

QUIET = base64.b64encode(b"\xff" * 160).decode()
MANY = {"MAX_UNAUTHENTICATED_PER_ADDRESS": "1000"}  # a busy machine is slow to show its requests


@dataclass
class Caller:
    """Somebody whose phone sends frames until it falls silent."""

    phone: ClientConnection
    line: asyncio.Task[None]

    async def leaves(self, way: str) -> None:
        """Hangs up in one of the ways in which a stream ends."""
        self.line.cancel()
        if way == "stop":
            await self.phone.send('{"event":"stop","stop":{}}')
        elif way == "close":
            await self.phone.close()
        else:
            self.phone.transport.abort()


async def call(one: World) -> Caller:
    """A call that has been greeted."""
    sid = new_call()
    phone = await one.stream()
    await phone.send(one.start(sid, await one.ticket(sid)))

    async def sends() -> None:
        with suppress(ConnectionClosed):
            while True:
                await phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + QUIET + '"}}')
                await asyncio.sleep(0.2)

    line = asyncio.create_task(sends())
    assert await next_event(phone) == "media"
    return Caller(phone, line)


def test_a_caller_who_leaves_leaves_no_session(
    root: Path, free_ports: Callable[[int], list[int]], request: pytest.FixtureRequest
) -> None:
    """With a stop, with a close, by a socket that just vanishes, twenty at once: within two seconds no session of
    the model is open."""
    count = 60 if request.config.getoption("--long") else 20

    async def scenario() -> None:
        async with world(root, *free_ports(1), **MANY) as one:
            callers = await asyncio.gather(*(call(one) for _ in range(count)))
            assert one.model.open == count
            left = time.monotonic()
            ways = zip(callers, cycle(("stop", "close", "vanish")), strict=False)
            leaving = asyncio.gather(*(caller.leaves(way) for caller, way in ways))
            await one.model.until(lambda: one.model.open == 0)
            seconds = time.monotonic() - left
            await leaving
            print(f"{count} callers left: the last session was closed {seconds:.2f} s later")
            assert seconds < 2

    asyncio.run(scenario())


def test_who_says_nothing_is_not_waited_for(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """After five seconds a signed socket without a start is closed, and so is the session of a call whose phone
    has fallen silent while its socket stays: it takes seven at most."""

    async def scenario() -> None:
        async with world(root, *free_ports(1), **MANY) as one, one.stream() as stranger:
            callers = await asyncio.gather(*(call(one) for _ in range(20)))
            for caller in callers:
                caller.line.cancel()
            silent = time.monotonic()
            assert await close_code(stranger) == 1008
            await one.model.until(lambda: one.model.open == 0)
            seconds = time.monotonic() - silent
            print(f"20 callers fell silent: the last session was closed {seconds:.2f} s later")
            assert 4 < seconds < 7
            for caller in callers:
                await caller.phone.close()

    asyncio.run(scenario())


async def told_to_drain(one: World) -> None:
    """SIGTERM, until health tells of it."""
    one.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        while (await one.health()).status_code != 503:
            await asyncio.sleep(0.01)


async def healths(one: World, draining: asyncio.Event) -> list[tuple[float, int]]:
    """Until nobody answers any more: when health was asked, and its answer; the event is set by the first 503."""
    seen: list[tuple[float, int]] = []
    async with httpx.AsyncClient(trust_env=False) as http:
        with suppress(httpx.TransportError):
            while True:
                asked = time.monotonic()
                seen.append((asked, (await http.get(f"{one.origin}/health")).status_code))
                if seen[-1][1] == 503:
                    draining.set()
                await asyncio.sleep(0.05)
    return seen


def test_sigterm_drains(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Health turns 503 within half a second and stays so; new callers get polite TwiML without a stream, while the
    live call goes on to its end. One that broke off is waited for as long as it may come back; then the process
    ends with 0, at most five seconds after the last call."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            caller, lost = await asyncio.gather(call(one), call(one))
            one.process.terminate()
            told = time.monotonic()
            draining = asyncio.Event()
            watch = asyncio.create_task(healths(one, draining))
            await asyncio.wait_for(draining.wait(), 20)
            busy = (await one.webhook(new_call())).text
            assert "<Stream" not in busy
            assert "<Say>" in busy
            await caller.phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + FRAME + '"}}')
            await one.model.until(lambda: any(event.get("audio") == FRAME for event in one.model.got))
            await lost.leaves("vanish")
            gone = time.monotonic()
            await one.model.until(lambda: one.model.open == 1)
            await caller.leaves("stop")
            over = time.monotonic()
            assert await asyncio.wait_for(one.process.wait(), 20) == 0
            ended = time.monotonic()
            answers = await watch
            print(
                f"{ended - gone:.2f} s after a call was lost and {ended - over:.2f} s after the last "
                "one was over the process ended"
            )
            assert ended - gone >= WAY_BACK
            assert ended - over < 5
            assert {status for asked, status in answers if asked - told > 0.5} == {503}
            assert ended - answers[-1][0] < 2

    asyncio.run(scenario())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_live_call_may_come_back_in_a_drain(
    workers: str, root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """The stream of the last live call breaks after SIGTERM: the bridge waits for it, gives it another stream, and
    still gives none to a call that it never had; it leaves at once after the hang-up."""

    async def scenario() -> None:
        async with world(root, *free_ports(1), WEBSOCKET_WORKERS=workers) as one:
            sid = new_call()
            async with one.talking(sid) as phone:
                await told_to_drain(one)
                phone.transport.abort()
            await one.model.until(lambda: one.model.open == 0)
            await asyncio.sleep(1.0)  # the breath before Twilio asks
            assert "<Stream" not in (await one.webhook(new_call(), "/resume")).text
            ticket = await one.ticket(sid, "/resume")
            async with one.stream() as phone:
                await phone.send(one.start(sid, ticket))
                assert await next_event(phone) == "media"
                await phone.send('{"event":"stop"}')
                await close_code(phone)
                over = time.monotonic()
            assert await asyncio.wait_for(one.process.wait(), 5) == 0
            assert time.monotonic() - over < WAY_BACK / 2
        assert "stream.resumed" in [record["event"] for record in one.journal(sid)]

    asyncio.run(scenario())


def test_one_order_that_comes_twice_still_drains(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Who stops a service signals each of its processes: that is one order, and the live call goes on; the next
    signal ends it, and the process, at once."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            caller = await call(one)
            (bridge,) = psutil.Process(one.process.pid).children()
            await told_to_drain(one)
            bridge.terminate()
            await asyncio.sleep(0.5)
            assert (await one.health()).json()["live_calls"] == 1
            one.process.terminate()
            told = time.monotonic()
            assert await close_code(caller.phone) == 1000
            assert await asyncio.wait_for(one.process.wait(), 20) == 0
            assert time.monotonic() - told < 2

    asyncio.run(scenario())


@pytest.mark.parametrize("opens", [False, True], ids=["before its stream", "before its start"])
def test_a_call_that_was_just_answered_has_its_stream(
    opens: bool, root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """SIGTERM between the webhook and the stream, or the stream's start, of the only call: the bridge waits for it,
    and leaves when it is over. The ticket of a probe keeps nobody."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            sid = new_call()
            assert (await one.webhook(new_call(), TrunklineProbe="1")).status_code == 200
            ticket = await one.ticket(sid)
            early = await one.stream() if opens else None
            await told_to_drain(one)
            async with early or one.stream() as phone:
                await asyncio.sleep(0.5)  # so long it would not have stayed
                await phone.send(one.start(sid, ticket))
                assert await next_event(phone) == "media"
                await phone.send('{"event":"stop"}')
                await close_code(phone)
            assert await asyncio.wait_for(one.process.wait(), 3) == 0

    asyncio.run(scenario())


def test_who_leaves_at_once_says_so_to_the_end(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """A second SIGTERM ends the calls. One whose phone does not take the end of its stream holds the process for a
    moment, and until then health answers 503."""

    async def scenario() -> None:
        async with world(root, *free_ports(1)) as one:
            caller = await call(one)
            caller.line.cancel()
            caller.phone.transport.pause_reading()
            await told_to_drain(one)
            watch = asyncio.create_task(healths(one, asyncio.Event()))
            one.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(one.process.wait(), 20) == 0
            ended = time.monotonic()
            answers = await watch
            print(f"{ended - answers[-1][0]:.2f} s after the last answer of {len(answers)} the process ended")
            assert {status for _, status in answers} == {503}
            assert ended - answers[-1][0] < 1.0
            caller.phone.transport.abort()

    asyncio.run(scenario())
