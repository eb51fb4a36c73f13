"""The websocket server: the public door on WEBSOCKET_PORT, and the bridge between phone and model.

POST /twiml          voice webhook, signed: TwiML with a media stream and a one-time ticket
WS   /call           media stream, signed; its start message shows the ticket
POST /status         call status callback, signed
POST /stream-status  stream status callback, signed
GET  /health         200, or 503 while draining; details and the rest only on this machine:
GET  /metrics  /public-url  /tools
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ops.apps.call import Call
from ops.apps.door import BODY_LIMIT, Door, Refusal, Webhook, is_local
from ops.apps.tickets import Ticket, Tickets
from ops.config import Settings
from ops.errors import OpsError
from ops.journal import write as journal
from ops.journal.hops import Hop
from ops.vendors.ngrok import client as ngrok
from ops.vendors.twilio import wire as twilio

START_WITHIN = 5.0  # seconds from the handshake to the start message
FRAME_LIMIT = 64 * 1024
ENDED_CALLS = 10_000  # remembered, so that a replayed webhook of theirs opens nothing
BUSY = "All lines are busy right now. Please call again in a few minutes."

log = journal.logger(__name__)


class Bridge:
    """All calls of this process, and who may start one."""

    def __init__(self, settings: Settings) -> None:
        assert settings.twilio_account_sid is not None
        assert settings.twilio_auth_token is not None
        self.settings = settings
        self.door = Door(
            settings.twilio_account_sid,
            settings.twilio_auth_token.reveal(),
            settings.public_url,
            settings.max_signed_calls_per_hour,
        )
        self.tickets = Tickets()
        self.live: dict[str, Call] = {}
        self.ended: OrderedDict[str, None] = OrderedDict()
        self.idle = asyncio.Event()
        self.draining = False
        self.answered = 0
        self.refused = 0
        self.idle.set()

    # --- webhooks -------------------------------------------------------------------------

    async def twiml(self, request: Request) -> Response:
        """The voice webhook: a stream for this call, or a polite no."""
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        sid, probe = webhook.call_sid, webhook.form.get("TrunklineProbe") == "1"
        with journal.bound(**{"probe" if probe else "call_sid": sid}):
            if sid in self.ended:
                return self._refuse(request, Refusal(403, "the call has ended"))
            log.hop(Hop.WEBHOOK, "Twilio asks what to do with a call.", status=webhook.form.get("CallStatus"))
            if self.draining or len(self.live) >= self.settings.max_live_calls:
                log.warning(
                    "call.busy", "No stream: draining, or at the cap of live calls.", live=len(self.live)
                )
                return _xml(twilio.say_and_hang_up(BUSY))
            if sid not in self.live and not probe and not self.door.admit(time.monotonic()):
                log.warning("call.capped", "No stream: MAX_SIGNED_CALLS_PER_HOUR is reached.")
                return _xml(twilio.say_and_hang_up(BUSY))
            record = self.settings.record_calls
            wanted = record == "all" or (record == "test" and request.query_params.get("record") == "1")
            ticket = self.tickets.issue(sid, time.monotonic(), record=wanted)
            assert self.door.origin
            text = twilio.connect_stream(
                self.door.stream_url(), {"ticket": ticket}, callback=f"{self.door.origin}/stream-status"
            )
            log.hop(Hop.TWIML, "TwiML with a media stream.", url=self.door.stream_url())
            return _xml(text)

    async def status(self, request: Request) -> Response:
        """Call and stream status callbacks: into the journal; a completed call ends here too."""
        webhook = await self._webhook(request)
        if isinstance(webhook, Refusal):
            return self._refuse(request, webhook)
        form = webhook.form
        with journal.bound(call_sid=webhook.call_sid):
            if "StreamEvent" in form:
                level = "WARNING" if form["StreamEvent"] == "stream-error" else "INFO"
                fields = {"stream_event": form["StreamEvent"], "error": form.get("StreamError")}
                log.at(level, "stream.status", form["StreamEvent"], **fields)
            else:
                log.info("call.status", form.get("CallStatus", ""), sequence=form.get("SequenceNumber"))
                live = self.live.get(webhook.call_sid)
                if live and form.get("CallStatus") in (
                    "completed",
                    "failed",
                    "canceled",
                    "busy",
                    "no-answer",
                ):
                    live.end("Twilio says that the call is over")
        return Response(status_code=204)

    async def _webhook(self, request: Request) -> Webhook | Refusal:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                return Refusal(413, "the body is larger than 64 KiB")
        return self.door.webhook(
            request.url.path,
            request.url.query,
            request.headers.get("content-type", ""),
            bytes(body),
            request.headers.getlist("x-twilio-signature"),
        )

    def _refuse(self, connection: HTTPConnection, refusal: Refusal) -> Response:
        self._log_refusal(connection, refusal)
        return PlainTextResponse("", refusal.status)

    def _log_refusal(self, connection: HTTPConnection, refusal: Refusal) -> None:
        self.refused += 1
        peer = connection.client.host if connection.client else "?"
        log.warning("door.refused", f"Refused: {refusal.reason}.", path=connection.url.path, peer=peer)

    # --- the media stream -----------------------------------------------------------------

    async def call(self, socket: WebSocket) -> None:
        """One media stream: signature, then ticket, and only then anything upstream."""
        refusal = self.door.upgrade(socket.headers.getlist("x-twilio-signature"))
        if refusal is not None:
            self._log_refusal(socket, refusal)
            await socket.close(1008)  # before accept: HTTP 403
            return
        await socket.accept()
        try:
            async with asyncio.timeout(START_WITHIN):
                start = await _start_message(socket)
        except WebSocketDisconnect as problem:
            log.info("stream.left", "A signed stream left before its start message.", code=problem.code)
            return
        except (TimeoutError, ValueError) as problem:
            reason = str(problem) or f"no start message within {START_WITHIN:g} s"
            self._log_refusal(socket, Refusal(1008, reason))
            await socket.close(1008)
            return
        with journal.bound(call_sid=start.call_sid, stream_sid=start.stream_sid):
            ticket = self._redeem(start)
            if isinstance(ticket, Refusal):
                self._log_refusal(socket, ticket)
                await socket.close(1008)
                return
            log.hop(Hop.UPGRADED, "The media stream's handshake is rightly signed.")
            log.hop(Hop.STARTED, "The media stream shows the ticket of its call.")
            folder = self.settings.logs / "calls" / start.call_sid
            live = Call(socket, start, self.settings, record=ticket.record, folder=folder)
            self.live[start.call_sid] = live
            self.idle.clear()
            self.answered += 1
            try:
                await live.run()
            finally:
                del self.live[start.call_sid]
                self.ended[start.call_sid] = None
                while len(self.ended) > ENDED_CALLS:
                    self.ended.popitem(last=False)
                if not self.live:
                    self.idle.set()

    def _redeem(self, start: twilio.Start) -> Ticket | Refusal:
        if start.account_sid != self.settings.twilio_account_sid:
            return Refusal(1008, "the start message names another account")
        if start.call_sid in self.live:
            return Refusal(1008, "the call has a stream that still lives")
        ticket = self.tickets.redeem(start.call_sid, start.parameters.get("ticket", ""), time.monotonic())
        if ticket is None:
            return Refusal(1008, "no valid ticket of this call")
        if (start.encoding, start.sample_rate) != ("audio/x-mulaw", 8000):
            return Refusal(
                1008, f"expected audio/x-mulaw at 8000 Hz, got {start.encoding} {start.sample_rate}"
            )
        return ticket

    # --- what one may see -----------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """200 to take calls, 503 while draining; the details only for this machine."""
        status = "draining" if self.draining else "ok" if self.door.origin else "degraded"
        body: dict[str, Any] = {"status": status}
        if _local(request):
            now = asyncio.get_running_loop().time()
            body |= {
                "live_calls": len(self.live),
                "calls": [
                    {"call_sid": sid, "seconds": round(now - call.began, 1)}
                    for sid, call in self.live.items()
                ],
                "public_url": self.door.origin,
            }
        return JSONResponse(body, 503 if self.draining else 200)

    async def metrics(self, request: Request) -> Response:
        """Prometheus text."""
        rows = {
            "voice_live_calls": ("gauge", len(self.live)),
            "voice_calls_total": ("counter", self.answered),
            "voice_refused_total": ("counter", self.refused),
            "voice_draining": ("gauge", int(self.draining)),
        }
        lines = [f"# TYPE {name} {kind}\n{name} {value}\n" for name, (kind, value) in rows.items()]
        return PlainTextResponse("".join(lines))

    async def public_url(self, request: Request) -> Response:
        """The public origin, in the form that the public Node demo's page asks for."""
        return JSONResponse({"publicUrl": self.door.origin or ""})

    async def tools(self, request: Request) -> Response:
        """The agent's tools; none are built in yet."""
        return JSONResponse([])

    # --- life -----------------------------------------------------------------------------

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

    async def drain(self, server: uvicorn.Server) -> None:
        """No new calls; leave when the last one is over."""
        self.draining = True
        log.info("bridge.draining", f"Draining: {len(self.live)} calls live.", live=len(self.live))
        await self.idle.wait()
        server.should_exit = True

    def routes(self) -> list[Route | WebSocketRoute]:
        """Every path; those that are not public answer 404 to anyone but this machine."""
        return [
            Route("/twiml", self.twiml, methods=["POST"]),
            Route("/status", self.status, methods=["POST"]),
            Route("/stream-status", self.status, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
            WebSocketRoute("/call", self.call),
            Route("/metrics", _private(self.metrics), methods=["GET"]),
            Route("/public-url", _private(self.public_url), methods=["GET"]),
            Route("/tools", _private(self.tools), methods=["GET"]),
        ]


async def _start_message(socket: WebSocket) -> twilio.Start:
    """The stream's start; `connected` may come before it, anything else may not."""
    while True:
        message = twilio.decode(await socket.receive_text())
        if isinstance(message, twilio.Start):
            return message
        if not isinstance(message, twilio.Connected):
            raise ValueError(f"expected connected and start first, got {type(message).__name__}")


def _xml(text: str) -> Response:
    return Response(text, media_type="text/xml")


def _local(request: Request) -> bool:
    peer = request.client.host if request.client else ""
    return is_local(peer, request.headers.get("host", ""), request.headers)


def _private(endpoint: Any) -> Any:
    async def guarded(request: Request) -> Response:
        answer = await endpoint(request) if _local(request) else PlainTextResponse("Not Found", 404)
        assert isinstance(answer, Response)
        return answer

    return guarded


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Runs the bridge until SIGTERM and the end of the last call; a second SIGTERM ends it at once."""
    bridge = Bridge(settings)
    app = Starlette(routes=bridge.routes())
    server = _Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=settings.websocket_port,
            ws="websockets-sansio",
            ws_max_size=FRAME_LIMIT,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
    )
    loop = asyncio.get_running_loop()
    background = [loop.create_task(bridge.follow_public_url())]

    def on_signal() -> None:
        if bridge.draining:
            for call in list(bridge.live.values()):
                call.end("the bridge was told to stop now")
            server.should_exit = True
        else:
            background.append(loop.create_task(bridge.drain(server)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    log.success("service.started", f"The bridge listens on port {settings.websocket_port}.")
    try:
        await server.serve()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def main() -> None:
    """`python -m ops.apps.bridge`: settings come from the environment alone."""
    settings = Settings.load(Path.cwd(), files=False)
    journal.setup("websocket-server", settings.logs, level=settings.log_level, secrets=settings.secrets)
    try:
        asyncio.run(serve(settings))
    finally:
        journal.close()


if __name__ == "__main__":
    main()
