"""The public side: what reaches the local service, what comes back, and what happens when it cannot."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ops.vendors.ngrok.simulator.faults import Faults
from tests.vendors.ngrok.simulator.rig import agent, exchange, hello, request_head, service


def test_the_public_host_is_kept_and_the_forwarding_headers_are_ngroks() -> None:
    """Host stays; X-Forwarded-* say who asked and where; what the client claims there is dropped."""
    heads: list[str] = []

    async def local(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await request_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def go() -> int:
        async with service(local) as port, agent(port) as running, httpx.AsyncClient() as http:
            edge = running.edges["command_line"]
            forged = {
                "X-Forwarded-For": "1.2.3.4",
                "X-Forwarded-Host": "evil.example",
                "X-Twilio-Signature": "s",
            }
            await http.get(f"{edge.public_url}/path?a=1&a=2", headers=forged)
            return edge.port

    port = asyncio.run(go())
    [head] = heads
    lines = head.lower().splitlines()
    assert lines[0] == "get /path?a=1&a=2 http/1.1"
    assert f"host: 127.0.0.1:{port}" in lines
    assert [line for line in lines if line.startswith("x-forwarded-")] == [
        "x-forwarded-for: 127.0.0.1",
        f"x-forwarded-host: 127.0.0.1:{port}",
        "x-forwarded-proto: http",
    ]
    assert "x-twilio-signature: s" in lines


def test_a_posted_form_arrives_and_connections_are_reused() -> None:
    """Twenty posts over one connection, each with its body."""
    bodies: list[bytes] = []

    async def local(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await request_head(reader)
        length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
        bodies.append(await reader.readexactly(length))
        writer.write(
            b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok"
        )

    async def go() -> None:
        async with service(local) as port, agent(port) as running, httpx.AsyncClient() as http:
            edge = running.edges["command_line"]
            for number in range(20):
                answer = await http.post(f"{edge.public_url}/twiml", data={"CallSid": f"CA{number}"})
                assert (answer.status_code, answer.text) == (201, "ok")
                assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
            assert edge.connections.count == 1
            assert edge.requests.count == 20

    asyncio.run(go())
    assert bodies == [f"CallSid=CA{number}".encode() for number in range(20)]


def test_answers_stream_and_a_client_that_leaves_is_noticed() -> None:
    """A server-sent event arrives while the answer is open; closing ends the local connection, too."""

    async def go() -> None:
        left = asyncio.Event()

        async def local(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request_head(reader)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            writer.write(b"9\r\ndata: 1\n\n\r\n")
            await writer.drain()
            await reader.read()
            left.set()

        async with service(local) as port, agent(port) as running, httpx.AsyncClient() as http:
            async with http.stream("GET", running.edges["command_line"].public_url) as answer:
                async for line in answer.aiter_lines():
                    assert line == "data: 1"
                    break
            async with asyncio.timeout(5):
                await left.wait()

    asyncio.run(go())


async def _echo(socket: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in socket:
            await socket.send(message)


def test_websockets_pass_in_both_directions() -> None:
    """Text, a large binary message and the close code arrive as they were sent."""

    async def go() -> None:
        async with serve(_echo, "127.0.0.1", 0, max_size=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with agent(port) as running:
                url = f"ws://127.0.0.1:{running.edges['command_line'].port}/call"
                async with connect(url, max_size=None) as socket:
                    for message in ("hi", bytes(1 << 20)):
                        await socket.send(message)
                        assert await socket.recv() == message
                    await socket.close(4321, "done")
                assert socket.close_code == 4321

    asyncio.run(go())


def test_a_local_service_that_dies_breaks_the_websocket() -> None:
    """The client sees an abnormal closure, not silence."""

    async def go() -> None:
        async def die(socket: ServerConnection) -> None:
            await socket.recv()
            socket.transport.abort()

        async with serve(die, "127.0.0.1", 0) as server:
            async with agent(server.sockets[0].getsockname()[1]) as running:
                url = f"ws://127.0.0.1:{running.edges['command_line'].port}/call"
                async with connect(url) as socket:
                    await socket.send("x")
                    async with asyncio.timeout(5):
                        with pytest.raises(ConnectionClosed):
                            await socket.recv()

    asyncio.run(go())


def test_a_refused_upgrade_is_passed_on() -> None:
    """A 403 before the upgrade reaches the client as it is."""

    async def local(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async def go() -> None:
        async with service(local) as port, agent(port) as running:
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{running.edges['command_line'].port}/call")
            assert refused.value.response.status_code == 403

    asyncio.run(go())


def test_nobody_at_the_local_port_is_8012(free_ports: object) -> None:
    """502 with ngrok's number in the header and on the page."""
    assert callable(free_ports)
    [nobody] = free_ports(1)

    async def go() -> None:
        async with agent(nobody) as running, httpx.AsyncClient() as http:
            answer = await http.get(running.edges["command_line"].public_url)
            assert answer.status_code == 502
            assert answer.headers["ngrok-error-code"] == "ERR_NGROK_8012"
            assert f"http://127.0.0.1:{nobody}" in answer.text

    asyncio.run(go())


