"""Both sockets of a call behind one small interface, whichever library carries them.

`picows` is what calls run on. `websockets` is the reference: the same tests and the same awkward frames run
against both, and `WEBSOCKET_LIBRARY` chooses.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ops.apps.passing import AnswerPasses, CallerPasses, Passed, Piece

FROM_PHONE = 64 * 1024  # bytes of one message; a frame of Twilio's has about 400
FROM_MODEL = 16 * 1024 * 1024  # a second of audio in one event has 11 kB; a whole answer may come at once
CLOSE_WITHIN = 1.0  # seconds for the other side's word when we close
KEPT = 1000  # messages that wait for their receiver; nobody honest sends so many meanwhile
SILENT = 5.0  # seconds without a byte of the model until it is asked whether it lives, and for the answer
ACKNOWLEDGED_WITHIN = 5.0  # seconds: a connection whose other end does not even acknowledge bytes is dead
PHONE_STRAIN = 32 * 1024  # bytes that wait for the phone: two seconds of audio; more of it would be stale
MODEL_STRAIN = 512 * 1024  # bytes that wait for the model: half a minute


class Closed(Exception):
    """The socket is closed: its close code (None: there was no close frame), and why."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"closed with {code} {reason}".rstrip() if code is not None else reason)
        self.code = code
        self.reason = reason


class NotOpened(Exception):
    """No connection could be had: the cause, and the HTTP status where the other side gave one."""

    def __init__(self, cause: str, status: int | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.status = status


def why_not_opened(problem: Exception, within: float) -> NotOpened:
    """A failed try in words."""
    if isinstance(problem, TimeoutError):
        return NotOpened(f"no handshake within {within:g} s")
    if isinstance(problem, OSError):
        reason = os.strerror(problem.errno) if problem.errno and problem.errno > 0 else str(problem)
        return NotOpened(f"cannot connect: {reason}")
    return NotOpened(f"{type(problem).__name__}: {problem}"[:300])


class Reception(Protocol):
    """Who decides over the phone's streams, and takes them."""

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        """Whether a handshake on the media path is let in; what is refused gets HTTP 403."""

    async def attend(self, socket: Socket) -> None:
        """Take an open stream; when this returns, the stream is closed."""


class Passage(Protocol):
    """A lane between a call's two sockets: from `start` to `stop` frames pass, and are not delivered.

    What has passed is told once."""

    def start(self, caller: CallerPasses | None, answer: AnswerPasses | None) -> None:
        """Let pass what is given."""

    def tell(self) -> Passed | None:
        """What has passed since the start, or the last telling, while more passes; None where nothing may."""

    def stop(self) -> Passed | None:
        """Let nothing pass any more; what has passed, None when nothing was let."""


@dataclass(frozen=True)
class Address:
    """Where the model is: its URL, what is sent with the handshake, and the seconds for all of that."""

    url: str
    headers: dict[str, str]
    within: float


class Socket(ABC):
    """An open websocket. Its messages, text checked to be UTF-8 or bytes, wait in order until somebody takes
    them; `send` never waits, and `strained` says that the other side does not take what it gets."""

    def __init__(self, peer: str = "?") -> None:
        self.peer = peer
        self.strained = False
        self.closed: Closed | None = None
        self._kept: list[str | bytes] = []  # few, for a moment: an empty deque would hold 700 bytes
        self._on_message: Callable[[str | bytes], None] | None = None
        self._on_closed: Callable[[Closed], None] | None = None
        self._asked: asyncio.Future[None] | None = None  # done when there is something for `receive`
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @abstractmethod
    def send(self, text: str) -> None:
        """Send one message; on a closed socket it goes nowhere."""

    def lane_to(self, model: Socket, piece: Piece, append: str, media: str, mark: str) -> Passage | None:
        """A lane from this socket, a phone's, to the model's, for frames that need no decision; None where
        there is none. `append`, `media` and `mark` are what is sent, with a NUL for what they carry."""
        return None

    def leave_lane(self) -> None:  # noqa: B027 - of those that have one
        """From now on every message is delivered."""

    @abstractmethod
    def _send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; nothing is sent after it."""

    @abstractmethod
    def _abort(self) -> None:
        """Drop the connection at once."""

    def deliver_to(
        self, on_message: Callable[[str | bytes], None], on_closed: Callable[[Closed], None]
    ) -> None:
        """From now on every message goes there as it comes, those that waited first; nothing comes after the
        word that the socket is closed."""
        self._on_message, self._on_closed = on_message, on_closed
        while self._kept:
            on_message(self._kept.pop(0))
        if self.closed is not None:
            self._on_message = self._on_closed = None
            on_closed(self.closed)

    async def receive(self) -> str | bytes:
        """The next message, for whoever asks before there is a receiver. Raises Closed."""
        while not self._kept:
            if self.closed is not None:
                raise Closed(self.closed.code, self.closed.reason)  # ours would keep whoever hears it
            self._asked = asyncio.get_running_loop().create_future()
            await self._asked
        return self._kept.pop(0)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close within a second, whatever the other side does."""
        if self.closed is None:
            self._send_close(code, reason)
        try:
            await asyncio.wait_for(asyncio.shield(self._over), CLOSE_WITHIN)
        except TimeoutError:
            self._abort()

    def _came(self, message: str | bytes) -> None:
        if self._on_message is not None:
            self._on_message(message)
        elif len(self._kept) < KEPT:
            self._kept.append(message)
            self._answer()
        else:
            self._send_close(1008, "too many messages before the stream was accepted")

    def _ended(self, code: int | None, reason: str) -> None:
        if self.closed is None:
            self.closed = Closed(code, reason)
            self._over.set_result(None)
            self._answer()
            if self._on_closed is not None:
                self._on_closed(self.closed)
                self._on_message = self._on_closed = None  # the receiver knows us

    def _answer(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
