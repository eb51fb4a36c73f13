"""Whatever comes to the public side or the agent's API is passed on, or refused, and never breaks it."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import pytest

from ops.vendors.ngrok.simulator import http1
from ops.vendors.ngrok.simulator.http1 import BadMessage
from tests.vendors.ngrok.simulator.rig import agent, exchange, hello, service

SHARE, ALL = 20_000, 1_000_000
ON_SOCKETS = 400
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
VALID = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /twiml?a=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 11\r\n\r\nCallSid=CA1",
    b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /call HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n",
    b"GET /api/tunnels HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /api/tunnels HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 39\r\n\r\n"
    b'{"name":"a","proto":"http","addr":8081}',
    b"DELETE /api/requests/http HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
    b"HEAD /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: a\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
)
ODD = (
    b"\r\n\r\n", b"\0", b"\xff\xfe", b"HTTP/1.1", b"Content-Length: -1\r\n", b"Content-Length: 5\r\n", b"\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"ffffffffffffffff\r\n", b" ", b":", b"A" * 70_000, b"[" * 3000,
    "\ud800".encode("utf-8", "surrogatepass"),
)  # fmt: skip


def mutated(chance: random.Random, valid: Sequence[bytes]) -> bytes:
    """One of those with something cut, doubled, replaced or put in."""
    raw = chance.choice(valid)
    for _ in range(chance.randrange(1, 4)):
        begin = chance.randrange(len(raw) + 1)
        end = min(len(raw), begin + chance.randrange(12))
        odd = chance.choice(ODD) if chance.random() < 0.9 else chance.randbytes(8)
        raw = raw[:begin] + chance.choice((b"", raw[begin:end] * 2, odd)) + raw[end:]
    return raw


def messages(seed: int, count: int, valid: Sequence[bytes] = VALID) -> Iterator[bytes]:
    """Requests (or answers) of which at least six in ten are mutated valid ones."""
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.random()
        if kind < 0.6:
            yield mutated(chance, valid)
        elif kind < 0.8:
            yield chance.choice(valid)
        else:
            yield chance.randbytes(chance.randrange(80))


async def read(raw: bytes, kind: Literal["request", "response"] = "request", asked: str | None = None) -> str:
    """What becomes of one connection's bytes: what was taken, or the refusal; `asked` with this method."""
    reader = asyncio.StreamReader(limit=http1.HEAD_LIMIT)
    reader.feed_data(raw)
    reader.feed_eof()
    try:
        while (head := await http1.read_head(reader, kind)) is not None:
            how, length = http1.framing(head, response_to=asked)
            taken = head.encode()
            assert taken.count(b"\r\n\r\n") == 1, "a head that is passed on has one end"
            assert sum(map(len, head.grouped.values())) == len(head.headers)
            async for _ in http1.body(reader, how, length):
                pass
    except BadMessage as refused:
        return f"refused with {refused.status}"
    return "taken"


@pytest.mark.timeout(1800)
def test_mutated_requests_are_taken_or_refused(request: pytest.FixtureRequest) -> None:
    """20,000 of them, a million with --long: nothing but a refusal is ever raised."""
    total = ALL if request.config.getoption("--long") else SHARE

    async def go() -> list[str]:
        return [await read(raw) for raw in messages(5, total)]

    found = asyncio.run(go())
    assert set(found) == {"taken", "refused with 400", "refused with 431"}
    assert 0.1 * total < found.count("taken") < 0.8 * total  # neither all valid nor all nonsense


def test_mutated_answers_are_taken_or_refused(request: pytest.FixtureRequest) -> None:
    """What the local port says, as many: to GET, and to HEAD where a body would be the next answer."""
    total = ALL if request.config.getoption("--long") else SHARE

    async def go() -> list[str]:
        return [
            await read(raw, "response", ("GET", "HEAD")[number % 2])
            for number, raw in enumerate(messages(9, total, ANSWERS))
        ]

    found = asyncio.run(go())
    assert set(found) == {"taken", "refused with 400", "refused with 431"}
    assert 0.1 * total < found.count("taken") < 0.8 * total


def test_the_agent_and_its_tunnel_live_on() -> None:
    """Some of them on real sockets, at both doors: each is answered in HTTP or closed, then all is well."""

    async def go() -> tuple[bytes, bytes]:
        async with service(hello) as port, agent(port) as running:
            edge = running.edges["command_line"]
            doors = (edge.port, running.port)
            for number, raw in enumerate(messages(7, ON_SOCKETS)):
                answer = await sent(doors[number % 2], raw)
                assert re.match(rb"HTTP/1\.[01] \d{3}|$", answer), (raw[:200], answer[:200])
            quick = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
            return (
                await exchange(edge.port, quick % (b"/", edge.port)),
                await exchange(running.port, quick % (b"/api/tunnels", running.port)),
            )

    public, api = asyncio.run(go())
    assert public.endswith(b"hello")
    assert any(one["name"] == "command_line" for one in json.loads(api.split(b"\r\n\r\n", 1)[1])["tunnels"])


async def sent(port: int, raw: bytes) -> bytes:
    """What comes back for raw bytes after which this side says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(5):
            writer.write(raw)
            writer.write_eof()
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
