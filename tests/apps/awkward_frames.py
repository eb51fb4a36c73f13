"""Frames as bytes, and those that a websocket must take or must refuse: by the sections of the Autobahn test suite."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.apps.transports import FROM_PHONE

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def frame(
    kind: int, payload: bytes = b"", *, last: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """One frame as it stands on the wire."""
    size = len(payload)
    head = bytes([last << 7 | reserved << 4 | kind])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 65_536:
        head += bytes([mask | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))


def close(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


@dataclass
class Case:
    """What one side sends, as (kind, payload, last, reserved); what must arrive of it, and the code with which the
    socket is closed (None: it stays open). `octets` are sent one by one."""

    frames: Sequence[tuple[int, bytes] | tuple[int, bytes, bool] | tuple[int, bytes, bool, int]]
    messages: list[str | bytes] = field(default_factory=list)
    code: int | None = None
    wrongly_masked: bool = False
    octets: bool = False


def cut(text: str) -> list[tuple[int, bytes, bool]]:
    """A text in as many fragments as it has octets."""
    octets = text.encode()
    last = len(octets) - 1
    return [(CONTINUATION if at else TEXT, octets[at : at + 1], at == last) for at in range(len(octets))]


FRAMING = {
    "a text": Case([(TEXT, b"a")], ["a"]),
    "an empty text": Case([(TEXT, b"")], [""]),
    "a binary message": Case([(BINARY, b"\xff")], [b"\xff"]),
    "an empty binary message": Case([(BINARY, b"")], [b""]),
    "a text octet by octet": Case([(TEXT, "é*".encode())], ["é*"], octets=True),
    "as large as may be": Case([(TEXT, b"x" * FROM_PHONE)], ["x" * FROM_PHONE]),
    "masked as the other side": Case([(TEXT, b"a")], code=1002, wrongly_masked=True),
} | {
    f"a text of {size}": Case([(TEXT, b"x" * size)], ["x" * size]) for size in (125, 126, 127, 128, 65_535)
} | {
    f"a binary message of {size}": Case([(BINARY, b"\xfe" * size)], [b"\xfe" * size]) for size in (126, 65_535)
}  # fmt: skip

PINGS = {
    "a ping too long": Case([(PING, b"x" * 126)], code=1002),
    "a pong too long": Case([(PONG, b"x" * 126)], code=1002),
    "a pong unasked": Case([(PONG, b"x"), (TEXT, b"a")], ["a"]),
    "pongs and pings around a text": Case(
        [(PONG, b""), (PING, b""), (TEXT, b"a"), (PING, b"\xff" * 125)], ["a"]
    ),
}

RESERVED = {
    f"reserved bits {bits:03b}": Case([(TEXT, b"a", True, bits)], code=1002) for bits in range(1, 8)
} | {
    "a reserved bit in a ping": Case([(PING, b"", True, 1)], code=1002),
    "a reserved bit in a close": Case([(CLOSE, close(1000), True, 4)], code=1002),
    "a reserved bit in a binary message": Case([(BINARY, b"\xff", True, 4)], code=1002),
    "a reserved bit in a continuation": Case([(TEXT, b"a", False), (CONTINUATION, b"b", True, 4)], code=1002),
}  # fmt: skip

OPCODES = {
    f"the opcode {kind:#x} {'with' if payload else 'without'} a payload": Case([(kind, payload)], code=1002)
    for kind in (*range(3, 8), *range(0xB, 0x10))
    for payload in (b"", b"a")
}

FRAGMENTS = {
    "a text in three": Case([(TEXT, b"a", False), (CONTINUATION, b"", False), (CONTINUATION, b"b")], ["ab"]),
    "a binary message in two": Case([(BINARY, b"\xfe", False), (CONTINUATION, b"\xff")], [b"\xfe\xff"]),
    "a text of empty fragments": Case(
        [(TEXT, b"", False), (CONTINUATION, b"", False), (CONTINUATION, b"")], [""]
    ),
    "a ping between fragments": Case([(TEXT, b"a", False), (PING, b"p"), (CONTINUATION, b"b")], ["ab"]),
    "a text after another's end": Case(
        [(TEXT, b"a", False), (CONTINUATION, b"b"), (TEXT, b"c")], ["ab", "c"]
    ),
    "fragments octet by octet": Case(
        [(TEXT, b"a", False), (PING, b"p"), (CONTINUATION, b"b")], ["ab"], octets=True
    ),
    "a stray continuation": Case([(CONTINUATION, b"a")], code=1002),
    "a stray continuation that goes on": Case([(CONTINUATION, b"a", False), (TEXT, b"b")], code=1002),
    "a continuation after the end": Case(
        [(TEXT, b"a", False), (CONTINUATION, b"b"), (CONTINUATION, b"c")], code=1002
    ),
    "a text within a text": Case([(TEXT, b"a", False), (TEXT, b"b")], code=1002),
    "a binary message within a text": Case([(TEXT, b"a", False), (BINARY, b"b")], code=1002),
    "a ping in fragments": Case([(PING, b"", False)], code=1002),
    "a pong in fragments": Case([(PONG, b"a", False), (PONG, b"b")], code=1002),
    "a close in fragments": Case([(CLOSE, close(1000), False)], code=1002),
}

LETTERS = {
    f"letters {text!a}": Case(cut(text), [text])
    for text in ("κόσμε", "\U0010ffff\ufffe\uffff", "\0\x7f\x80߿ࠀ", "\ufeffa", "\U0001f600")
} | {
    f"not letters {octets.hex()}": Case([(TEXT, b"a" + octets)], code=1007)
    for octets in (
        b"\xff\xfe", b"\xc3", b"\x80", b"\xbf\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf0\x9f\x98",
        b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xce\xba\xe1",
    )
} | {
    "not letters across fragments": Case([(TEXT, b"\xc3", False), (CONTINUATION, b"a")], code=1007),
    "not letters after letters": Case([(TEXT, "κ".encode(), False), (CONTINUATION, b"\xed\xa0\x80")], code=1007),
}  # fmt: skip

CLOSING = {
    "a close with half a code": Case([(CLOSE, b"\x03")], code=1002),
    "a close not UTF-8": Case([(CLOSE, close(1000, b"\xff"))], code=1007),
    "a close with the longest reason": Case([(CLOSE, close(1000, b"x" * 123))], code=1000),
    "a close too long": Case([(CLOSE, close(1000, b"x" * 124))], code=1002),
    "a close, and more": Case([(CLOSE, close(1000)), (PING, b""), (TEXT, b"a")], code=1000),
} | {
    f"a close with {code}": Case([(CLOSE, close(code))], code=1002)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
} | {
    f"a close with {code}": Case([(CLOSE, close(code, b"bye"))], code=code)
    for code in (*range(1000, 1004), *range(1007, 1012), 3000, 3999, 4000, 4999)
}  # fmt: skip

CASES = FRAMING | PINGS | RESERVED | OPCODES | FRAGMENTS | LETTERS | CLOSING
