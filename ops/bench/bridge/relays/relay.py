"""Reference relays in Python: `relay.py websockets PORT MODEL_URL` and `relay.py fastapi PORT MODEL_URL`.

What the public samples do and no more: a task for each direction, JSON in and JSON out, the audio's
base64 as it is, a mark behind each piece, and what a barge-in would need is kept. No signature, no
ticket, no journal, no pacing. Runs alone: nothing of Trunkline's is imported.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

SESSION = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
        },
        "instructions": "You answer the phone.",
    },
}


class Relay:
    """One call: the phone's texts, the way to send it one, the model."""

    def __init__(
        self, phone: AsyncIterable[str], send: Callable[[str], Awaitable[None]], model: ClientConnection
    ) -> None:
        self.phone = phone
        self.send = send
        self.model = model
        self.stream: str | None = None
        self.latest = 0
        self.item: str | None = None
        self.began: int | None = None
        self.marks: list[str] = []

    async def run(self) -> None:
        """Both ways, until one of them ends."""
        await self.model.send(json.dumps(SESSION))
        ways = [asyncio.create_task(self.from_phone()), asyncio.create_task(self.from_model())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def from_phone(self) -> None:
        async for text in self.phone:
            message: dict[str, Any] = json.loads(text)
            event = message["event"]
            if event == "media":
                self.latest = int(message["media"]["timestamp"])
                audio = message["media"]["payload"]
                await self.model.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            elif event == "mark":
                if self.marks:
                    self.marks.pop(0)
            elif event == "start":
                self.stream = message["start"]["streamSid"]
            elif event == "stop":
                return

    async def from_model(self) -> None:
        async for text in self.model:
            event: dict[str, Any] = json.loads(text)
            if event["type"] != "response.output_audio.delta" or self.stream is None:
                continue
            media = {"event": "media", "streamSid": self.stream, "media": {"payload": event["delta"]}}
            await self.send(json.dumps(media))
            if event["item_id"] != self.item:
                self.item, self.began = event["item_id"], self.latest
            mark = {"event": "mark", "streamSid": self.stream, "mark": {"name": "responsePart"}}
            await self.send(json.dumps(mark))
            self.marks.append("responsePart")


def to_model(url: str) -> connect:
    return connect(url, compression=None, additional_headers={"Authorization": "Bearer none"})


def over_websockets(port: int, url: str) -> None:
    """The asyncio API of `websockets` on both sides."""
    from websockets.asyncio.server import ServerConnection, serve

    async def carry(phone: ServerConnection) -> None:
        async with to_model(url) as model:
            await Relay(phone, phone.send, model).run()  # type: ignore[arg-type]  # texts are all that comes

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with serve(carry, "127.0.0.1", port, compression=None):
            await stop.wait()

    asyncio.run(main())


def over_fastapi(port: int, url: str) -> None:
    """FastAPI on uvicorn for the phone, `websockets` for the model."""
    import uvicorn
    from fastapi import FastAPI, WebSocket

    async def carry(phone: WebSocket) -> None:
        await phone.accept()
        async with to_model(url) as model:
            await Relay(phone.iter_text(), phone.send_text, model).run()

    app = FastAPI()
    app.add_api_websocket_route("/media-stream", carry)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", ws_per_message_deflate=False)


if __name__ == "__main__":
    kind, number, model_url = sys.argv[1:]
    {"websockets": over_websockets, "fastapi": over_fastapi}[kind](int(number), model_url)
