"""Whole messages out of a websocket's frames, and what no peer may send (RFC 6455, sections 5 to 7). Pure."""

from __future__ import annotations

CONTINUATION, TEXT = 0x0, 0x1  # opcodes
CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)))  # and no others


class Violation(Exception):
    """A frame that no peer may send: the close code for it, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Assembly:
    """The message under way; `limit` is the size of a whole one, in bytes."""

    def __init__(self, limit: int) -> None:
        self.under_way = False  # whether a fragment has come and the last one has not
        self._limit = limit
        self._kind = CONTINUATION  # of the message under way
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, kind: int, payload: bytes, *, last: bool) -> str | bytes | None:
        """One data frame; the whole message when it was the last of one. Raises Violation."""
        if kind == CONTINUATION and not self.under_way:
            raise Violation(1002, "expected the beginning of a message, got a continuation")
        if kind != CONTINUATION and self.under_way:
            raise Violation(1002, "expected a continuation, got the beginning of another message")
        self.under_way = not last
        self._kind = self._kind if kind == CONTINUATION else kind
        self._size += len(payload)
        if self._size > self._limit:
            raise Violation(1009, f"expected messages of at most {self._limit} bytes, got a longer one")
        self._parts.append(payload)
        if not last:
            return None
        whole, kind = b"".join(self._parts), self._kind
        self._kind, self._parts, self._size = CONTINUATION, [], 0
        return text_of(whole) if kind == TEXT else whole


def text_of(payload: bytes) -> str:
    """The text of a frame. Raises Violation where it is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(1007, "expected UTF-8, got something else") from None


def close_of(payload: bytes) -> tuple[int | None, str]:
    """What a close frame says: its code (None: it has none) and reason. Raises Violation."""
    if not payload:
        return None, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code not in CLOSE_CODES:
        raise Violation(1002, f"expected a close code of the protocol's, got {code}")
    return code, text_of(payload[2:])
