"""One-time tickets: a signed webhook gives one to its call, and one media stream may show it. Pure."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SOON = 5.0  # seconds after the webhook in which an honest stream comes
LIFE = 30.0  # seconds in which the stream must show its ticket


@dataclass(frozen=True)
class Terms:
    """What the webhook settled for its call: who is on the line, and settings of this call alone."""

    record: bool = False
    party: str = ""  # the other side's number
    voice: str = ""
    instructions: str = ""
    greets: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def of_json(row: Mapping[str, Any]) -> Terms:
        """The terms of a call's file; what is missing is as by default."""
        return Terms(**{spec.name: row[spec.name] for spec in fields(Terms) if spec.name in row})


@dataclass(frozen=True)
class Ticket:
    """What a call must show to have its stream accepted, and until when."""

    secret: str
    expires: float
    terms: Terms
    resumed: bool = False
    probe: bool = False  # of no call: its stream need not come


class Tickets:
    """The tickets that are out, one for each call at most: a repeated webhook voids the unused one."""

    def __init__(self) -> None:
        self._out: dict[str, Ticket] = {}

    def issue(
        self,
        call_sid: str,
        now: float,
        terms: Terms | None = None,
        *,
        resumed: bool = False,
        probe: bool = False,
    ) -> str:
        """A new ticket for this call, in place of any earlier one."""
        self._out = {sid: ticket for sid, ticket in self._out.items() if ticket.expires > now}
        ticket = Ticket(secrets.token_urlsafe(32), now + LIFE, terms or Terms(), resumed, probe)
        self._out[call_sid] = ticket
        return ticket.secret

    def expected(self, now: float, besides: str = "", *, within: float = SOON) -> int:
        """How many calls, besides one, were given a ticket a moment ago: their streams may yet come."""
        return sum(
            sid != besides and not ticket.probe and ticket.expires - LIFE + within > now
            for sid, ticket in self._out.items()
        )

    def redeem(self, call_sid: str, shown: str, now: float) -> Ticket | None:
        """The ticket, which from now on is used; None when it is wrong, late, used or of another call."""
        ticket = self._out.get(call_sid)
        if ticket is None or not hmac.compare_digest(
            ticket.secret.encode(), shown.encode("utf-8", "replace")
        ):
            return None
        del self._out[call_sid]
        return ticket if ticket.expires > now else None
