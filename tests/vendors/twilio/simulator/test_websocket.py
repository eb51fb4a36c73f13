"""The socket below a stream: TLS, refusals, pieces."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from ops.vendors.twilio.simulator.websocket import (
    HandshakeFailed,
    WebSocket,
    absolute_address,
    address_fault,
    behind_tunnel,
    text_frame,
)


def certificate(folder: Path) -> Path:
    """A throw-away certificate for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_wss_is_spoken_with_a_trusted_certificate_only(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A certificate that is trusted carries messages; any other is an SSL error. On either event loop."""
    path = certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=str(path))

    async def main() -> list[str | None]:
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        async with serve(echo, "127.0.0.1", 0, ssl=serving) as server:
            url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/call"
            with pytest.raises(ssl.SSLError):
                await WebSocket.connect(url, headers={}, on_text=heard.put_nowait, timeout=5)
            opened = await WebSocket.connect(
                url, headers={}, on_text=heard.put_nowait, timeout=5, tls=trusting
            )
            opened.slice_bytes = 3
            opened.send("in pieces")
            got = [await heard.get()]
            opened.close()
            assert await opened.closed == 1000
            return got

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == ["in pieces"]


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 127, 340, 65535, 65536, 100_001])
def test_a_text_is_one_masked_frame(size: int) -> None:
    """As `websockets`' own reader takes it: whole, final, masked, in the shortest of the three headers."""
    payload, key = bytes(index % 251 for index in range(size)), b"\x01\x80\xff\x00"
    made = text_frame(payload, key)
    reader = StreamReader()
    reader.feed_data(made)
    parsing = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as stopped:
        next(parsing)
    assert stopped.value.value == Frame(Opcode.TEXT, payload)
    assert len(made) == size + 6 + (0 if size < 126 else 2 if size < 65536 else 8)
    assert made[-size - 4 : len(made) - size] == key


def test_a_server_that_never_answers_is_given_up() -> None:
    """The upgrade has a deadline."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
            with pytest.raises(TimeoutError):
                await WebSocket.connect(url, headers={}, on_text=print, timeout=0.2)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403), (b"garbage\r\n\r\n", None), (b"", None)],
)
def test_an_upgrade_that_is_not_101_is_refused(answer: bytes, status: int | None) -> None:
    """Another status, no HTTP, or a closed connection: HandshakeFailed with what was answered."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        served.set()

    async def main() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            with pytest.raises(HandshakeFailed) as caught:
                await WebSocket.connect(url, headers={}, on_text=print, timeout=5)
            assert caught.value.status == status
            await served.wait()

    served = asyncio.Event()
    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    ["", "call", "http://x/", "wss://", "wss://x:99999/", "ws://example.com/", "wss://https://x", "wss:///x"],
)
def test_an_address_that_is_not_one_is_told(url: str) -> None:
    """The sentence says what was expected."""
    assert "expected a wss:// URL" in address_fault(url)


@pytest.mark.parametrize(
    "url", ["wss://example.com/call", "wss://example.com:443/a/b", "ws://127.0.0.1:80/x"]
)
def test_usable_addresses(url: str) -> None:
    """wss anywhere, ws on loopback."""
    assert address_fault(url) == ""


def test_a_relative_address_is_on_the_documents_server() -> None:
    """/call beside an https document is wss, beside an http one ws; an absolute one stays as written."""
    assert absolute_address("/call", "https://example.com/twiml?a=1") == "wss://example.com/call"
    assert absolute_address("call", "http://127.0.0.1:81/a/twiml") == "ws://127.0.0.1:81/a/call"
    assert (
        absolute_address("wss://example.com/call?x", "https://other.example.com")
        == "wss://example.com/call?x"
    )


@pytest.mark.parametrize(
    ("url", "webhook", "expected"),
    [
        ("wss://127.0.0.1/media", "http://127.0.0.1:5050/call", "ws://127.0.0.1:5050/media"),
        ("wss://localhost:5050/media", "http://localhost:5050/call", "ws://localhost:5050/media"),
        ("wss://127.0.0.1:9000/media", "http://127.0.0.1:5050/call", None),
        ("wss://127.0.0.1/media", "https://127.0.0.1:5050/call", None),
        ("wss://localhost/media", "http://127.0.0.1:5050/call", None),
        ("wss://agent.example.com/media", "http://agent.example.com/call", None),
        ("ws://127.0.0.1:9000/media", "http://127.0.0.1:5050/call", None),
        ("wss://127.0.0.1/media", "", None),
    ],
)
def test_a_bridge_that_believes_itself_behind_tls(url: str, webhook: str, expected: str | None) -> None:
    """Its own loopback host with its port or none is opened in plain; every other address as it is written."""
    assert behind_tunnel(url, webhook) == (expected or url)
