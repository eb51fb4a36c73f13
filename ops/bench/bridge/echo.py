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
        self.truncates = 0  # it never stops talking, so nothing should be truncated
        self.refused: list[str] = []  # what it did not understand
        self._server: Any = None

    async def listen(self, certificate: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        """On a free port of this address."""
        self._server = await ws_create_server(self._take, address, 0, ssl=certificate)
        self.port = self._server.sockets[0].getsockname()[1]

    def reset(self) -> int:
        """Break every session as a failing network does; how many there were."""
        return _break(self.open)

    def stall(self) -> int:
        """Every session that is open falls silent and stays open; how many there are."""
        for session in self.open:
            session.mute = True
        return len(self.open)

    def close(self) -> None:
        """Nobody can connect any more, and nobody is connected."""
        if self._server is not None:
            self._server.close()
        _break(self.open)
        _break(self.mirrors)

    def _take(self, request: WSUpgradeRequest) -> WSListener:
        return Mirror(self) if bytes(request.path).startswith(b"/floor") else Session(self)


def _break(ends: Iterable[End]) -> int:
    there = list(ends)
    for end in there:
        end.transport.underlying_transport.abort()
    return len(there)


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
        self._said = 0  # pieces of audio
        self._told = 0  # other events
        self._response = b""
        self._item = b""

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

    def _hear(self, payload: bytes) -> None:
        model = self._model
        model.calls.heard(payload, time.monotonic())
        if self.mute:
            return
        if self._said % ANSWER == 0:
            self._next_answer()
        self._said += 1
        self.write(frames.delta(self._said, self._response, self._item, payload))

    def _next_answer(self) -> None:
        if self._said:
            response, item = self._response.decode(), self._item.decode()
            self._tell(
                {
                    "type": "response.output_audio_transcript.done", "response_id": response,
                    "item_id": item, "output_index": 0, "content_index": 0, "transcript": "An echo.",
                }
            )  # fmt: skip
            done = {"id": response, "object": "realtime.response", "status": "completed", "usage": USAGE}
            self._tell({"type": "response.done", "response": done})
        number = self._said // ANSWER
        self._response, self._item = b"resp_%d_%d" % (id(self), number), b"item_%d_%d" % (id(self), number)
        begun = {"id": self._response.decode(), "object": "realtime.response", "status": "in_progress"}
        self._tell({"type": "response.created", "response": begun})

    def _command(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "session.update":
            self._ready = True
            audio = {"input": {"format": FORMAT}, "output": {"format": FORMAT, "voice": "marin"}}
            session = {"id": "sess", "type": "realtime", "model": "echo", "audio": audio}
            self._tell({"type": "session.updated", "session": session})
        elif kind == "conversation.item.truncate":
            self._model.truncates += 1
        elif kind not in ("response.create", "conversation.item.create", "input_audio_buffer.append"):
            self._model.refused.append(str(kind))

    def _tell(self, event: dict[str, Any]) -> None:
        self._told += 1
        self.write(json.dumps({"event_id": f"event_t{self._told}", **event}).encode())
