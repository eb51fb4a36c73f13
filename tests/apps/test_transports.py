"""Awkward frames, sent as bytes to both sides of a call's sockets: what runs the calls, and the reference."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from weakref import ReferenceType, ref

import pytest
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from ops.apps.listener import MEDIA_PATH, listener
from ops.apps.transports import (
    FROM_PHONE,
    Address,
    Closed,
    NotOpened,
    Reception,
    Socket,
    on_picows,
    on_websockets,
)
from tests.apps.awkward_frames import CASES, CLOSE, CONTINUATION, PING, PONG, TEXT, Case, close, frame

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
LIBRARIES = ("picows", "websockets")


class Peer:
    """The other end: bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, masked: bool) -> None:
        self.reader, self.writer, self.masked = reader, writer, masked

    async def frame(self) -> tuple[int, bytes]:
        """The next frame from the socket under test: its kind and payload."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        key = await self.reader.readexactly(4) if second & 0x80 else bytes(4)
        assert bool(second & 0x80) is not self.masked  # a client masks, a server does not
        payload = await self.reader.readexactly(size)
        return first & 0x0F, bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))

    def send(self, case: Case) -> None:
        self.writer.write(self._bytes(case))

    async def send_slowly(self, case: Case) -> None:
        """Octet by octet."""
        for octet in self._bytes(case):
            self.writer.write(bytes([octet]))
            await asyncio.sleep(0)

    def _bytes(self, case: Case) -> bytes:
        masked, found = self.masked is not case.wrongly_masked, b""
        for kind, payload, *more in case.frames:
            last, reserved = (*more, *(True, 0)[len(more) :])
            found += frame(kind, payload, last=bool(last), reserved=int(reserved), masked=masked)
        return found


@dataclass
class Host:
    """A reception that lets everybody in, and hands each socket on with the event that ends its attendance."""

    taken: asyncio.Queue[tuple[Socket, asyncio.Event]] = field(default_factory=asyncio.Queue)
    lets_in: bool = True

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        return self.lets_in

    async def attend(self, socket: Socket) -> None:
        done = asyncio.Event()
        self.taken.put_nowait((socket, done))
        await done.wait()


Opened = Callable[[], AbstractAsyncContextManager[tuple[Peer, Socket]]]  # a connection: both of its ends


@asynccontextmanager
async def phone_port(library: str, host: Reception) -> AsyncIterator[int]:
    """The public port as the bridge serves it."""
    take = on_picows.PhoneDoor(host).take if library == "picows" else None

    async def endpoint(socket: object) -> None:
        await on_websockets.stream(host, socket)  # type: ignore[arg-type]

    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute(MEDIA_PATH, endpoint)]), port=0, log_config=None, lifespan="off",
        http=listener(10, lambda *_: None, take), ws="websockets-sansio", ws_max_size=FROM_PHONE,
        ws_per_message_deflate=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def phone_side(library: str, host: Host | None = None) -> AsyncIterator[Opened]:
    """The public port; each connection has a client of bytes that was let in."""
    host = host or Host()

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Peer, Socket]]:
        async with connected(port) as (reader, writer):
            writer.write(
                b"GET /call HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head, head
            socket, done = await host.taken.get()
            try:
                yield Peer(reader, writer, masked=True), socket
            finally:
                done.set()

    async with phone_port(library, host) as port:
        yield opened


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of bytes, gone at the end whatever has not been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def model_side(library: str) -> AsyncIterator[Opened]:
    """A server of bytes, and our sockets to it."""
    taken: asyncio.Queue[Peer] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        taken.put_nowait(Peer(reader, writer, masked=False))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    port = server.sockets[0].getsockname()[1]
    dial = on_picows.dial if library == "picows" else on_websockets.dial

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Peer, Socket]]:
        socket = await dial(Address(f"ws://127.0.0.1:{port}/v1", {"Authorization": "Bearer none"}, 5.0))
        peer = await taken.get()
        try:
            yield peer, socket
        finally:
            peer.writer.transport.abort()
            await socket.close()

    try:
        yield opened
    finally:
        server.close()
        await server.wait_closed()


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The model's side of a handshake."""
    from websockets.utils import accept_key

    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:"))
    accept = accept_key(key.partition(":")[2].strip())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )


SIDES = {"phone": phone_side, "model": model_side}


