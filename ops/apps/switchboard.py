"""All calls of one bridge process, and who may start one: the webhooks and the media stream.

POST /twiml          voice webhook, signed: TwiML with a media stream and a one-time ticket
POST /resume         signed; a stream ended and its call did not: the same call goes on with its history
WS   /call           media stream, signed; its start message shows the ticket
POST /status         call status callback, signed
POST /stream-status  stream status callback, signed
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from ops.apps import agent_tools, tools
from ops.apps.actions import Agent, Measure
from ops.apps.call import Call, Dial
from ops.apps.callbook import Callbook, Page
from ops.apps.door import BODY_LIMIT, Door, Refusal, Webhook
from ops.apps.gauges import Gauges
from ops.apps.listener import MEDIA_PATH
from ops.apps.session import LOST
from ops.apps.tickets import Terms, Ticket, Tickets
from ops.apps.transports import Closed, Socket
from ops.apps.views import Views
from ops.config import Settings
from ops.errors import OpsError
from ops.journal import write as journal
from ops.journal.hops import Hop
from ops.speech import library
from ops.vendors.ngrok import client as ngrok
from ops.vendors.twilio import wire as twilio

START_WITHIN = 5.0  # seconds from the handshake to the start message
BODY_WITHIN = 5.0  # seconds for a webhook's body
DELIVERS = 1.0  # seconds without a frame after which a stream no longer counts as delivering
ENDED_CALLS = 10_000  # remembered, so that a replayed webhook of theirs opens nothing
AILING = 60.0  # seconds for which health tells of a model that could not be had
RESUMES = 5  # times that one call is taken up again
BUSY = "All lines are busy right now. Please call again in a few minutes."
SORRY = "I am sorry, something went wrong on our side. Please call again."
OVER = frozenset({"completed", "failed", "canceled", "busy", "no-answer"})
LINES = ("agent-moment", "agent-apology", "agent-goodbye", "agent-transfer")
PIECE = 8000  # bytes of a recorded line in one message: a second

log = journal.logger(__name__)


class Switchboard:
    """All calls of this process, and who may start one."""

    def __init__(self, settings: Settings, dial: Dial) -> None:
        assert settings.twilio_account_sid is not None
        assert settings.twilio_auth_token is not None
        self.settings = settings
        self._dial = dial
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
        self.idle = asyncio.Event()
        self.draining = False
        self.views = Views(self)
        self._ailing_until = 0.0
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

    # Webhooks.

    async def twiml(self, request: Request) -> Response:
        """The voice webhook: a stream for this call, or a polite no."""
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        sid, probe = webhook.call_sid, webhook.form.get("TrunklineProbe") == "1"
        with journal.bound(**{"probe" if probe else "call_sid": sid}):
            page = None if probe or sid in self.live else await self.book.read(sid)
            if sid in self.ended or page is not None:
                return self._refuse(request, Refusal(403, "the call has had its stream, or has ended"))
            log.hop(Hop.WEBHOOK, "Twilio asks what to do with a call.", status=webhook.form.get("CallStatus"))
            if self.draining or len(self.live) >= self.settings.max_live_calls:
                log.warning(
                    "call.busy", "No stream: draining, or at the cap of live calls.", live=len(self.live)
                )
                return _xml(twilio.say_and_hang_up(BUSY))
            if sid not in self.live and not probe and not self.door.admit(time.monotonic()):
                log.warning("call.capped", "No stream: MAX_SIGNED_CALLS_PER_HOUR is reached.")
                return _xml(twilio.say_and_hang_up(BUSY))
            return self._stream(sid, self._terms(webhook, request))

    async def resume(self, request: Request) -> Response:
        """A stream ended and its call did not: the end that we wanted, or another stream with the history."""
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        sid = webhook.call_sid
        with journal.bound(call_sid=sid):
            live = self.live.get(sid)
            if live is not None and live.reason is not None:  # about to be closed
                await asyncio.wait_for(live.closed.wait(), 5.0)
            page = await self.book.read(sid)
            if page is not None and page.ended is not None:
                log.info("call.let-go", f"The call ends: {page.ended}.")
                return _xml(twilio.hang_up())
            if self.draining or (page is not None and page.resumes >= RESUMES):
                log.error("call.not-resumed", "The call is not taken up again: draining, or too often.")
                return _xml(twilio.say_and_hang_up(SORRY))
            log.hop(Hop.WEBHOOK, "The stream ended, the call did not.", status=webhook.form.get("CallStatus"))
            return self._stream(sid, page.terms if page else self._terms(webhook, request), resumed=True)

    def _stream(self, sid: str, terms: Terms, *, resumed: bool = False) -> Response:
        ticket = self.tickets.issue(sid, time.monotonic(), terms, resumed=resumed)
        assert self.door.origin
        text = twilio.connect_stream(
            self.door.stream_url(), {"ticket": ticket},
            callback=f"{self.door.origin}/stream-status", then=self.door.resume_url(),
        )  # fmt: skip
        log.hop(Hop.TWIML, "TwiML with a media stream.", url=self.door.stream_url())
        return _xml(text)

    def _terms(self, webhook: Webhook, request: Request) -> Terms:
        """What holds for this call alone: the query of the signed webhook may set it."""
        form, asked, record = webhook.form, request.query_params, self.settings.record_calls
        outbound = form.get("Direction", "").startswith("outbound")
        return Terms(
            record=record == "all" or (record == "test" and asked.get("record") == "1"),
            party=form.get("To" if outbound else "From", "")[:40],
            voice=asked.get("voice", "")[:40],
            instructions=asked.get("instructions", "")[:8000],
            greets=asked.get("greeting") != "off",
        )

    async def status(self, request: Request) -> Response:
        """Call and stream status callbacks: into the journal; a completed call ends here too."""
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        form, sid = webhook.form, webhook.call_sid
        with journal.bound(call_sid=sid):
            if "StreamEvent" in form:
                level = "WARNING" if form["StreamEvent"] == "stream-error" else "INFO"
                fields = {"stream_event": form["StreamEvent"], "error": form.get("StreamError")}
                log.at(level, "stream.status", form["StreamEvent"], **fields)
            else:
                log.info("call.status", form.get("CallStatus", ""), sequence=form.get("SequenceNumber"))
                if form.get("CallStatus") in OVER:
                    self._over(sid)
        return Response(status_code=204)

    def _over(self, sid: str) -> None:
        """Twilio says that the call is over: whatever of it lives ends, and nothing of it comes back."""
        if live := self.live.get(sid):
            live.end("Twilio says that the call is over")
        elif sid not in self.ended:
            self._remember_end(sid, "Twilio says that the call is over")

    async def _webhook(self, request: Request) -> Webhook | Refusal:
        if "content-length" in request.headers and "transfer-encoding" in request.headers:
            return Refusal(400, "its length is told in two ways, as a smuggled request's is")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_WITHIN):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > BODY_LIMIT:
                        return Refusal(413, "the body is larger than 64 KiB")
        except TimeoutError:
            return Refusal(408, f"no whole body within {BODY_WITHIN:g} s")
        return self.door.webhook(
            request.url.path,
            request.url.query,
            request.headers.get("content-type", ""),
            bytes(body),
            request.headers.getlist("x-twilio-signature"),
        )

    def _refuse(self, request: Request, refusal: Refusal) -> Response:
        peer = request.client.host if request.client else "?"
        self.refused(peer, refusal.reason, request.url.path)
        return PlainTextResponse("", refusal.status)

    def refused(self, peer: str, reason: str, path: str = "") -> None:
        """Somebody was not let in: counted, and told in the log alone."""
        self.gauges.measure("refused")
        log.warning("door.refused", f"Refused: {reason}.", path=path, peer=peer)

    # The media stream.

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        """Whether a stream's handshake is let in: rightly signed, and not one too many."""
        refusal = self.door.upgrade(signatures)
        if refusal is None and self._opening >= self.settings.max_live_calls:
            refusal = Refusal(503, "too many streams without a start message")
        if refusal is not None:
            self.refused(peer, refusal.reason, MEDIA_PATH)
        return refusal is None

    async def attend(self, socket: Socket) -> None:
        """One media stream that was let in: its ticket, and only then anything upstream."""
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
                self.refused(socket.peer, ticket.reason, MEDIA_PATH)
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
            self.refused(socket.peer, reason, MEDIA_PATH)
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
            socket, start, self.settings, self._agent(terms), self._dial,
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
        self.idle.clear()
        try:
            await live.run()
        finally:
            if live.reason == LOST:
                self.book.add(sid, "lost", {})
            else:
                self._remember_end(sid, live.reason or "unknown")
            del self.live[sid]
            if not self.live:
                self.idle.set()

    def _agent(self, terms: Terms) -> Agent:
        settings = self.settings
        to = settings.twilio_agent_number
        transfer_to = to if to is not None and terms.party not in (to, "") else None
        return Agent(
            terms.instructions or settings.openai_instructions,
            terms.voice or settings.openai_voice,
            settings.openai_transcription_model,
            settings.max_seconds_per_call,
            model=settings.openai_model,
            max_dollars=settings.max_dollars_per_call,
            greets=terms.greets,
            tools=self.offered(transfers=transfer_to is not None),
            transfer_to=transfer_to,
            lines=recorded_lines(),
        )

    def offered(self, *, transfers: bool) -> tuple[Mapping[str, Any], ...]:
        """The tools that the model is told of: the agent's own, the end of a call, and its transfer."""
        return (*self.toolbox.definitions, tools.HANG_UP, *((tools.TRANSFER,) if transfers else ()))

    def _remember_end(self, sid: str, reason: str) -> None:
        self.book.add(sid, "ended", {"reason": reason})
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
            Route("/twiml", self.twiml, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
            Route("/resume/{name}", self.resume, methods=["POST"]),
            Route("/status", self.status, methods=["POST"]),
            Route("/stream-status", self.status, methods=["POST"]),
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


@cache
def recorded_lines() -> dict[str, tuple[str, ...]]:
    """What can be said without the model, in pieces of base64."""
    return {
        name: tuple(base64.b64encode(audio[at : at + PIECE]).decode() for at in range(0, len(audio), PIECE))
        for name, audio in ((name, library.line(name).audio) for name in LINES)
    }


def _xml(text: str) -> Response:
    return Response(text, media_type="text/xml")
