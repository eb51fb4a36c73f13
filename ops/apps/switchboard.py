"""All calls of one bridge process, and who may start one.

WS /call   media stream, signed; its start message shows the ticket that its call was given
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence

from starlette.routing import Route, WebSocketRoute

from ops.apps import agent_tools, tools
from ops.apps.actions import Measure
from ops.apps.agent import agent_of
from ops.apps.call import Call, Dial
from ops.apps.callbook import Callbook, Page
from ops.apps.dialect import Dialect
from ops.apps.door import Door, Refusal
from ops.apps.gauges import Gauges
from ops.apps.session import LOST
from ops.apps.tickets import Ticket, Tickets
from ops.apps.transports import Closed, Socket
from ops.apps.views import Views
from ops.apps.webhooks import Webhooks
from ops.config import Settings
from ops.errors import OpsError
from ops.journal import write as journal
from ops.journal.hops import Hop
from ops.vendors.ngrok import client as ngrok
from ops.vendors.twilio import wire as twilio

START_WITHIN = 5.0  # seconds from the handshake to the start message
DELIVERS = 1.0  # seconds without a frame after which a stream no longer counts as delivering
ENDED_CALLS = 10_000  # remembered, so that a replayed webhook of theirs opens nothing
WAY_BACK = 4.0  # seconds in which a call whose stream was lost must ask for another, or it is not waited for
EXPLAINED_EVERY = 1.0  # seconds: of a flood of forgeries one is explained; ten of them could stop the audio
AILING = 60.0  # seconds for which health tells of a model that could not be had

log = journal.logger(__name__)


class Switchboard:
    """All calls of this process, and who may start one."""

    def __init__(self, settings: Settings, dial: Dial, dialect: Dialect) -> None:
        assert settings.twilio_account_sid is not None
        assert settings.twilio_auth_token is not None
        self.settings = settings
        self._dial = dial
        self._dialect = dialect
        self.door = Door(
            settings.twilio_account_sid,
            settings.twilio_auth_token.reveal(),
            settings.public_url,
            settings.max_signed_calls_per_hour,
            settings.bridge_name,
        )
        self.tickets = Tickets()
        self.toolbox = tools.Toolbox(agent_tools.TOOLS)
        self.gauges = Gauges()
        self.book = Callbook(settings.run_dir / "calls")
        self.live: dict[str, Call] = {}
        self.ended: OrderedDict[str, None] = OrderedDict()
        self._lost: dict[str, float] = {}  # calls whose stream broke, and until when each is waited for
        self.idle = asyncio.Event()
        self.draining = False
        self.views = Views(self)
        self.webhooks = Webhooks(self)
        self._ailing_until = 0.0
        self._explains_at = 0.0
        self._opening = 0  # streams that have shown no ticket yet
        self.idle.set()

    @property
    def trouble(self) -> str | None:
        """Why the bridge is degraded; None when it is not."""
        if self.door.origin is None:
            return "the public URL is not known: no tunnel"
        if time.monotonic() < self._ailing_until:
            return "the model could not be had for a call a moment ago"
        if self.book.failing:
            return "the disk does not take the calls' files: a call could not be resumed"
        return None

    def refused(self, peer: str, reason: str, path: str = "") -> None:
        """Somebody was not let in: counted, and told in the log alone."""
        self.gauges.measure("refused")
        log.warning("door.refused", f"Refused: {reason}.", path=path, peer=peer)

    def refuse(self, peer: str, refusal: Refusal, path: str) -> None:
        """Likewise, with all that is known of why, as often as there is time for that."""
        reason, now = refusal.reason, time.monotonic()
        if refusal.explain is not None and now >= self._explains_at:
            self._explains_at = now + EXPLAINED_EVERY
            reason = refusal.explain()
        self.refused(peer, reason, path)

    def full(self, sid: str) -> bool:
        """Whether there is no line for one more call: those on their way to their streams have one too."""
        expected = self.tickets.expected(time.monotonic(), besides=sid)
        return len(self.live) + expected >= self.settings.max_live_calls

    # The media stream.

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        """Whether a stream's handshake is let in: rightly signed, and not one too many."""
        try:
            refusal = self.door.upgrade(signatures)
        except Exception as problem:  # whatever cannot be checked does not come in
            log.exception("door.failed", "A stream's handshake could not be checked.")
            refusal = Refusal(403, f"it could not be checked: {type(problem).__name__}")
        if refusal is None and self._opening >= self.settings.max_live_calls:
            refusal = Refusal(503, "too many streams without a start message")
        if refusal is not None:
            self.refuse(peer, refusal, self.door.media_path)
        return refusal is None

    async def attend(self, socket: Socket) -> None:
        """One media stream that was let in; one that fails is closed, so that its call can come back."""
        try:
            await self._attend(socket)
        except Exception:
            log.exception("stream.failed", "A media stream could not be attended to.")
            await socket.close(1011)

    async def _attend(self, socket: Socket) -> None:
        """The stream's ticket, and only then anything upstream."""
        self._opening += 1
        try:
            start = await self._start(socket)
        finally:
            self._opening -= 1
        if start is None:
            return
        with journal.bound(call_sid=start.call_sid, stream_sid=start.stream_sid):
            ticket = await self._redeem(start)
            if isinstance(ticket, Refusal):
                self.refused(socket.peer, ticket.reason, self.door.media_path)
                await socket.close(1008)
                return
            log.hop(Hop.UPGRADED, "The media stream's handshake is rightly signed.")
            log.hop(Hop.STARTED, "The media stream shows the ticket of its call.")
            await self._carry(socket, start, ticket)

    async def _start(self, socket: Socket) -> twilio.Start | None:
        try:
            async with asyncio.timeout(START_WITHIN):
                return await _start_message(socket)
        except Closed as closed:
            log.info("stream.left", "A signed stream left before its start message.", code=closed.code)
        except (TimeoutError, ValueError) as problem:
            reason = str(problem) or f"no start message within {START_WITHIN:g} s"
            self.refused(socket.peer, reason, self.door.media_path)
            await socket.close(1008)
        return None

    async def _redeem(self, start: twilio.Start) -> Ticket | Refusal:
        sid, now = start.call_sid, asyncio.get_running_loop().time
        if start.account_sid != self.settings.twilio_account_sid:
            return Refusal(1008, "the start message names another account")
        live = self.live.get(sid)
        if live is not None and live.reason is None and now() - live.frame_at < DELIVERS:
            return Refusal(1008, "the call has a stream that still lives")
        ticket = self.tickets.redeem(sid, start.parameters.get("ticket", ""), time.monotonic())
        if ticket is None:
            return Refusal(1008, "no valid ticket of this call")
        if live is None and not ticket.resumed and len(self.live) >= self.settings.max_live_calls:
            return Refusal(1008, "every line has been taken since its webhook")
        if (start.encoding, start.sample_rate) != ("audio/x-mulaw", 8000):
            return Refusal(
                1008, f"expected audio/x-mulaw at 8000 Hz, got {start.encoding} {start.sample_rate}"
            )
        if live is not None:  # its socket is dead, or about to be closed
            live.lose("another stream has come for the call")
            await asyncio.wait_for(live.closed.wait(), 5.0)
        return ticket

    async def _carry(self, socket: Socket, start: twilio.Start, ticket: Ticket) -> None:
        sid, terms = start.call_sid, ticket.terms
        page: Page | None = await self.book.read(sid) if ticket.resumed else None
        if sid in self.live:  # two streams of one call came at once
            await socket.close(1008)
            return
        if page is not None:
            self.book.add(sid, "resumed", {})
            self.gauges.measure("resumed")
            log.hop(Hop.RESUMED, "The call came back with its history.", entries=len(page.entries))
        else:
            self.book.add(sid, "began", terms.to_json())
        self.gauges.measure("calls")
        live = Call(
            socket, start, self.settings, agent_of(self.settings, self.toolbox, terms), self._dial,
            self._dialect,
            record=terms.record,
            folder=self.settings.logs / "calls" / sid,
            toolbox=self.toolbox,
            past=page.entries if page else (),
            turns=page.turns if page else 0,
            resumed=ticket.resumed,
            remember=lambda row: self.book.add(sid, row.event, row.fields),
            measure=self._measure,
            watch=self.views.watch(sid),
        )  # fmt: skip
        self.live[sid] = live
        self._lost.pop(sid, None)
        self.idle.clear()
        try:
            await live.run()
        finally:
            if live.reason == LOST:
                self.book.add(sid, "lost", {})
                self.expect_back(sid, WAY_BACK)
            else:
                self._remember_end(sid, live.reason or "unknown")
            del self.live[sid]
            if not self.live:
                self.idle.set()

    def expect_back(self, sid: str, seconds: float) -> None:
        """A call without a stream is on its way to another one: who leaves waits so long for it."""
        now = time.monotonic()
        self._lost = {lost: until for lost, until in self._lost.items() if until > now} | {sid: now + seconds}

    def any_on_the_way_back(self) -> bool:
        """Whether a lost call may still come back."""
        return any(until > time.monotonic() for until in self._lost.values())

    def over(self, sid: str) -> None:
        """Twilio says that the call is over: whatever of it lives ends, and nothing of it comes back."""
        if live := self.live.get(sid):
            live.end("Twilio says that the call is over")
        elif sid not in self.ended:
            self._remember_end(sid, "Twilio says that the call is over")

    def _remember_end(self, sid: str, reason: str) -> None:
        self.book.add(sid, "ended", {"reason": reason})
        self._lost.pop(sid, None)
        self.ended[sid] = None
        while len(self.ended) > ENDED_CALLS:
            self.ended.popitem(last=False)

    def _measure(self, number: Measure) -> None:
        if number.series == "given_up":
            self._ailing_until = time.monotonic() + AILING
        elif number.series == "turn_latency":
            self._ailing_until = 0.0
        self.gauges.measure(number.series, number.value, number.label)

    # Life.

    async def follow_public_url(self) -> None:
        """Keeps the public origin right while the tunnel comes, goes and changes."""
        while self.settings.public_url is None:
            try:
                origin = await asyncio.to_thread(ngrok.public_url, self.settings, deadline=2.0)
            except OpsError as problem:
                origin = None
                log.debug("tunnel.unknown", str(problem))
            if origin != self.door.origin:
                log.info("tunnel.origin", f"The public URL is {origin}.", url=origin, was=self.door.origin)
                self.door.origin = origin
            await asyncio.sleep(2.0 if origin else 0.25)

    async def watch_the_loop(self) -> None:
        """Measures how late the event loop is, ten times a second."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.1
            await asyncio.sleep(0.1)
            self.gauges.lags.append(max(0.0, loop.time() - due))

    def routes(self) -> list[Route | WebSocketRoute]:
        """Every path; those that are not public answer 404 to anyone but this machine."""
        return [
            *self.webhooks.routes(),
            *self.views.routes(),
        ]


async def _start_message(socket: Socket) -> twilio.Start:
    """The stream's start; `connected` may come before it, anything else may not."""
    while True:
        message = twilio.decode(await socket.receive())
        if isinstance(message, twilio.Start):
            return message
        if not isinstance(message, twilio.Connected):
            raise ValueError(f"expected connected and start first, got {type(message).__name__}")
