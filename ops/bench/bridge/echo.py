"""A model that echoes: enough of the GA Realtime protocol for any bridge, and as fast as can be.

Each piece of the caller's audio comes back at once as a piece of an answer. An answer lasts a few
seconds, then it is closed with its transcript and its usage and the next one begins, so that whatever
a bridge does once an answer is done too. `/floor` is the other way to it: a phone that connects there
hears itself with no bridge between.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from ops.bench.bridge import frames
from ops.bench.bridge.book import Calls

TEXT = WSMsgType.TEXT
ANSWER = 250  # pieces of audio: 5 s
PIECE_MS = 20
FORMAT = {"type": "audio/pcmu"}
USAGE = {
    "total_tokens": 150, "input_tokens": 100, "output_tokens": 50,
    "input_token_details": {"text_tokens": 50, "audio_tokens": 50, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 10, "audio_tokens": 40},
}  # fmt: skip


class EchoModel:
    """A server of Realtime sessions, and of the floor."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.port = 0
        self.open: set[Session] = set()
        self.mirrors: set[End] = set()
        self.opened_at: list[float] = []
        self.truncates = {True: 0, False: 0}  # of an interrupted answer and within it; those it must refuse
        self._server: Any = None

    async def listen(self, certificate: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        """On a free port of this address."""
        self._server = await ws_create_server(self._take, address, 0, ssl=certificate)
        self.port = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """Break every session as a failing network does."""
        _break(self.open)

    def stall(self) -> None:
        """Every session that is open falls silent and stays open."""
        for session in self.open:
            session.mute = True

    def interrupt(self) -> None:
        """Every caller is heard to interrupt."""
        for session in self.open:
            session.interrupt()

    def close(self) -> None:
        """Nobody can connect any more, and nobody is connected."""
        if self._server is not None:
            self._server.close()
        _break(self.open)
        _break(self.mirrors)

    def _take(self, request: WSUpgradeRequest) -> WSListener:
        return Mirror(self) if bytes(request.path).startswith(b"/floor") else Session(self)


def _break(ends: Iterable[End]) -> None:
    for end in list(ends):
        end.transport.underlying_transport.abort()


class End(WSListener):
    """One connection to the model; it is among those in `there` while it is open."""

    transport: WSTransport

    def __init__(self, there: set[Any]) -> None:
        self._there = there

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self._send = transport.underlying_transport.write
        self._there.add(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._there.discard(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == TEXT:
            self.on_text(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_text(self, message: bytes) -> None:
        raise NotImplementedError

    def write(self, *messages: bytes) -> None:
        self._send(frames.from_server(messages))


class Mirror(End):
    """The floor: a media stream that speaks what it hears."""

    def __init__(self, model: EchoModel) -> None:
        super().__init__(model.mirrors)
        self._calls = model.calls

    def on_text(self, message: bytes) -> None:
        if len(message) < frames.SHORTEST_AUDIO:
            return
        payload = frames.value(message, frames.PAYLOAD) or b""
        self._calls.heard(payload, time.monotonic())
        stream = frames.value(message, frames.STREAM) or b""
        self.write(frames.agent_media(stream, payload), frames.agent_mark(stream, payload[: frames.DIGITS]))


class Session(End):
    """One Realtime session."""

    def __init__(self, model: EchoModel) -> None:
        super().__init__(model.open)
        self._model = model
        self.mute = False  # hears, and says nothing more
        self._ready = False
        self._heard = 0  # pieces of the caller's audio
        self._pieces = 0  # of the answer under way
        self._told = 0  # events, audio left out
        self._answers = 0
        self._response = self._item = ""
        self._cut: dict[str, int] = {}  # ms that were produced of answers that a caller interrupted

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        self._model.opened_at.append(time.monotonic())
        session = {"id": f"sess_{len(self._model.opened_at)}", "type": "realtime", "model": "echo"}
        self._tell({"type": "session.created", "session": session})

    def on_text(self, message: bytes) -> None:
        if self._ready and b"input_audio_buffer.append" in message[:64]:
            self._hear(frames.value(message, frames.AUDIO) or b"")
        else:
            self._command(json.loads(message))

    def interrupt(self) -> None:
        """The caller is heard to begin, which ends the answer under way, and to stop at once."""
        item, at = f"item_caller_{self._heard}", self._heard * PIECE_MS
        self._tell({"type": "input_audio_buffer.speech_started", "audio_start_ms": at, "item_id": item})
        self._cut[self._item] = self._pieces * PIECE_MS
        self._end("cancelled")
        self._tell({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": at, "item_id": item})

    def _hear(self, payload: bytes) -> None:
        self._heard += 1
        self._model.calls.heard(payload, time.monotonic())
        if self.mute:
            return
        if not self._pieces:
            self._begin()
        self._pieces += 1
        self.write(frames.delta(self._heard, self._response.encode(), self._item.encode(), payload))
        if self._pieces == ANSWER:
            said = {"response_id": self._response, "item_id": self._item, "transcript": "An echo."}
            at = {"output_index": 0, "content_index": 0}
            self._tell({"type": "response.output_audio_transcript.done", **said, **at})
            self._end("completed")

    def _begin(self) -> None:
        self._answers += 1
        self._response, self._item = (f"{kind}_{id(self)}_{self._answers}" for kind in ("resp", "item"))
        begun = {"id": self._response, "object": "realtime.response", "status": "in_progress"}
        self._tell({"type": "response.created", "response": begun})

    def _end(self, status: str) -> None:
        self._pieces = 0
        done = {"id": self._response, "object": "realtime.response", "status": status, "usage": USAGE}
        self._tell({"type": "response.done", "response": done})

    def _command(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "session.update":
            self._ready = True
            audio = {"input": {"format": FORMAT}, "output": {"format": FORMAT, "voice": "marin"}}
            session = {"id": "sess", "type": "realtime", "model": "echo", "audio": audio}
            self._tell({"type": "session.updated", "session": session})
        elif kind == "conversation.item.truncate":
            right = 0 < event["audio_end_ms"] <= self._cut.get(event["item_id"], 0)
            self._model.truncates[right] += 1

    def _tell(self, event: dict[str, Any]) -> None:
        self._told += 1
        self.write(json.dumps({"event_id": f"event_t{self._told}", **event}).encode())
