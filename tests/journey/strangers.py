"""Bridges as other people write them, in styles that are not ours; each runs in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, VoiceResponse
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Env = Mapping[str, str]
PCMU = {"type": "audio/pcmu"}
SESSION: dict[str, Any] = {
    "type": "realtime",
    "instructions": "You answer the phone for a small repair shop.",
    "audio": {
        "input": {"format": PCMU, "turn_detection": {"type": "server_vad"}},
        "output": {"format": PCMU, "voice": "marin"},
    },
}
BETA_SESSION = {
    "modalities": ["text", "audio"],
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_ulaw",
    "turn_detection": {"type": "server_vad"},
}


@contextmanager
def in_a_thread(
    run: Callable[[asyncio.Event, Callable[[], None]], Coroutine[Any, Any, None]],
) -> Iterator[None]:
    """Run `run(stop, ready)` in an event loop of its own thread until the block is left."""
    up, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run(stop, up.set)))
    thread.start()
    try:
        assert up.wait(10), "the bridge did not come up"
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


# A script: one global upstream, two ports, HTTP by hand, no marks, no truncation, no signatures.

upstream: ClientConnection | None = None
stream_sid = ""


@contextmanager
def script(env: Env, port: int, media_port: int) -> Iterator[str]:
    """The webhook's address of a bridge for one call at a time, which greets first."""

    async def webhook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f'<Response><Connect><Stream url="ws://127.0.0.1:{media_port}/"/></Connect></Response>'
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()

    async def media(phone: ServerConnection) -> None:
        global upstream, stream_sid
        address = f"{env['OPENAI_REALTIME_URL']}?model=gpt-realtime"
        headers = {"Authorization": f"Bearer {env['OPENAI_API_KEY']}"}
        async with connect(address, additional_headers=headers, max_size=None) as upstream:
            await upstream.send(json.dumps({"type": "session.update", "session": SESSION}))
            await upstream.send(json.dumps({"type": "response.create"}))
            talking = asyncio.create_task(speak(phone))
            with suppress(ConnectionClosed):
                async for message in phone:
                    data = json.loads(message)
                    if data["event"] == "start":
                        stream_sid = data["streamSid"]
                    elif data["event"] == "media":
                        audio = data["media"]["payload"]
                        await upstream.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            talking.cancel()

    async def speak(phone: ServerConnection) -> None:
        assert upstream is not None
        with suppress(ConnectionClosed):
            async for message in upstream:
                event = json.loads(message)
                if event["type"] == "response.output_audio.delta":
                    media = {"event": "media", "streamSid": stream_sid, "media": {"payload": event["delta"]}}
                    await phone.send(json.dumps(media))
                elif event["type"] == "input_audio_buffer.speech_started":
                    await phone.send(json.dumps({"event": "clear", "streamSid": stream_sid}))

    async def run(stop: asyncio.Event, ready: Callable[[], None]) -> None:
        http = await asyncio.start_server(webhook, "127.0.0.1", port)
        async with http, serve(media, "127.0.0.1", media_port):
            ready()
            await stop.wait()

    with in_a_thread(run):
        yield f"http://127.0.0.1:{port}/voice"


# An application: one class a call, one port, signatures checked, marks, truncation by the media clock.


class Call:
    """One call of the application; the keyword arguments are typical faults."""

    def __init__(self, phone: WebSocket, model: ClientConnection, *, clears: bool, beta: bool) -> None:
        self.phone, self.model, self.clears, self.beta = phone, model, clears, beta
        self.sid, self.clock, self.began = "", 0, 0
        self.item: str | None = None
        self.marks: list[str] = []

    async def run(self) -> None:
        session = BETA_SESSION if self.beta else SESSION
        await self.model.send(json.dumps({"type": "session.update", "session": session}))
        parts = [asyncio.create_task(part) for part in (self.listen(), self.talk())]
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            part.cancel()
        for done in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(done, Exception) and not isinstance(done, (ConnectionClosed, WebSocketDisconnect)):
                raise done

    async def listen(self) -> None:
        while True:
            data = json.loads(await self.phone.receive_text())
            match data["event"]:
                case "start":
                    self.sid = data["start"]["streamSid"]
                case "media":
                    self.clock = int(data["media"]["timestamp"])
                    audio = {"type": "input_audio_buffer.append", "audio": data["media"]["payload"]}
                    await self.model.send(json.dumps(audio))
                case "mark":
                    self.marks.remove(data["mark"]["name"])
                case "stop":
                    return

    async def talk(self) -> None:
        async for message in self.model:
            event = json.loads(message)
            if event["type"] == "response.output_audio.delta":
                if event["item_id"] != self.item:
                    self.item, self.began = event["item_id"], self.clock
                await self.send("media", media={"payload": event["delta"]})
                self.marks.append(event["event_id"])
                await self.send("mark", mark={"name": event["event_id"]})
            elif event["type"] == "input_audio_buffer.speech_started" and self.marks and self.clears:
                played = self.clock - self.began
                cut = {"item_id": self.item, "content_index": 0, "audio_end_ms": played}
                await self.model.send(json.dumps({"type": "conversation.item.truncate", **cut}))
                await self.send("clear")

    async def send(self, event: str, **fields: Any) -> None:
        await self.phone.send_text(json.dumps({"event": event, "streamSid": self.sid, **fields}))


@contextmanager
def application(env: Env, port: int, *, clears: bool = True, beta: bool = False) -> Iterator[str]:
    """The webhook's address of a bridge that waits for the caller, and believes itself behind TLS."""
    validator = RequestValidator(env["TWILIO_AUTH_TOKEN"])

    async def voice(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        if not validator.validate(str(request.url), form, request.headers.get("X-Twilio-Signature", "")):
            return Response("wrong signature", 403)
        answer = VoiceResponse()
        answer.append(Connect())
        answer.verbs[0].stream(url=f"wss://{request.headers['host']}/media")
        return Response(str(answer), media_type="application/xml")

    async def media(phone: WebSocket) -> None:
        signed = phone.headers.get("x-twilio-signature", "")
        if not validator.validate(f"wss://{phone.headers['host']}/media", {}, signed):
            await phone.close(1008)
            return
        await phone.accept()
        address = f"{env['OPENAI_BASE_URL'].replace('http', 'ws', 1)}/realtime?model=gpt-realtime-mini"
        headers = {"Authorization": f"Bearer {env['OPENAI_API_KEY']}"}
        async with connect(address, additional_headers=headers) as model:
            await Call(phone, model, clears=clears, beta=beta).run()

    async def run(stop: asyncio.Event, ready: Callable[[], None]) -> None:
        routes = [Route("/incoming-call", voice, methods=["POST"]), WebSocketRoute("/media", media)]
        config = uvicorn.Config(
            Starlette(routes=routes), ws="websockets-sansio", ws_per_message_deflate=False, log_config=None,
            access_log=False, lifespan="off", timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", port))
        serving = asyncio.create_task(server._serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        ready()
        await stop.wait()
        server.should_exit = True
        await serving
        listening.close()

    with in_a_thread(run):
        yield f"http://127.0.0.1:{port}/incoming-call"
