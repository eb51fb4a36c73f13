"""Frames of RFC 6455 as a server reads and writes them: just what a media stream needs. Pure.

Lean on purpose: the measuring end must not be the bottleneck of what it measures.
"""

from __future__ import annotations

import base64
import hashlib
import struct

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
MASKED, NO_MASK = 0x80, b"\0\0\0\0"
_MIDDLE = struct.Struct(">BBH")
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accepted(request: bytes) -> bytes | None:
    """The answer to an upgrade request, None where it is none."""
    for line in request.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"sec-websocket-key":
            key = base64.b64encode(hashlib.sha1(value.strip() + _MAGIC).digest())
            return (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
            )
    return None


def take(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take the first whole frame off a client's bytes: opcode and unmasked payload; None: not all there."""
    have = len(buffer)
    if have < 2:
        return None
    size, at = buffer[1] & 0x7F, 2
    if size == 126:
        if have < 4:
            return None
        size, at = (buffer[2] << 8) | buffer[3], 4
    elif size == 127:
        if have < 10:
            return None
        size, at = struct.unpack_from(">Q", buffer, 2)[0], 10
    masked = buffer[1] & 0x80
    end = at + (4 if masked else 0) + size
    if have < end:
        return None
    payload = bytes(buffer[end - size : end])
    if masked and size:
        mask = bytes(buffer[at : at + 4]) * (size // 4 + 1)
        payload = (
            int.from_bytes(payload, "little") ^ int.from_bytes(mask[:size], "little")
        ).to_bytes(size, "little")  # fmt: skip
    opcode = buffer[0] & 0x0F
    del buffer[:end]
    return opcode, payload


def frame(opcode: int, payload: bytes, masked: int = 0) -> bytes:
    """One whole frame from a server; from a client with `masked=MASKED`, with a key of zero: RFC 6455
    allows any, and the receiver takes it off all the same."""
    size = len(payload)
    key = NO_MASK if masked else b""
    if size < 126:
        return bytes((0x80 | opcode, masked | size)) + key + payload
    if size < 1 << 16:
        return _MIDDLE.pack(0x80 | opcode, masked | 126, size) + key + payload
    return struct.pack(">BBQ", 0x80 | opcode, masked | 127, size) + key + payload
