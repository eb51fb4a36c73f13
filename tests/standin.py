"""One small real server in place of Twilio's REST API, OpenAI, the ngrok agent, and the public door.

It is right as it stands; a test makes it wrong by changing one field.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from twilio.request_validator import RequestValidator

from ops.config import Settings

NUMBER = "+12025550100"


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serves an ASGI app on a free loopback port in a thread; gives its base URL."""
    # with its protocol named: only then does asyncio switch off Nagle's delay of 40 ms
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    started = threading.Event()
    while not server.started and thread.is_alive():
        started.wait(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


@contextlib.contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that does to each connection what `answer` does; gives its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


async def _form(request: Request) -> list[tuple[str, str]]:
    return parse_qsl((await request.body()).decode(), keep_blank_values=True)


def _session(formats: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "realtime",
        "audio": {"input": {"format": {"type": formats[0]}}, "output": {"format": {"type": formats[1]}}},
    }


@dataclass
class StandIn:
    """What the vendors and the public door answer; all requests are kept in `asked`."""

    account_sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    key: str = field(default_factory=lambda: "sk-" + secrets.token_hex(20))
    url: str = ""
    # Twilio
    account: dict[str, Any] = field(default_factory=lambda: {"status": "active", "type": "Full"})
    balance: str = "20.00"
    numbers: list[dict[str, Any]] = field(default_factory=list)
    deaf: bool = False  # takes an update of the number, and changes nothing
    refuse: tuple[int, dict[str, Any]] | None = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    # OpenAI
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "gpt-realtime-2.1"}])
    formats: tuple[str, str] = ("audio/pcmu", "audio/pcmu")
    realtime_error: dict[str, Any] | None = None
    realtime_close: tuple[int, str] | None = None
    update: dict[str, Any] = field(default_factory=dict)  # the last session.update
    # ngrok
    tunnels: list[dict[str, Any]] = field(default_factory=list)
    # the public door
    check_webhooks: bool = True
    check_streams: bool = True
    origin: str = ""  # what the door believes to be its public origin
    twiml: str | None = None
    stream_url: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    private_open: bool = False
    any_path: bool = False  # one page for every path
    greeting: bytes = b""
    answer: bytes = b""  # mu-law that is played after the caller has spoken
    refuse_start: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def up(self) -> Iterator[StandIn]:
        with serving(self.app()) as self.url:
            self.origin = self.origin or self.url
            if not self.numbers:
                self.numbers = [self.number()]
            if not self.tunnels:
                self.tunnels = [self.tunnel()]
            yield self

    def number(self, **changes: Any) -> dict[str, Any]:
        return {
            "sid": "PN" + secrets.token_hex(16),
            "phone_number": NUMBER,
            "capabilities": {"voice": True},
            "voice_url": f"{self.url}/twiml",
            "voice_method": "POST",
            "voice_fallback_url": "",
            "status_callback": "",
            "voice_application_sid": "",
            "trunk_sid": None,
        } | changes

    def tunnel(self, **changes: Any) -> dict[str, Any]:
        config = {"addr": f"http://localhost:{self.port}", "inspect": False} | changes.pop("config", {})
        return {"name": "command_line", "public_url": self.url, "proto": "http", "config": config} | changes

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def environ(self, **changes: str) -> dict[str, str]:
        """The environment of a stack whose every vendor and public URL is this server."""
        settings = {
            "TWILIO_ACCOUNT_SID": self.account_sid,
            "TWILIO_AUTH_TOKEN": self.token,
            "TWILIO_PHONE_NUMBER": NUMBER,
            "OPENAI_API_KEY": self.key,
            "TWILIO_API_URL": self.url,
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_REALTIME_URL": self.url.replace("http", "ws") + "/v1/realtime",
            "NGROK_API_URL": self.url,
            "PUBLIC_URL": self.url,
            "WEBSOCKET_PORT": str(self.port),
        }
        return {name: text for name, text in (settings | changes).items() if text}

    def settings(self, root: Path, **changes: str) -> Settings:
        return Settings.load(root, self.environ(**changes))

    def app(self) -> Starlette:
        account = "/2010-04-01/Accounts/{sid}"
        return Starlette(
            routes=[
                Route(account + ".json", self._account),
                Route(account + "/Balance.json", self._balance),
                Route(account + "/IncomingPhoneNumbers.json", self._numbers),
                Route(account + "/IncomingPhoneNumbers/{number}.json", self._update, methods=["POST"]),
                Route(account + "/Calls.json", self._call, methods=["POST"]),
                Route(account + "/Calls.json", self._calls),
                Route("/v1/Alerts", self._alerts),
                Route("/v1/models", self._models),
                WebSocketRoute("/v1/realtime", self._realtime),
                Route("/api/tunnels", self._tunnels),
                Route("/api/status", self._agent),
                Route("/twiml", self._twiml, methods=["POST"]),
                Route("/incoming-call", self._twiml, methods=["POST"]),
                WebSocketRoute("/call", self._stream),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/tools", self._offered),
                Route("/{path}", self._page),
            ]
        )

    def _twilio(self, request: Request, body: Any) -> Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if self.refuse:
            return JSONResponse(self.refuse[1], self.refuse[0])
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(given).decode().partition(":")
        if (user, password) != (self.account_sid, self.token):
            error = {"code": 20003, "message": "Authenticate", "more_info": "", "status": 401}
            return JSONResponse(error, 401)
        return JSONResponse(body, headers=self.headers)

    async def _account(self, request: Request) -> Response:
        return self._twilio(request, {"sid": self.account_sid, "friendly_name": "test", **self.account})

    async def _balance(self, request: Request) -> Response:
        body = {"account_sid": self.account_sid, "balance": self.balance, "currency": "USD"}
        return self._twilio(request, body)

    async def _numbers(self, request: Request) -> Response:
        wanted = request.query_params.get("PhoneNumber")
        found = [one for one in self.numbers if wanted in (None, one["phone_number"])]
        return self._twilio(request, {"incoming_phone_numbers": found})

    async def _update(self, request: Request) -> Response:
        form = dict(await _form(request))
        number = next(one for one in self.numbers if one["sid"] == request.path_params["number"])
        if not self.deaf:
            number |= {"voice_url": form["VoiceUrl"], "voice_method": form["VoiceMethod"]}
        return self._twilio(request, number)

    async def _call(self, request: Request) -> Response:
        pairs = await _form(request)
        form = dict(pairs)
        self.asked.append(json.dumps(pairs))
        sid = "CA" + secrets.token_hex(16)
        return self._twilio(request, {"sid": sid, "status": "queued", "to": form["To"], "from": form["From"]})

    async def _calls(self, request: Request) -> Response:
        return self._twilio(request, {"calls": []})

    async def _alerts(self, request: Request) -> Response:
        return self._twilio(request, {"alerts": self.alerts})

    def _fits(self, authorization: str | None) -> bool:
        return not self.key or authorization == f"Bearer {self.key}"  # without a key of its own, any will do

    async def _models(self, request: Request) -> Response:
        if not self._fits(request.headers.get("authorization")):
            error = {
                "message": "Incorrect API key",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
            return JSONResponse({"error": error}, 401)
        return JSONResponse({"object": "list", "data": self.models})

    async def _realtime(self, ws: WebSocket) -> None:
        self.asked.append("WS realtime")
        if not self._fits(ws.headers.get("authorization")):
            await ws.close(3000)
            return
        await ws.accept()
        if self.realtime_close:
            await ws.close(*self.realtime_close)
            return
        if self.realtime_error:
            await ws.send_json({"type": "error", "error": self.realtime_error})
        else:
            await ws.send_json({"type": "session.created", "session": {"id": "sess_1"}})
            update = self.update = await ws.receive_json()
            self.asked.append(update["type"])
            await ws.send_json({"type": "session.updated", "session": _session(self.formats)})
        with contextlib.suppress(Exception):
            await ws.receive()

    async def _tunnels(self, request: Request) -> Response:
        return JSONResponse({"tunnels": self.tunnels, "uri": "/api/tunnels"})

    async def _agent(self, request: Request) -> Response:
        return JSONResponse({"status": "online", "agent_version": "3.30.0", "session": {"legs": []}})

    async def _twiml(self, request: Request) -> Response:
        form = dict(await _form(request))
        signature = request.headers.get("x-twilio-signature", "")
        url = f"{self.origin}{request.url.path}"
        if self.check_webhooks and RequestValidator(self.token).compute_signature(url, form) != signature:
            return PlainTextResponse("", 403)
        stream = self.stream_url or self.origin.replace("http", "ws") + "/call"
        good = f'<?xml version="1.0"?><Response><Connect><Stream url="{stream}"/></Connect></Response>'
        return Response(good if self.twiml is None else self.twiml, media_type="text/xml")

    async def _stream(self, ws: WebSocket) -> None:
        self.asked.append("WS call")
        url = self.origin.replace("http", "ws") + "/call"
        right = RequestValidator(self.token).compute_signature(url, {})
        if self.check_streams and ws.headers.get("x-twilio-signature") != right:
            await ws.close(1008)
            return
        await ws.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await self._talk(ws)

    async def _talk(self, ws: WebSocket) -> None:
        """Greets, waits for words and then for silence, answers once; marks its audio."""
        loud = quiet = 0
        stream_sid = ""
        while True:
            message = await ws.receive_json()
            if message["event"] == "start":
                stream_sid = message["streamSid"]
                if self.refuse_start:
                    await ws.close(1008)
                    return
                await self._play(ws, stream_sid, self.greeting)
            elif message["event"] == "media":
                silent = set(base64.b64decode(message["media"]["payload"])) == {0xFF}
                loud, quiet = (loud, quiet + 1) if silent else (loud + 1, 0)
                if loud > 20 and quiet == 10:
                    await self._play(ws, stream_sid, self.answer)
            else:
                self.asked.append(f"WS {message['event']}")

    async def _play(self, ws: WebSocket, stream_sid: str, audio: bytes) -> None:
        if audio:
            payload = base64.b64encode(audio).decode()
            await ws.send_json({"event": "media", "streamSid": stream_sid, "media": {"payload": payload}})
            await ws.send_json({"event": "mark", "streamSid": stream_sid, "mark": {"name": "said"}})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", **({"live_calls": 0} if self.private_open else {})})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse("up 1\n") if self.private_open else PlainTextResponse("", 404)

    async def _offered(self, request: Request) -> Response:
        return JSONResponse(self.tools) if self.tools else PlainTextResponse("", 404)

    async def _page(self, request: Request) -> Response:
        return PlainTextResponse("welcome") if self.any_path else PlainTextResponse("", 404)
