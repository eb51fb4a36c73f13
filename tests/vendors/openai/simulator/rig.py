"""What the tests of the simulator share: a session under a clock of its own, and a server on a real port."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from ops.speech import library
from ops.vendors.openai.simulator import codec
from ops.vendors.openai.simulator.app import Simulator
from ops.vendors.openai.simulator.faults import Faults
from ops.vendors.openai.simulator.session import Session

MODEL = "gpt-realtime-2.1"
SILENCE = b"\xff" * 160
PCMU = {
    "type": "realtime",
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-4o-transcribe"}},
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
    },
}


class Rig:
    """One session under a virtual clock; every event that it sends is kept in order."""

    def __init__(self, *, configured: bool = True, faults: Faults | None = None, lifetime: float = 3600.0):
        self.now = 1000.0
        self.faults = faults or Faults()
        self.session = Session(MODEL, now=self.now, wall=0.0, faults=self.faults, seed=1, lifetime=lifetime)
        self.events: list[dict[str, Any]] = []
        self.format = "audio/pcm"
        self._keep(self.session.open())
        if configured:
            self.format = "audio/pcmu"
            self.send("session.update", session=PCMU)

    def send(self, type: str, **fields: Any) -> list[dict[str, Any]]:
        """Send one client event; the events that it caused at once."""
        return self.raw(json.dumps({"type": type, **fields}))

    def raw(self, text: str | bytes) -> list[dict[str, Any]]:
        return self._keep(self.session.receive(text, self.now))

    def configure(self, **session: Any) -> list[dict[str, Any]]:
        """session.update with some audio.input or other fields."""
        return self.send("session.update", session={"type": "realtime", **session})

    def turns(self, **turn_detection: Any) -> None:
        self.configure(audio={"input": {"turn_detection": turn_detection}})

    def hear(self, mulaw: bytes) -> None:
        """20 ms frames at the pace of a phone."""
        for at in range(0, len(mulaw), 160):
            wire = codec.encode(self.format, mulaw[at : at + 160])
            self.send("input_audio_buffer.append", audio=base64.b64encode(wire).decode())
            self.run(0.02)

    def say(self, name: str, *, silence_ms: int = 600) -> None:
        """A caller's line and the silence after it."""
        self.hear(library.line(name).audio + SILENCE * (silence_ms // 20))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (due := self.session.due) is not None and due <= end:
            self.now = max(self.now, due)
            self._keep(self.session.tick(self.now))
        self.now = end

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def of(self, type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type]

    def last(self, type: str) -> dict[str, Any]:
        return self.of(type)[-1]

    def spoken(self) -> str:
        """What the agent has said or written in its last response."""
        [part] = self.last("response.done")["response"]["output"][0]["content"]
        return str(part.get("transcript", part.get("text")))

    def error(self) -> dict[str, Any]:
        return dict(self.last("error")["error"])

    def _keep(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = json.loads(json.dumps(events))
        self.events += sent
        return sent


@asynccontextmanager
async def serving(
    port: int, *, key: str | None = None, faults: Faults | None = None, lifetime: float = 3600.0
) -> AsyncIterator[Simulator]:
    """The simulator on a real port, in this process."""
    simulator = Simulator(key, faults or Faults(), lifetime=lifetime, seed=None)
    config = uvicorn.Config(
        simulator.app(), host="127.0.0.1", port=port, ws="websockets-sansio", ws_per_message_deflate=False,
        ws_max_size=24 << 20, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield simulator
    finally:
        server.should_exit = True
        await task
