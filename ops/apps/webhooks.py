"""Twilio's webhooks: what a call is told to do, and what is heard of it.

POST /twiml          voice webhook, signed: TwiML with a media stream and a one-time ticket
POST /resume         signed; a stream ended and its call did not: the same call goes on with its history
POST /status         call status callback, signed
POST /stream-status  stream status callback, signed
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ops.apps.carriage import gone
from ops.apps.door import BODY_LIMIT, Refusal, Webhook, in_time
from ops.apps.recent import Recent
from ops.apps.tickets import SOON, Terms
from ops.journal import write as journal
from ops.journal.hops import Hop
from ops.vendors.twilio import wire as twilio

if TYPE_CHECKING:
    from ops.apps.switchboard import Switchboard

BODY_WITHIN = 5.0  # seconds for a webhook's body
BUSY = "All lines are busy right now. Please call again in a few minutes."
SORRY = "I am sorry, something went wrong on our side. Please call again."
RESUMES = 5  # times that one call is taken up again
HEARD = 10_000  # status callbacks that are remembered: a repeated one is written down once
# What tells two of them apart.
NEWS = ("CallSid", "StreamSid", "StreamEvent", "StreamError", "CallStatus", "SequenceNumber")
OVER = frozenset({"completed", "failed", "canceled", "busy", "no-answer"})

log = journal.logger(__name__)


class Webhooks:
    """The signed requests of one bridge."""

    def __init__(self, bridge: Switchboard) -> None:
        self._bridge = bridge
        self._heard = Recent(HEARD)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/twiml", self.twiml, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
            Route("/resume/{name}", self.resume, methods=["POST"]),
            Route("/status", self.status, methods=["POST"]),
            Route("/stream-status", self.status, methods=["POST"]),
        ]

    async def twiml(self, request: Request) -> Response:
        """The voice webhook: a stream for this call, or a polite no."""
        bridge = self._bridge
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        sid, probe = webhook.call_sid, webhook.form.get("TrunklineProbe") == "1"
        with journal.bound(**{"probe" if probe else "call_sid": sid}):
            unread = probe or sid in bridge.live or sid in bridge.ended  # none of these waits for the disk
            page = None if unread else await bridge.book.read(sid)
            if sid in bridge.ended or page is not None:
                return self._refuse(request, Refusal(403, "the call has had its stream, or has ended"))
            log.hop(Hop.WEBHOOK, "Twilio asks what to do with a call.", status=webhook.form.get("CallStatus"))
            if sid not in bridge.live and (bridge.draining or bridge.full(sid)):
                log.warning(
                    "call.busy",
                    "No stream: draining, or at the cap of live calls.",
                    live=len(bridge.live),
                )
                return _xml(twilio.say_and_hang_up(BUSY))
            known = probe or sid in bridge.live
            if not known and not bridge.door.admit(sid, time.monotonic()):
                log.warning("call.capped", "No stream: MAX_SIGNED_CALLS_PER_HOUR is reached.")
                return _xml(twilio.say_and_hang_up(BUSY))
            return self._stream(sid, self._terms(webhook, request), probe=probe)

    async def resume(self, request: Request) -> Response:
        """A stream ended and its call did not: the end that we wanted, or another stream with the history."""
        bridge = self._bridge
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        sid, longest = webhook.call_sid, bridge.settings.max_seconds_per_call
        with journal.bound(call_sid=sid):
            if not in_time(request.query_params.get("asked", ""), time.time(), longest):
                return self._refuse(request, Refusal(403, "no call lasts so long: it is a captured request"))
            live = bridge.live.get(sid)
            if live is not None and (await live.standing()).reason is not None:  # about to be closed
                await gone(live)
            page = await bridge.book.read(sid)
            ended = page.ended if page is not None else None
            if ended is not None or sid in bridge.ended:  # known also where the disk takes no rows
                log.info("call.let-go", f"The call ends: {ended or 'it is over'}.")
                return _xml(twilio.hang_up())
            # Who leaves or is full takes back its own calls, and no others.
            unknown = page is None and (bridge.draining or bridge.full(sid))
            if unknown or (page is not None and page.resumes >= RESUMES):
                log.error("call.not-resumed", "The call is not taken up again: too often, or a new one.")
                return _xml(twilio.say_and_hang_up(SORRY))
            bridge.expect_back(sid, SOON)
            log.hop(Hop.WEBHOOK, "The stream ended, the call did not.", status=webhook.form.get("CallStatus"))
            return self._stream(sid, page.terms if page else self._terms(webhook, request), resumed=True)

    def _stream(self, sid: str, terms: Terms, *, resumed: bool = False, probe: bool = False) -> Response:
        door = self._bridge.door
        ticket = self._bridge.tickets.issue(sid, time.monotonic(), terms, resumed=resumed, probe=probe)
        assert door.origin
        text = twilio.connect_stream(
            door.stream_url(), {"ticket": ticket},
            callback=f"{door.origin}/stream-status", then=door.resume_url(time.time()),
        )  # fmt: skip
        log.hop(Hop.TWIML, "TwiML with a media stream.", url=door.stream_url())
        return _xml(text)

    def _terms(self, webhook: Webhook, request: Request) -> Terms:
        """What holds for this call alone: the query of the signed webhook may set it."""
        form, asked, record = webhook.form, request.query_params, self._bridge.settings.record_calls
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
            if (news := "\n".join(form.get(name, "") for name in NEWS)) not in self._heard:
                self._heard.add(news)
                _write_down(form)
            if "StreamEvent" not in form and form.get("CallStatus") in OVER:
                self._bridge.over(sid)
        return Response(status_code=204)

    async def _webhook(self, request: Request) -> Webhook | Refusal:
        if _smuggled(request):
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
        except ClientDisconnect:
            return Refusal(400, "it left before its body was whole")
        await self._bridge.looked()
        try:
            return self._bridge.door.webhook(
                request.scope["raw_path"].decode("ascii"),  # as it was asked, and so as it was signed
                request.scope["query_string"].decode("ascii"),
                request.headers.get("content-type", ""),
                bytes(body),
                request.headers.getlist("x-twilio-signature"),
                [request.headers.get(name, "") for name in ("x-forwarded-host", "host")],
            )
        except Exception as problem:  # whatever cannot be checked does not come in
            log.exception("door.failed", "A webhook could not be checked.")
            return Refusal(403, f"it could not be checked: {type(problem).__name__}")

    def _refuse(self, request: Request, refusal: Refusal) -> Response:
        peer = request.client.host if request.client else "?"
        self._bridge.refuse(peer, refusal, request.scope["path"])
        closed = {"Connection": "close"}  # what else it would send is not waited for
        return PlainTextResponse("", refusal.status, closed)


def _write_down(form: Mapping[str, str]) -> None:
    if "StreamEvent" in form:
        level = "WARNING" if form["StreamEvent"] == "stream-error" else "INFO"
        fields = {"stream_event": form["StreamEvent"], "error": form.get("StreamError")}
        log.at(level, "stream.status", form["StreamEvent"], **fields)
    else:
        log.info("call.status", form.get("CallStatus", ""), sequence=form.get("SequenceNumber"))


def _smuggled(request: Request) -> bool:
    """Whether two readers could see two ends of it."""
    return "content-length" in request.headers and "transfer-encoding" in request.headers


def _xml(text: str) -> Response:
    return Response(text, media_type="text/xml")
