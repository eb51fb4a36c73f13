"""The model's side of a call over TLS, through buffers that are smaller than a record."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from ops.apps.transports import Address, Socket, on_picows
from ops.bench.bridge import certificate
from tests.apps.awkward_frames import TEXT, Case
from tests.apps.test_transports import Peer, shake_hands

RECORD = 16 * 1024  # bytes at most


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """The context of a server that our sockets believe."""
    file, context = certificate.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    on_picows._tls.cache_clear()
    yield context
    on_picows._tls.cache_clear()


@asynccontextmanager
async def opened(context: ssl.SSLContext) -> AsyncIterator[tuple[Peer, Socket]]:
    """A connection: both of its ends."""
    taken: asyncio.Queue[Peer] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        taken.put_nowait(Peer(reader, writer, masked=False))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    socket = await on_picows.dial(
        Address(f"wss://localhost:{server.sockets[0].getsockname()[1]}/v1", {}, 5.0)
    )
    peer = await taken.get()
    try:
        yield peer, socket
    finally:
        peer.writer.transport.abort()
        await socket.close()
        server.close()
        await server.wait_closed()


def run(scenario: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2000, RECORD - 1, RECORD, 20 * RECORD + 7])
def test_whatever_the_size_of_a_message_it_comes_whole(trusted: ssl.SSLContext, size: int) -> None:
    async def scenario() -> None:
        async with opened(trusted) as (peer, socket):
            for octet in b"abc":
                peer.send(Case([(TEXT, bytes([octet]) * size)]))
            for letter in "abc":
                assert await socket.receive() == letter * size
                socket.send(letter * size)
            for octet in b"abc":
                assert await peer.frame() == (TEXT, bytes([octet]) * size)

    run(scenario)


def test_what_the_model_takes_late_comes_whole_and_in_order(trusted: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with opened(trusted) as (peer, socket):
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            sent = []
            while not socket.strained:
                sent.append(f"{len(sent)} ".ljust(500 + len(sent), "x"))
                socket.send(sent[-1])
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for text in sent:
                assert await peer.frame() == (TEXT, text.encode())
            assert not socket.strained

    run(scenario)


def test_a_connection_holds_no_buffer_for_a_whole_record(trusted: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with opened(trusted):
            pass  # the first one reads the authorities, and more
        async with opened(trusted):
            tracemalloc.start()
            async with opened(trusted):
                held = [trace.size for trace in tracemalloc.take_snapshot().traces if _of_tls(trace)]
            assert held
            assert max(held) < RECORD / 2

    try:
        run(scenario)
    finally:
        tracemalloc.stop()


def test_a_connection_holds_nothing_of_the_certificate_that_it_was_shown(trusted: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with opened(trusted) as (_, socket):
            assert isinstance(socket, on_picows.PicowsSocket)
            assert socket._transport.underlying_transport.get_extra_info("peercert") == {}

    run(scenario)


def test_the_names_in_a_certificate_are_not_interned_for_each_connection(trusted: ssl.SSLContext) -> None:
    """Who has them already adds nothing to the interpreter's table."""
    told = ssl._ssl._test_decode_cert(os.environ["SSL_CERT_FILE"])  # type: ignore[attr-defined]
    names = ["".join(list(name)) for name in told]  # anew: equal, but not interned
    del told
    assert names
    assert not [name for name in names if sys.intern(name) is name]


def _of_tls(trace: tracemalloc.Trace) -> bool:
    return "aiofastnet" in trace.traceback[0].filename
