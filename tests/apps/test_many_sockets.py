"""A thousand sockets of strangers beside twenty calls: nobody notices, and none of them stays."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from ops.apps.listener import HEADERS_WITHIN
from tests.apps.test_bridge import World, close_code, new_call, next_event, world
from tests.apps.test_crowd import Echo, begin, frame, talk
from tests.apps.test_intruders import odd_starts

HEADERS = b"POST /twiml HTTP/1.1\r\nHost: x\r\nX-Slow: "
BODY = b"POST /twiml HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nCallSid="
UNREAD = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nCallSid="
HANDSHAKE = b"GET /call HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Slow: "
SECONDS = 14.0  # longer than any of them may stay
PEAK = 30.0  # MB, with all of them there at once
GROWN = 20.0  # MB, by a thousand messages that are none
ANSWERED = 0.5  # seconds, by 95 of 100; Twilio waits for 15


@pytest.fixture
def descriptors() -> Iterator[None]:
    """More than the thousand open files that a process usually may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Slow:
    """A connection that sends the beginning of a request, and then a byte each second."""

    address: str
    begins: bytes
    stayed: float = 0.0

    async def trickle(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(self.address, 0))
        began = time.monotonic()
        try:
            with suppress(ConnectionError):
                writer.write(self.begins)
                going = asyncio.create_task(self._go_on(writer))
                try:
                    while await reader.read(1000):
                        pass
                finally:
                    going.cancel()
        finally:
            self.stayed = time.monotonic() - began
            writer.close()

    async def _go_on(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(1.0)
            writer.write(b"a")


@dataclass
class Watch:
    """What others find meanwhile: how long a webhook took, and a call until it was heard; how much
    memory the bridge had."""

    one: World
    webhooks: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    async def run(self) -> None:
        (bridge,) = psutil.Process(self.one.process.pid).children()
        while True:
            began = time.monotonic()
            assert (await self.one.webhook(new_call())).status_code == 200
            self.webhooks.append(time.monotonic() - began)
            began = time.monotonic()
            phone = await begin(self.one)
            await phone.send(frame(0, 0))
            assert await next_event(phone) == "media"
            self.calls.append(time.monotonic() - began)
            await phone.close()
            health = await self.one.health()
            assert (health.status_code, health.json()["status"]) == (200, "ok")
            self.mb.append(bridge.memory_info().rss / 1e6)
            await asyncio.sleep(0.1)


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


@pytest.mark.timeout(120)
def test_a_thousand_slow_sockets_beside_twenty_calls(
    root: Path, free_ports: Callable[[int], list[int]], request: pytest.FixtureRequest, descriptors: None
) -> None:
    """Half through the tunnel's address, by which the honest come too, half from addresses of their own."""
    if not request.config.getoption("--long"):
        pytest.skip("with --long: a quarter of a minute, on both cores")
    kinds = (HEADERS, BODY, UNREAD, HANDSHAKE, b"")
    addresses = ["127.0.0.1" if number % 2 else f"127.0.0.{2 + number // 40}" for number in range(1000)]
    slow = [Slow(address, kinds[number % len(kinds)]) for number, address in enumerate(addresses)]

    async def scenario() -> None:
        async with world(root, *free_ports(1), model=Echo()) as one:
            (bridge,) = psutil.Process(one.process.pid).children()
            frames = int(SECONDS / 0.02)
            calls = [asyncio.create_task(talk(one, call, frames)) for call in range(20)]
            await asyncio.sleep(1.0)
            before, files = bridge.memory_info().rss / 1e6, bridge.num_fds()
            watch = Watch(one)
            watching = asyncio.create_task(watch.run())
            await asyncio.gather(*(stranger.trickle(one.port) for stranger in slow))
            stayed = max(stranger.stayed for stranger in slow)
            assert await asyncio.gather(*calls) == [(frames, 0, 0)] * 20
            watching.cancel()
            print(
                f"1000 slow sockets: the longest stayed {stayed:.1f} s; "
                f"{len(watch.webhooks)} webhooks p95 {p95(watch.webhooks) * 1000:.0f} ms, worst "
                f"{max(watch.webhooks) * 1000:.0f} ms; calls heard p95 {p95(watch.calls) * 1000:.0f} ms, worst "
                f"{max(watch.calls) * 1000:.0f} ms; {before:.1f} MB before, at most {max(watch.mb):.1f} MB"
            )
            assert stayed < HEADERS_WITHIN + 1.5
            assert p95(watch.webhooks) < ANSWERED
            assert p95(watch.calls) < ANSWERED
            assert max(watch.mb) - before < PEAK
            await one.model.until(lambda: one.model.open == 0)
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                page = (await http.get(f"{one.origin}/metrics")).text
            assert next(line for line in page.splitlines() if line.startswith("voice_live_calls ")).endswith(
                " 0"
            )
            assert bridge.num_fds() <= files

    asyncio.run(scenario())


@pytest.mark.timeout(120)
def test_a_thousand_bombs_beside_twenty_calls(
    root: Path, free_ports: Callable[[int], list[int]], request: pytest.FixtureRequest, descriptors: None
) -> None:
    """Signed streams that all at once begin with a message too long, too deep, or otherwise none: each closes its
    own socket alone."""
    if not request.config.getoption("--long"):
        pytest.skip("with --long: a quarter of a minute, on both cores")

    async def scenario() -> None:
        many = {"MAX_LIVE_CALLS": "2000", "MAX_UNAUTHENTICATED_PER_ADDRESS": "1000"}
        async with world(root, *free_ports(1), model=Echo(), **many) as one:
            (bridge,) = psutil.Process(one.process.pid).children()
            sid = new_call()
            bombs = bombs_of(one, sid, await one.ticket(sid))
            calls = [asyncio.create_task(talk(one, call, 500)) for call in range(20)]
            await asyncio.sleep(1.0)
            phones = []
            for _ in range(20):
                phones += await asyncio.gather(*(one.stream() for _ in range(50)))
            before = bridge.memory_info().rss / 1e6
            thrown = (phone.send(bombs[n % len(bombs)], text=True) for n, phone in enumerate(phones))
            await asyncio.gather(*thrown)
            codes = await asyncio.gather(*(close_code(phone) for phone in phones))
            grown = bridge.memory_info().rss / 1e6 - before
            told = {code: codes.count(code) for code in set(codes)}
            assert await asyncio.gather(*calls) == [(500, 0, 0)] * 20
            print(f"1000 bombs: closed with {told}; {before:.1f} MB before, {grown:.1f} MB more")
            assert set(codes) == {1007, 1008, 1009}
            assert grown < GROWN
            assert one.model.connections == 20

    asyncio.run(scenario())


def bombs_of(one: World, sid: str, ticket: str) -> list[bytes]:
    """Messages that are no start."""
    right = one.start(sid, ticket)
    odd = list(odd_starts(one, sid, ticket).values())
    odd += [right[:-1] + f',"x":{number}}}' for number in ("NaN", "-Infinity", "1e")]
    odd += [right.replace("8000", "9" * 5000)]
    return [*(text.encode() for text in odd), b'{"event":"start","x":"\xff"}']
