"""Frames of RFC 6455, read and written; the `websockets` package is the witness."""

from __future__ import annotations

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from ops.bench import wire


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_frames_of_every_length_come_whole_from_a_client(size: int) -> None:
    """Masked frames of all three length forms, also byte by byte."""
    payload = bytes(number % 251 for number in range(size))
    data = Frame(Opcode.TEXT, payload).serialize(mask=True)
    buffer = bytearray(data[:-1])
    assert wire.take(buffer) is None
    assert len(buffer) == len(data) - 1
    buffer += data[-1:] + b"rest"
    assert wire.take(buffer) == (wire.TEXT, payload)
    assert buffer == b"rest"


@pytest.mark.parametrize("size", [0, 125, 126, 65536])
def test_a_client_accepts_the_upgrade_and_reads_our_frames(size: int) -> None:
    """The handshake's answer is the right one, and our frames parse."""
    client = ClientProtocol(parse_uri("ws://127.0.0.1:1/call"), max_size=None)
    client.send_request(client.connect())
    answer = wire.accepted(b"".join(client.data_to_send()))
    assert answer is not None
    client.receive_data(answer + wire.frame(wire.TEXT, b"x" * size))
    _, frame = client.events_received()
    assert isinstance(frame, Frame)
    assert bytes(frame.data) == b"x" * size


def test_a_plain_request_is_no_upgrade() -> None:
    """Without a key there is nothing to accept."""
    assert wire.accepted(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") is None
