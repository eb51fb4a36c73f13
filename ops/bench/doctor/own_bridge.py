"""A small bridge of one's own, as a user's stack in ops.toml has one: webhook, media stream, an answer.

    python -m ops.bench.doctor.own_bridge PORT

It reads `door.json` in its folder anew for each request, so that a fault can be put into it while it
runs; what is not named there is right. Its token and public origin come from the environment.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ops.config import Settings
from ops.errors import OpsError
from ops.speech import library
from ops.vendors.ngrok.client import public_url

RIGHT: dict[str, Any] = {
    "check_webhooks": True,
    "check_streams": True,
    "origin": "",  # what it believes to be its public origin; empty: the right one
    "stream_origin": "",
    "stream_scheme": "ws",  # with which the stream's signature is checked
    "twiml": "",  # another document in place of the right one; {origin} is filled in
    "private_open": False,
    "refuse_start": False,
    "silent": False,
    "late_seconds": 0.0,
    "status": 200,
}


def wrong() -> dict[str, Any]:
    """What is right but for what `door.json` says now."""
    path = Path("door.json")
    return RIGHT | (json.loads(path.read_text("utf-8")) if path.is_file() else {})


class Bridge:
    """What answers the webhook and the media stream."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.settings, self.port = settings, port
        self.token = settings.twilio_auth_token.reveal() if settings.twilio_auth_token else ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/incoming-call", self.twiml, methods=["POST"]),
                WebSocketRoute("/media-stream", self.media),
                Route("/health", self.health),
                Route("/metrics", self.metrics),
            ]
        )

    async def twiml(self, request: Request) -> Response:
        """The voice webhook."""
        now = wrong()
        await asyncio.sleep(now["late_seconds"])
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        expected = self._sign(await self._origin(now["origin"]) + request.url.path, form)
        if now["check_webhooks"] and request.headers.get("x-twilio-signature") != expected:
            return PlainTextResponse("", 403)
        stream = (await self._origin(now["stream_origin"])).replace("http", "ws", 1) + "/media-stream"
        text = now["twiml"] or '<Response><Connect><Stream url="{stream}"/></Connect></Response>'
        text = text.replace("{stream}", stream).replace("{port}", str(self.port))
        return Response(text, now["status"], media_type="text/xml")

    async def media(self, ws: WebSocket) -> None:
        """The media stream: its signature first, then the talk."""
        now = wrong()
        origin = await self._origin(now["origin"])
        expected = self._sign(origin.replace("http", now["stream_scheme"], 1) + "/media-stream", {})
        if now["check_streams"] and ws.headers.get("x-twilio-signature") != expected:
            await ws.close(1008)
            return
        await ws.accept()
        with suppress(WebSocketDisconnect):
            await self._talk(ws, now)

    async def _talk(self, ws: WebSocket, now: dict[str, Any]) -> None:
        """Waits for words and then for silence, and answers once with a recorded line."""
        loud = quiet = 0
        sid = ""
        while True:
            message = await ws.receive_json()
            if message["event"] == "start":
                sid = message["streamSid"]
                if now["refuse_start"]:
                    await ws.close(1011)
                    return
            elif message["event"] == "media":
                is_silent = set(base64.b64decode(message["media"]["payload"])) == {0xFF}
                loud, quiet = (loud, quiet + 1) if is_silent else (loud + 1, 0)
                if loud > 20 and quiet == 10 and not now["silent"]:
                    payload = base64.b64encode(library.line("agent-hours").audio).decode()
                    await ws.send_json({"event": "media", "streamSid": sid, "media": {"payload": payload}})
                    await ws.send_json({"event": "mark", "streamSid": sid, "mark": {"name": "answer"}})
            elif message["event"] == "stop":
                return

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", **({"live_calls": 0} if wrong()["private_open"] else {})})

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse("up 1\n") if wrong()["private_open"] else PlainTextResponse("", 404)

    async def _origin(self, told: str) -> str:
        """The public origin, or what a fault makes of it."""
        try:
            right = await asyncio.to_thread(public_url, self.settings, deadline=2.0)
        except OpsError:
            right = f"http://127.0.0.1:{self.port}"
        names = {"{origin}": right, "{https}": right.replace("http:", "https:"), "{port}": str(self.port)}
        for name, value in names.items():
            told = told.replace(name, value)
        return told or right

    def _sign(self, url: str, form: dict[str, str]) -> str:
        """Twilio's signature, by the rule of its documents (an independent witness of ours)."""
        text = url + "".join(name + form[name] for name in sorted(form))
        return base64.b64encode(hmac.new(self.token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def main(port: int) -> None:
    """Serve until it is ended."""
    app = Bridge(Settings.load(Path.cwd(), files=False), port).app()
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off",
        ws="websockets-sansio", timeout_graceful_shutdown=1,
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
