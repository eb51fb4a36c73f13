"""What the switchboard and whoever carries a call are to each other, in this process or in another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from msgspec import Struct

from ops.apps.actions import NOTHING, Measure, Remember, Spent
from ops.apps.dialogue import Entry
from ops.apps.tickets import Terms
from ops.vendors.twilio import wire as twilio

CLOSED_WITHIN = 5.0  # seconds in which a call that has ended closes its sockets


@dataclass(frozen=True)
class Admission:
    """A call that may have its stream: its terms, and where it came back, what was said before (None: nothing
    is known of it) and what it has spent."""

    terms: Terms
    past: tuple[Entry, ...] | None = None
    turns: int = 0
    resumed: bool = False
    spent: Spent = NOTHING


class Standing(Struct, frozen=True):
    """How a live call stands: the seconds since its phone's last frame, and why it has ended, if it has."""

    quiet: float
    reason: str | None


class Live(Protocol):
    """A call as the switchboard sees it. It is over when both of its sockets are closed."""

    began: float  # on the clock of the loop
    closed: asyncio.Future[None]

    async def standing(self) -> Standing:
        """How it stands; where that cannot be learnt in time, as one that delivers."""

    def end(self, reason: str) -> None:
        """Ends the call from outside."""

    def lose(self, cause: str) -> None:
        """The stream is dead although its socket does not say so: another one has come for the call."""


async def gone(call: Live) -> None:
    """Waits until a call that has ended is closed. Raises TimeoutError."""
    await asyncio.wait_for(asyncio.shield(call.closed), CLOSED_WITHIN)


L = TypeVar("L", bound=Live)


class Desk(Protocol):
    """The switchboard as the carrier of one stream sees it, from the handshake to the stream's end."""

    def refused(self, reason: str) -> None:
        """The stream is not what it should be."""

    async def accept(self, start: twilio.Start, carry: Callable[[Admission], L]) -> L | None:
        """What `carry` makes of the stream whose start message came; None: it is refused."""

    def remember(self, row: Remember) -> None:
        """Takes what must outlive the carrier."""

    def written(self) -> asyncio.Future[None]:
        """Done when every row that it took so far is on the disk, or could not be written."""

    def measure(self, number: Measure) -> None:
        """Takes a number for the metrics."""

    def watch(self, message: str | bytes) -> None:
        """Takes a message of the model that is not audio."""

    def over(self, reason: str | None) -> None:
        """The stream is gone, and with it the call that it had; why that ended."""
