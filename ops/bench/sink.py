"""The measuring end of media streams: takes each frame's time, talks now and then, times the marks.

Plain asyncio and no more than must be, and it watches its own lag: where that is large the figures
are about the machine, not about the simulator.
"""

from __future__ import annotations

import asyncio
import base64
import json
from array import array
from collections.abc import Iterator

from ops.bench import wire
from ops.bench.pacing import PlayOut

TALK_EVERY = 2.0  # seconds between two utterances of the agent on one call
LOOK = 0.005  # seconds between two looks at the own lag
FRAME_MS = 20
TIMER_STEP = 0.001  # seconds that asyncio may round a timer up by; no lag
LENGTHS = (1600, 3200, 2437, 800, 4800)  # samples; one that is no whole number of frames


class Sink:
    """A websocket server for any number of streams."""

    def __init__(self, speech: bytes = b"") -> None:
        self.port = 0
        self.streams: list[Stream] = []
        self.measuring = False
        self.talking = True
        self.echoes: list[float] = []  # ms after (before: negative) the computed play-out
        self.lag: list[float] = []  # ms
        self.speech = speech
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await self._loop.create_server(lambda: Stream(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def measure(self) -> None:
        """From now on everything counts."""
        self.measuring = True
        self._look(self._loop.time() + LOOK)

    def rest(self) -> None:
        """Nothing counts any more, and nobody talks."""
        self.measuring = self.talking = False
        if self._watch:
            self._watch.cancel()

    @property
    def live(self) -> int:
        return sum(1 for stream in self.streams if stream.sid)

    @property
    def marks_lost(self) -> int:
        """Marks that should have come back and have not; ask a while after `rest`."""
        return sum(stream.playout.waiting for stream in self.streams)

    async def close(self) -> None:
        for stream in self.streams:
            stream.end()
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    def utterances(self) -> Iterator[tuple[int, str]]:
        """Endless pieces of speech: samples, base64."""
        number, count = 0, len(self.speech)
        while True:
            length = LENGTHS[number % len(LENGTHS)]
            begin = (number * 1600) % max(1, count - length)
            yield length, base64.b64encode(self.speech[begin : begin + length]).decode()
            number += 1

    def _look(self, due: float) -> None:
        now = self._loop.time()
        self.lag.append(max(0.0, now - due - TIMER_STEP) * 1000)
        self._watch = self._loop.call_at(now + LOOK, self._look, now + LOOK)


class Stream(asyncio.Protocol):
    """One call's socket."""

    def __init__(self, sink: Sink) -> None:
        self.sid = ""
        self.offsets = array("d")  # arrival of each frame minus its place in the stream, seconds
        self._first, self._last = 1 << 62, 0  # places of the first and the last of them, ms
        self.playout = PlayOut()
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._open = False
        self._talk: asyncio.TimerHandle | None = None
        self._said = 0
        self._pieces = sink.utterances()

    @property
    def lost(self) -> int:
        """Frames that never came, between the first and the last that count."""
        return round((self._last - self._first) / FRAME_MS) + 1 - len(self.offsets) if self.offsets else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        self._buffer += data
        if not self._open and not self._upgrade():
            return
        while (frame := wire.take(self._buffer)) is not None:
            opcode, payload = frame
            if opcode == wire.TEXT:
                self._message(json.loads(payload), now)
            elif opcode == wire.PING:
                self._write(wire.frame(wire.PONG, payload))
            elif opcode == wire.CLOSE:
                self._write(wire.frame(wire.CLOSE, payload))
                self.end()

    def connection_lost(self, problem: Exception | None) -> None:
        self.sid = ""
        self.end()

    def end(self) -> None:
        if self._talk:
            self._talk.cancel()
        if self._transport:
            self._transport.close()

    def _upgrade(self) -> bool:
        head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        answer = wire.accepted(head) if separator else None
        if answer is None:
            return False
        self._open, self._buffer = True, bytearray(rest)
        self._write(answer)
        self._sink.streams.append(self)
        return True

    def _message(self, message: dict[str, object], now: float) -> None:
        event = message.get("event")
        if event == "media":
            if self._sink.measuring:
                media = message["media"]
                assert isinstance(media, dict)
                stamp = int(media["timestamp"])
                self.offsets.append(now - stamp / 1000)
                self._first, self._last = min(self._first, stamp), max(self._last, stamp)
        elif event == "mark":
            mark = message["mark"]
            assert isinstance(mark, dict)
            late = self.playout.echoed(str(mark["name"]), now)
            if late is not None and self._sink.measuring:
                self._sink.echoes.append(late)
        elif event == "start":
            self.sid = str(message["streamSid"])
            if self._sink.speech:
                phase = len(self._sink.streams) % 20 / 20
                self._talk = self._loop.call_later(TALK_EVERY * phase, self._say)

    def _say(self) -> None:
        """Two utterances with a mark behind each: the second waits for the first to be played."""
        if not self._sink.talking:
            return
        now = self._loop.time()
        texts = []
        for _ in range(2):
            samples, payload = next(self._pieces)
            self._said += 1
            mark = f"m{self._said}"
            self.playout.send(samples, mark, now)
            texts.append({"event": "media", "streamSid": self.sid, "media": {"payload": payload}})
            texts.append({"event": "mark", "streamSid": self.sid, "mark": {"name": mark}})
        self._write(b"".join(wire.frame(wire.TEXT, json.dumps(text).encode()) for text in texts))
        self._talk = self._loop.call_later(TALK_EVERY, self._say)

    def _write(self, data: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)