def test_an_answer_that_is_not_http_is_3004() -> None:
    """502; the inspector shows it, too."""

    async def local(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"SSH-2.0-nothing\r\n\r\n")

    async def go() -> None:
        async with service(local) as port, agent(port) as running, httpx.AsyncClient() as http:
            edge = running.edges["command_line"]
            answer = await http.get(edge.public_url)
            assert (answer.status_code, answer.headers["ngrok-error-code"]) == (502, "ERR_NGROK_3004")
            assert edge.captured[0].shown()["response"]["status_code"] == 502

    asyncio.run(go())


def test_another_host_is_offline() -> None:
    """A name that is not this endpoint's is 3200, whatever the address it came to."""

    async def go() -> None:
        async with service(hello) as port, agent(port) as running:
            edge = running.edges["command_line"]
            head = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
            answer = await exchange(edge.port, head)
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"ERR_NGROK_3200" in answer

    asyncio.run(go())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nbroken header\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_bad_requests_are_refused_and_reach_nobody(sent: bytes, status: bytes) -> None:
    """Malformed, ambiguous (request smuggling) and oversized heads."""

    async def go() -> None:
        called = False

        async def local(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal called
            called = True

        async with service(local) as port, agent(port) as running:
            edge = running.edges["command_line"]
            answer = await exchange(edge.port, sent.replace(b"HOST", f"127.0.0.1:{edge.port}".encode()))
            assert answer.split(b" ")[1] == status
            assert not called

    asyncio.run(go())


@pytest.mark.parametrize(
    ("name", "status", "number"),
    [
        ("refuse", 502, "ERR_NGROK_8012"),
        ("offline", 404, "ERR_NGROK_3200"),
        ("rate-limit", 429, "ERR_NGROK_702"),
        ("bad-gateway", 502, "ERR_NGROK_3004"),
    ],
)
def test_a_fault_answers_once(name: str, status: int, number: str) -> None:
    """The request that meets the fault gets ngrok's error; the next one gets through."""
    faults = Faults()
    faults.arm(name)

    async def go() -> None:
        async with service(hello) as port, agent(port, faults) as running, httpx.AsyncClient() as http:
            url = running.edges["command_line"].public_url
            answer = await http.get(url)
            assert (answer.status_code, answer.headers["ngrok-error-code"]) == (status, number)
            assert (await http.get(url)).text == "hello"

    asyncio.run(go())


def test_slow_uneven_and_broken_tunnels() -> None:
    """delay holds a request, slice cuts what the client sends into pieces, reset and idle break the websocket."""

    async def go() -> None:
        faults = Faults()
        async with serve(_echo, "127.0.0.1", 0) as server:
            async with agent(server.sockets[0].getsockname()[1], faults) as running:
                url = f"ws://127.0.0.1:{running.edges['command_line'].port}/call"
                faults.arm("delay", seconds=0.2)
                faults.arm("slice", most=5)
                began = time.monotonic()
                async with connect(url, compression=None) as socket:
                    assert time.monotonic() - began >= 0.2
                    await socket.send("x" * 1000)
                    assert await socket.recv() == "x" * 1000
                faults.arm("reset", after_bytes=2000)
                async with connect(url, compression=None) as socket:
                    await socket.send("x" * 1000)
                    assert await socket.recv() == "x" * 1000
                    await socket.send("x" * 1000)
                    with pytest.raises(ConnectionClosed) as closed:
                        await socket.recv()
                    assert closed.value.rcvd is None
                faults.arm("stall", after_bytes=10, seconds=0.3)
                async with connect(url, compression=None) as socket:
                    began = time.monotonic()
                    await socket.send("x" * 100)
                    await socket.recv()
                    assert time.monotonic() - began >= 0.3
                faults.arm("idle", seconds=0.1)
                async with connect(url, compression=None) as socket:
                    with pytest.raises(ConnectionClosed) as closed:
                        await socket.recv()
                    assert closed.value.rcvd is None

    asyncio.run(go())