async def ended(socket: Socket) -> Closed:
    """How the socket was closed."""
    while True:
        try:
            await socket.receive()
        except Closed as closed:
            return closed


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_awkward_frames(library: str, side: str) -> None:
    """Each case on a socket of its own: what arrives, and the close code that the sender gets for what no peer may
    send (RFC 6455)."""

    async def scenario() -> None:
        wrong = {}
        async with SIDES[side](library) as opened:
            for name, case in CASES.items():
                async with opened() as (peer, socket):
                    await peer.send_slowly(case) if case.octets else peer.send(case)
                    if case.code is None:
                        got: list[str | bytes] = [await socket.receive() for _ in case.messages]
                        if got != case.messages:
                            wrong[name] = f"arrived {got!r:.80}"
                        continue
                    try:
                        kind, payload = await asyncio.wait_for(peer.frame(), 2)
                    except TimeoutError:
                        kind, payload = 0, b"nothing"
                    if (kind, payload[:2]) != (CLOSE, struct.pack("!H", case.code)):
                        wrong[name] = f"answered {kind} {payload!r:.60}"
                    peer.writer.close()
                    await ended(socket)
        assert wrong == {}

    run(scenario)


def test_what_the_model_does_wrong_is_told_once() -> None:
    """With the close code, to whoever hears the socket; no exception is left for the log of the loop."""
    left: list[object] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context["message"]))
        async with model_side("picows") as opened:
            for name in ("a stray continuation", "a ping too long", "not letters c3", "a close with 999"):
                async with opened() as (peer, socket):
                    peer.send(CASES[name])
                    await peer.frame()
                    peer.writer.close()
                    assert (await ended(socket)).code == CASES[name].code
                del peer, socket
            await asyncio.sleep(0.01)
            gc.collect()
            await asyncio.sleep(0)

    run(scenario)
    assert left == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_message_of_a_phone_has_a_limit(library: str) -> None:
    """More than 64 KiB, in one frame or in many, closes with 1009."""

    async def scenario() -> None:
        large = b"x" * (FROM_PHONE + 1)
        half = b"x" * (FROM_PHONE // 2 + 1)
        async with phone_side(library) as opened:
            for frames in ([(TEXT, large)], [(TEXT, half, False), (CONTINUATION, half)]):
                async with opened() as (peer, socket):
                    peer.send(Case(frames))
                    kind, payload = await peer.frame()
                    assert (kind, payload[:2]) == (CLOSE, struct.pack("!H", 1009))
                    peer.writer.close()
                    await ended(socket)

    run(scenario)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_socket_speaks_answers_pings_and_closes(library: str, side: str) -> None:
    """Text goes out in order, a ping is answered with its payload, our close has its code, and what comes after it
    is not heard."""

    async def scenario() -> None:
        async with SIDES[side](library) as opened, opened() as (peer, socket):
            for number in range(3):
                socket.send(f"é{number}")
            assert [await peer.frame() for _ in range(3)] == [(TEXT, f"é{n}".encode()) for n in range(3)]
            pings = [b"are you there", b"", b"\xff" * 125, *(bytes([number]) for number in range(10))]
            peer.send(Case([(PING, payload) for payload in pings]))
            assert [await peer.frame() for _ in pings] == [(PONG, payload) for payload in pings]
            closing = asyncio.create_task(socket.close(1000, "done"))
            assert await peer.frame() == (CLOSE, close(1000, b"done"))
            peer.send(Case([(TEXT, b"late"), (CLOSE, close(1000))]))
            peer.writer.write_eof()
            await closing
            socket.send("nobody hears this")
            heard: list[str | bytes] = []
            socket.deliver_to(heard.append, lambda closed: heard.append("closed"))
            assert heard == ["closed"]

    run(scenario)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_socket_whose_other_side_says_nothing_is_closed_soon(library: str, side: str) -> None:
    """No answer to our close, and none to a connection that is just dropped."""

    async def scenario() -> None:
        async with SIDES[side](library) as opened:
            async with opened() as (_, socket):
                began = asyncio.get_running_loop().time()
                await socket.close(1000, "done")
                assert asyncio.get_running_loop().time() - began < 8  # a library waits ten by itself
            async with opened() as (peer, socket):
                peer.writer.transport.abort()
                assert (await ended(socket)).code in (None, 1005, 1006)

    run(scenario)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_side_that_takes_nothing_is_noticed(library: str, side: str) -> None:
    """Sending never waits; when much has not been taken, the socket says that it is strained, until it has been."""

    async def scenario() -> None:
        async with SIDES[side](library) as opened, opened() as (peer, socket):
            text, sent = "x" * 8000, 0
            while not socket.strained:
                socket.send(text)
                sent += 1
                await asyncio.sleep(0)
                assert sent < 4000
            for _ in range(sent):
                assert (await peer.frame())[1] == text.encode()
            while socket.strained:
                await asyncio.sleep(0.01)

    run(scenario)


@pytest.mark.parametrize("library", LIBRARIES)
def test_why_a_model_cannot_be_had(library: str) -> None:
    """Nobody listens, a refusal with its status and body, a server that never answers."""
    dial = on_picows.dial if library == "picows" else on_websockets.dial

    refused = asyncio.Semaphore(0)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if b"/silent" not in await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 15\r\n\r\ninvalid_api_key")
                return
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a client with so little patience may be gone before it has asked
        finally:
            writer.close()
            refused.release()

    async def scenario() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        origin = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NotOpened) as told:
            await dial(Address(origin, {}, 5.0))
        assert (told.value.status, told.value.cause) == (401, "refused with HTTP 401 invalid_api_key")
        with pytest.raises(NotOpened, match=r"no handshake within 0\.1 s"):
            await dial(Address(f"{origin}/silent", {}, 0.1))
        for _ in range(2):  # else the last connection outlives the loop where the machine is busy
            await refused.acquire()
        server.close()
        await server.wait_closed()
        with pytest.raises(NotOpened, match="Connection refused"):
            await dial(Address(origin, {}, 5.0))

    run(scenario)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_model_that_is_gone_as_it_opens(library: str) -> None:
    """A connection that is closed right behind its handshake is one that was lost, not an error of ours."""
    dial = on_picows.dial if library == "picows" else on_websockets.dial

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        writer.write(frame(CLOSE, close(1013), masked=False))
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", {}, 5.0)
        for _ in range(20):
            assert (await ended(await dial(address))).code == 1013
        server.close()
        await server.wait_closed()

    run(scenario)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stranger_gets_403(library: str) -> None:
    """Whom the reception does not admit never sees a 101."""

    async def scenario() -> None:
        host = Host(lets_in=False)
        async with phone_side(library, host) as opened:
            with pytest.raises(AssertionError, match="403"):
                async with opened():
                    pass
        assert host.taken.empty()

    run(scenario)


