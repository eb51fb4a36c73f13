"""A small bridge of one's own, as a user's stack in ops.toml has one: webhook, media stream, an answer.

    python -m ops.bench.doctor.own_bridge PORT

It reads `door.json` in its folder anew for each request, so that a fault can be put into it while it
runs; what is not named there is right. Its token and public origin come from the environment.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

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


def main(port: int) -> None:
    """Serve until it is ended."""
    import asyncio

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    settings = Settings.load(Path.cwd(), files=False)
    token = settings.twilio_auth_token.reveal() if settings.twilio_auth_token else ""

    def origin(name: str) -> str:
        told = str(wrong()[name])
        try:
            right = public_url(settings, deadline=2.0)
        except OpsError:
            right = f"http://127.0.0.1:{port}"
        names = {"{origin}": right, "{https}": right.replace("http:", "https:"), "{port}": str(port)}
        for name, value in names.items():
            told = told.replace(name, value)
        return told or right

    def sign(url: str, form: dict[str, str]) -> str:
        text = url + "".join(name + form[name] for name in sorted(form))
        return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()

    async def twiml(request: Request) -> Response:
        now = wrong()
        await asyncio.sleep(now["late_seconds"])
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        expected = sign(await asyncio.to_thread(origin, "origin") + request.url.path, form)
        if now["check_webhooks"] and request.headers.get("x-twilio-signature") != expected:
            return PlainTextResponse("", 403)
        base = await asyncio.to_thread(origin, "stream_origin")
        stream = base.replace("http", "ws", 1) + "/media-stream"
        text = now["twiml"] or '<Response><Connect><Stream url="{stream}"/></Connect></Response>'
        text = text.replace("{stream}", stream).replace("{port}", str(port))
        return Response(text, now["status"], media_type="text/xml")

    async def media(ws: WebSocket) -> None:
        now = wrong()
        url = (await asyncio.to_thread(origin, "origin")).replace("http", now["stream_scheme"], 1)
        if now["check_streams"] and ws.headers.get("x-twilio-signature") != sign(url + "/media-stream", {}):
            await ws.close(1008)
            return
        await ws.accept()
        try:
            await talk(ws, now)
        except WebSocketDisconnect:
            return

    async def talk(ws: WebSocket, now: dict[str, Any]) -> None:
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

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", **({"live_calls": 0} if wrong()["private_open"] else {})})

    async def metrics(request: Request) -> Response:
        return PlainTextResponse("up 1\n") if wrong()["private_open"] else PlainTextResponse("", 404)

    app = Starlette(
        routes=[
            Route("/incoming-call", twiml, methods=["POST"]),
            WebSocketRoute("/media-stream", media),
            Route("/health", health),
            Route("/metrics", metrics),
        ]
    )
    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off",
        ws="websockets-sansio", timeout_graceful_shutdown=1,
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
