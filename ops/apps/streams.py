"""The media streams: which of them gets its call, and what the switchboard keeps of it.

WS /call   media stream, signed; its start message shows the ticket that its call was given
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ops.apps.actions import NOTHING, Measure, Remember, Spent
from ops.apps.callbook import Page
from ops.apps.carriage import Admission, L, gone
from ops.apps.door import Refusal
from ops.apps.session import LOST
from ops.apps.tickets import Ticket
from ops.vendors.twilio import wire as twilio

if TYPE_CHECKING:
    from ops.apps.switchboard import Switchboard

DELIVERS = 1.0  # seconds without a frame after which a stream no longer counts as delivering
WAY_BACK = 4.0  # seconds in which a call whose stream was lost must ask for another, or it is not waited for


class Stream:
    """One media stream that was let in, as the switchboard keeps it until it is gone: a `Desk`."""

    def __init__(self, bridge: Switchboard, peer: str) -> None:
        self._bridge = bridge
        self._peer = peer
        self._opens = True  # it has shown no ticket yet
        self._sid: str | None = None  # the live call that it has
        bridge.opening += 1

    def refused(self, reason: str) -> None:
        self._bridge.refused(self._peer, reason, self._bridge.door.media_path)

    async def accept(self, start: twilio.Start, carry: Callable[[Admission], L]) -> L | None:
        self._opened()
        ticket = await self._redeem(start)
        if isinstance(ticket, Refusal):
            self.refused(ticket.reason)
            return None
        bridge, sid = self._bridge, start.call_sid
        page: Page | None = await bridge.book.read(sid) if ticket.resumed else None
        if sid in bridge.live:  # two streams of one call came at once
            return None
        now = time.time()
        past, turns, spent = (page.entries, page.turns, _spent(page, now)) if page else (None, 0, NOTHING)
        live = carry(Admission(ticket.terms, past, turns, ticket.resumed, spent))
        bridge.live[sid] = live
        bridge.lost.pop(sid, None)
        bridge.door.began(sid)
        bridge.idle.clear()
        self._sid = sid
        self._tell = bridge.views.watch(sid)
        bridge.gauges.measure("calls")
        if page is not None:
            bridge.book.add(sid, "resumed", {"at": now})
            bridge.gauges.measure("resumed")
        else:
            bridge.book.add(sid, "began", {"at": now, **ticket.terms.to_json()})
        return live

    def remember(self, row: Remember) -> None:
        assert self._sid
        self._bridge.book.add(self._sid, row.event, row.fields)

    def written(self) -> asyncio.Future[None]:
        return self._bridge.book.written()

    def measure(self, number: Measure) -> None:
        self._bridge.measure(number)

    def watch(self, message: str | bytes) -> None:
        self._tell(message)

    def over(self, reason: str | None) -> None:
        self._opened()
        bridge, sid = self._bridge, self._sid
        if sid is None:
            return
        if reason == LOST:
            bridge.book.add(sid, "lost", {})
            bridge.expect_back(sid, WAY_BACK)
        else:
            bridge.remember_end(sid, reason or "unknown")
        del bridge.live[sid]
        self._sid = None
        if not bridge.live:
            bridge.idle.set()

    def _opened(self) -> None:
        self._bridge.opening -= self._opens
        self._opens = False

    async def _redeem(self, start: twilio.Start) -> Ticket | Refusal:
        bridge, sid = self._bridge, start.call_sid
        if start.account_sid != bridge.settings.twilio_account_sid:
            return Refusal(1008, "the start message names another account")
        live = bridge.live.get(sid)
        if live is not None:
            standing = await live.standing()
            if standing.reason is None and standing.quiet < DELIVERS:
                return Refusal(1008, "the call has a stream that still lives")
        ticket = bridge.tickets.redeem(sid, start.parameters.get("ticket", ""), time.monotonic())
        if ticket is None:
            return Refusal(1008, "no valid ticket of this call")
        if live is None and not ticket.resumed and len(bridge.live) >= bridge.settings.max_live_calls:
            return Refusal(1008, "every line has been taken since its webhook")
        if (start.encoding, start.sample_rate) != ("audio/x-mulaw", 8000):
            return Refusal(
                1008, f"expected audio/x-mulaw at 8000 Hz, got {start.encoding} {start.sample_rate}"
            )
        if live is not None:  # its socket is dead, or about to be closed
            live.lose("another stream has come for the call")
            await gone(live)
        return ticket


def _spent(page: Page, now: float) -> Spent:
    """What a call has had so far, by its page; the seconds without a stream count, too."""
    return Spent(0.0 if page.began is None else max(0.0, now - page.began), page.dollars)