def test_a_connection_that_nobody_waits_for_any_more_is_closed() -> None:
    """A call that ends while the model is dialled leaves no session open, at whatever moment it ends."""

    async def scenario() -> None:
        ends: list[asyncio.Task[bytes]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await shake_hands(reader, writer)
                ends.append(asyncio.create_task(reader.read()))
                await ends[-1]
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", {}, 5.0)
        steps, opened = 0, 0
        while steps < 40 or not opened:  # a thread finds the address, and may take its time
            dialling = asyncio.create_task(on_picows.dial(address))
            for _ in range(steps):
                await asyncio.sleep(0)
            if dialling.done():
                dialling.result().abandon()  # this server answers no close frame
                opened += 1
            dialling.cancel()
            await asyncio.wait([dialling])
            steps += 1 if steps < 40 else steps // 4
        assert len(ends) >= opened
        for end in ends:
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(end, 2)
        server.close()
        await server.wait_closed()

    run(scenario)


def test_a_stream_holds_nothing_of_the_request_that_it_came_with(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[ReferenceType[object]] = []
    take = on_picows.PhoneDoor.take

    def taken(door: on_picows.PhoneDoor, transport: asyncio.Transport, head: bytes, peer: str) -> None:
        requests.append(ref(transport.get_protocol()))
        take(door, transport, head, peer)

    async def scenario() -> None:
        async with phone_side("picows") as opened, opened() as (peer, socket):
            peer.writer.write(frame(TEXT, b"hello"))
            assert await socket.receive() == "hello"
            gc.collect()
            assert [request() for request in requests] == [None]

    monkeypatch.setattr(on_picows.PhoneDoor, "take", taken)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("side", SIDES)
def test_an_open_socket_holds_no_headers(side: str) -> None:
    async def scenario() -> None:
        async with SIDES[side]("picows") as opened, opened() as (_, socket):
            assert isinstance(socket, on_picows.PicowsSocket)
            transport = socket._transport
            assert (dict(transport.request.headers), dict(transport.response.headers)) == ({}, {})

    run(scenario)


@pytest.mark.parametrize("side", SIDES)
def test_a_closed_socket_needs_no_collector(side: str) -> None:
    """Its buffers go as it closes: whoever heard it, and whoever of the two closed it."""

    class Receiver:
        def __init__(self, socket: Socket) -> None:
            self.socket = socket
            socket.deliver_to(self.hear, self.hear_end)

        def hear(self, message: str | bytes) -> None: ...

        def hear_end(self, closed: Closed) -> None: ...

    async def scenario() -> None:
        async with SIDES[side]("picows") as opened:
            for ours in (True, False):
                async with opened() as (peer, socket):
                    receiver, gone = ref(Receiver(socket)), asyncio.Event()
                    held = ref(socket, lambda _: gone.set())  # noqa: B023
                    if ours:
                        closing = asyncio.create_task(socket.close(1000, "done"))
                        assert (await peer.frame())[0] == CLOSE
                    peer.send(Case([(CLOSE, close(1000))]))
                    peer.writer.write_eof()
                    await (closing if ours else ended(socket))
                del socket, peer
                await asyncio.wait_for(gone.wait(), 10)
                assert (held(), receiver()) == (None, None)

    gc.disable()
    try:
        run(scenario)
    finally:
        gc.enable()
