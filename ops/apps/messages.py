"""What the switchboard and its workers tell each other, one JSON text a message. Pure.

Each stream has a number, which its worker and the switchboard both call it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from ops.apps.actions import NOTHING, Measure, Remember, Spent
from ops.apps.carriage import Admission, Standing
from ops.apps.dialogue import of_json, to_json
from ops.apps.gauges import Pulse
from ops.apps.tickets import Terms
from ops.vendors.twilio import wire as twilio


class Take(Struct, frozen=True, tag=True):
    """Take the connection that comes with this, of which a head was read; its peer was let in."""

    number: int
    head: bytes
    peer: str


class Admitted(Struct, frozen=True, tag=True):
    """The stream has its call, as an `Admission` that can be sent; without terms it is refused."""

    number: int
    terms: Terms | None = None
    past: tuple[Mapping[str, Any], ...] | None = None
    turns: int = 0
    resumed: bool = False
    spent: Spent = NOTHING


class End(Struct, frozen=True, tag=True):
    """End the call."""

    number: int
    reason: str


class Lose(Struct, frozen=True, tag=True):
    """The call's stream is dead."""

    number: int
    cause: str


class Ask(Struct, frozen=True, tag=True):
    """Tell how the call stands."""

    number: int


class Written(Struct, frozen=True, tag=True):
    """The answer to `Write`; the first one answers the first."""

    number: int


class Watch(Struct, frozen=True, tag=True):
    """Whether somebody wants to see the messages of the model."""

    wanted: bool


class Shown(Struct, frozen=True, tag=True):
    """The stream's start message has come: may it have its call?"""

    number: int
    start: twilio.Start


class Refused(Struct, frozen=True, tag=True):
    """The stream is not what it should be."""

    number: int
    reason: str


class Row(Struct, frozen=True, tag=True):
    """What of the call must outlive its worker."""

    number: int
    row: Remember


class Write(Struct, frozen=True, tag=True):
    """Tell when every row so far is on the disk."""

    number: int


class Measured(Struct, frozen=True, tag=True):
    """A number of the call for the metrics."""

    number: int
    measure: Measure


class Seen(Struct, frozen=True, tag=True):
    """A message of the model, for those who watch."""

    number: int
    message: str


class Stands(Struct, frozen=True, tag=True):
    """The answer to `Ask`."""

    number: int
    standing: Standing


class Over(Struct, frozen=True, tag=True):
    """The stream is gone, and its call has ended so."""

    number: int
    reason: str | None


Order = Take | Admitted | End | Lose | Ask | Written | Watch
News = Shown | Refused | Row | Write | Measured | Seen | Stands | Over | Pulse

encode = Encoder().encode
order_of = Decoder(Order).decode
news_of = Decoder(News).decode


def sendable(number: int, admission: Admission) -> Admitted:
    """An admission as a message."""
    past = None if admission.past is None else tuple(map(to_json, admission.past))
    return Admitted(number, admission.terms, past, admission.turns, admission.resumed, admission.spent)


def admission_of(message: Admitted) -> Admission | None:
    """What was sent; None for a refusal."""
    if message.terms is None:
        return None
    past = None if message.past is None else tuple(of_json(message.past))
    return Admission(message.terms, past, message.turns, message.resumed, message.spent)
