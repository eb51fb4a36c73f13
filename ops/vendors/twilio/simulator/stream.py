"""One media stream: opens the socket, sends `connected`, `start`, `media`, `dtmf`, `mark`, `stop`,
and plays what comes back.

Sources: Twilio, "Media Streams - WebSocket messages", `<Stream>`, and the pages of errors 319xx.
"""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal
from urllib.parse import urlsplit

from ops.speech import g711
from ops.vendors.twilio.simulator import messages
from ops.vendors.twilio.simulator.clock import Alarm
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.history import History
from ops.vendors.twilio.simulator.line import Line
from ops.vendors.twilio.simulator.signature import sign
from ops.vendors.twilio.simulator.websocket import (
    HandshakeFailed,
    WebSocket,
    address_fault,
    behind_tunnel,
)

OPEN_SECONDS = 10.0
HALF_OPEN_SECONDS = 60.0  # how long a dead connection outlives its call
UNSENT_LIMIT = 32 * 1024  # bytes the server left unread; then audio is dropped (31930)
End = Literal["closed", "lost", "ended"]  # by the server; without goodbye; by this side
NORMAL_CLOSE = (1000, 1005)


class Refused(Exception):
    """The stream could not be opened, with the debugger's number for it."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(notice.message)
        self.notice = notice


@dataclass(frozen=True)
class Whose:
    """What a stream is about: its SIDs, the address as the TwiML wrote it, its parameters."""

    account_sid: str
    call_sid: str
    stream_sid: str
    url: str
    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    tracks: tuple[str, ...] = ("inbound",)
    two_way: bool = True
    webhook: str = ""  # whose TwiML named the address


@dataclass(frozen=True)
class Troubles:
    """The faults that strike this stream: option values by name, None where a fault does not."""

    reset_ms: float | None = None
    stall_ms: float | None = None
    slow_ms: float | None = None
    slice_bytes: float | None = None
    drop: tuple[float, int] | None = None
    garbage: tuple[float, int] | None = None
    alaw: bool = False
    marks_lost: bool = False


class MediaStream:
    """The phone's side of one stream on one line."""

    def __init__(
        self,
        whose: Whose,
        line: Line,
        history: History,
        troubles: Troubles,
        on_notice: Callable[[Notice], None],
        on_end: Callable[[], None],
    ) -> None:
        self.whose = whose
        self.sent = 0  # media messages
        self.received = 0  # media messages
        self._line, self._history, self._troubles, self._on_notice = line, history, troubles, on_notice
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._socket: WebSocket | None = None
        self._sequence = 0
        self._chunks = dict.fromkeys(whose.tracks, 0)
        self._began = 0.0
        self._first_frame: int | None = None
        self._offset_ms = 0
        self._warned: set[int] = set()
        self._mark_timer: Alarm | None = None
        self._stalled = False
        self._held: list[str] = []
        self._chance = random.Random(int((troubles.drop or troubles.garbage or (0, 0))[1]))
        self._timers: list[asyncio.TimerHandle] = []
        self.finished: asyncio.Future[End] = self._loop.create_future()
        self.close_code: int | None = None

    async def open(self, token: str) -> None:
        """Upgrade, signed with `token`, and send `connected` and `start`; raises Refused."""
        url = self.whose.url
        if fault := address_fault(url):
            raise Refused(Notice(31923, fault))
        if "?" in url:
            raise Refused(Notice(31920, f"a query string is not supported in <Stream url>: {url}"))
        headers = {"User-Agent": "Twilio.TmeWs/1.0", "x-twilio-signature": sign(token, url)}
        self._history.note("stream.connecting", url=url, stream_sid=self.whose.stream_sid)
        try:
            self._socket = await WebSocket.connect(
                behind_tunnel(url, self.whose.webhook),
                headers=headers,
                on_text=self._on_text,
                timeout=OPEN_SECONDS,
            )
        except TimeoutError:
            raise Refused(Notice(31901, f"{url}: no answer in {OPEN_SECONDS:g} s")) from None
        except ssl.SSLError as problem:
            raise Refused(Notice(31910, f"{url}: {problem.reason or problem}")) from None
        except HandshakeFailed as problem:
            raise Refused(Notice(31920, f"{url}: {problem}")) from None
        except OSError as problem:
            raise Refused(Notice(31902, f"{urlsplit(url).netloc}: {problem.strerror or problem}")) from None
        self._socket.slice_bytes = int(self._troubles.slice_bytes or 0)
        self._socket.closed.add_done_callback(lambda _: self._on_closed())
        self._began = monotonic()
        self._socket.send(messages.CONNECTED)
        self._send(
            messages.start(
                self._next(),
                account_sid=self.whose.account_sid,
                call_sid=self.whose.call_sid,
                stream_sid=self.whose.stream_sid,
                tracks=self.whose.tracks,
                parameters=self.whose.parameters,
            )
        )
        self._history.note("stream.started", stream_sid=self.whose.stream_sid, two_way=self.whose.two_way)
        if self.whose.two_way:
            self._line.caller.streaming = True
        self._line.taps.append(self.frame)
        for after, strike in ((self._troubles.reset_ms, self._reset), (self._troubles.stall_ms, self._stall)):
            if after is not None:
                self._timers.append(self._loop.call_later(after / 1000, strike))

    def frame(self, number: int, said: bytes | None, heard: bytes) -> None:
        """One frame of the line: 20 ms of what is said, and of what is heard."""
        if self.finished.done():
            return
        if self._first_frame is None:
            self._first_frame = number
            self._offset_ms = int((monotonic() - self._began) * 1000)
        timestamp = self._offset_ms + 20 * (number - self._first_frame)
        if self._troubles.garbage and number % max(1, int(self._troubles.garbage[0])) == 0:
            self._send(self._garbage())
        for track in self.whose.tracks:
            audio = said if track == "inbound" else heard
            if audio is not None and not self._dropped():
                self._media(track, timestamp, audio)

    def _media(self, track: str, timestamp: int, audio: bytes) -> None:
        if self._socket and self._socket.unsent > UNSENT_LIMIT:
            self._warn(31930, "the server reads too slowly; audio was discarded")
            return
        if self._troubles.alaw:
            audio = g711.mulaw_to_alaw(audio)
        self._chunks[track] += 1
        self.sent += 1
        sid = self.whose.stream_sid
        self._send(messages.media(self._next(), sid, track, self._chunks[track], timestamp, audio))

    def _dropped(self) -> bool:
        return self._troubles.drop is not None and self._chance.random() < self._troubles.drop[0]

    def key(self, digit: str) -> None:
        """The person pressed a key (two-way streams only)."""
        if self.whose.two_way:
            self._send(messages.dtmf(self._next(), self.whose.stream_sid, digit))

    def end(self) -> None:
        """The call ends, or its TwiML goes on: `stop`, then goodbye."""
        if self.finished.done():
            return
        whose = self.whose
        self._flush_held()
        stop = messages.stop(
            self._next(), whose.stream_sid, account_sid=whose.account_sid, call_sid=whose.call_sid
        )
        if self._socket and not self._stalled:
            self._socket.send(stop)
            self._socket.close()
        elif self._socket:
            self._loop.call_later(HALF_OPEN_SECONDS, self._socket.abort)
        self._finish("ended")

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _send(self, text: str) -> None:
        if self._stalled or not self._socket:
            return
        if self._troubles.slow_ms and self._sequence > 1:
            self._held.append(text)
            if len(self._held) == 1:
                self._timers.append(self._loop.call_later(self._troubles.slow_ms / 1000, self._flush_held))
            return
        self._socket.send(text)

    def _flush_held(self) -> None:
        held, self._held = self._held, []
        for text in held:
            if self._socket and not self._stalled:
                self._socket.send(text)

    def _on_text(self, text: str | None) -> None:
        if self._stalled or self.finished.done():
            return
        if text is None:
            self._warn(31950, "expected a text message, got a binary one or one that is not UTF-8")
            return
        if not self.whose.two_way:
            self._warn(31951, "a one-way stream (<Start>) accepts no messages")
            return
        message = messages.read(text, self.whose.stream_sid)
        if isinstance(message, messages.Wrong):
            self._warn(31951, message.reason)
            return
        if message.oddity:
            self._warn(31951, message.oddity)
        if isinstance(message, messages.Media):
            self._play(message.audio)
        elif isinstance(message, messages.Mark):
            self._line.playout.mark(message.name, self._line.sample_at())
            self._return_marks()
        else:
            waiting = self._line.playout.waiting(self._line.sample_at())
            names = self._line.quiet()
            self._history.note("clear", unplayed_ms=waiting // 8, marks=len(names))
            self._echo(names)

    def _play(self, audio: bytes) -> None:
        self.received += 1
        if self.received == 1:
            self._history.note("stream.first-audio", stream_sid=self.whose.stream_sid)
        if not self._line.play(audio):
            self._warn(31931, "more than ten minutes of audio wait to be played")

    def _return_marks(self) -> None:
        if self._mark_timer:
            self._mark_timer.cancel()
            self._mark_timer = None
        if self.finished.done():
            return
        self._echo(self._line.playout.due(self._line.sample_at()))
        if (due := self._line.playout.next_due) is not None:
            self._mark_timer = self._line.clock.call_at(self._line.time_of(due), self._return_marks)

    def _echo(self, names: list[str]) -> None:
        for name in names:
            if self._troubles.marks_lost:
                continue
            self._history.note("mark", mark=name[:80])
            self._send(messages.mark(self._next(), self.whose.stream_sid, name))

    def _on_closed(self) -> None:
        socket = self._socket
        if self.finished.done() or socket is None:
            return
        code = self.close_code = socket.closed.result()
        if socket.broke_protocol:
            self._on_notice(Notice(31924, "the server's frames do not follow RFC 6455, or are too long"))
            self._finish("lost")
        elif code is None:
            self._on_notice(Notice(31921, "the connection was lost without a close frame"))
            self._finish("lost")
        else:
            if code not in NORMAL_CLOSE:
                self._on_notice(Notice(31921, f"the server closed the stream with {code}"))
            self._finish("closed")

    def _finish(self, how: End) -> None:
        for timer in (*self._timers, self._mark_timer):
            if timer:
                timer.cancel()
        if self.frame in self._line.taps:
            self._line.taps.remove(self.frame)
        if self.whose.two_way:
            self._line.quiet()  # what was not played yet goes with its stream
        self._history.note(
            "stream.stopped",
            stream_sid=self.whose.stream_sid,
            how=how,
            close_code=self.close_code,
            sent=self.sent,
            received=self.received,
        )
        self.finished.set_result(how)
        self._on_end()

    def _warn(self, code: int, detail: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            self._on_notice(Notice(code, detail))

    def _reset(self) -> None:
        if self._socket:
            self._history.note("fault", fault="stream-reset")
            self._socket.abort()

    def _stall(self) -> None:
        self._history.note("fault", fault="stream-stall")
        self._stalled = True
        if self._socket:
            self._socket.stall()

    def _garbage(self) -> str:
        noise = base64.b64encode(self._chance.randbytes(24)).decode()
        return self._chance.choice(
            (
                noise,
                '{"event":',
                f'{{"event":"unheard-of","streamSid":"{self.whose.stream_sid}"}}',
                '{"event":"media","media":{"payload":7}}',
                "[" * 2000,
                '{"event":"mark","mark":null,"streamSid":"\\ud800"}',
            )
        )
