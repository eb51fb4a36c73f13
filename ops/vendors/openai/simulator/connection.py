"""One websocket: frames to the session, its events to the client, its timers to the clock."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ops.journal.write import logger
from ops.vendors.faults import Armed
from ops.vendors.openai.simulator.events import Close, Event, Problem
from ops.vendors.openai.simulator.faults import Faults
from ops.vendors.openai.simulator.session import Session
from ops.vendors.openai.simulator.validation import CLIENT_EVENTS

log = logger(__name__)
WAITING_LIMIT = 20_000  # events: a client that reads nothing is let go
ERRORS_KEPT = 100


class Connection:
    """A live session on its socket; `shown` tells tests what happened, also after the end."""

    def __init__(self, socket: WebSocket, session: Session, faults: Faults) -> None:
        self.socket = socket
        self.session = session
        self.live = True
        self.close: Close | None = None
        self.received: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.errors: deque[dict[str, Any]] = deque(maxlen=ERRORS_KEPT)
        self.opened = time.time()
        self.configured: float | None = None  # when a session.update was confirmed first
        self.ended: float | None = None
        self.said: deque[dict[str, Any]] = deque(maxlen=ERRORS_KEPT)
        self._faults = faults
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self._cut = asyncio.Event()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until either side ends it; returning without a close frame cuts the connection."""
        self._queue(self.session.open())
        self._set_timer()
        parts: tuple[Coroutine[Any, Any, Any], ...]
        parts = (self._send(), self._receive(), self._clock(), self._cut.wait())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.live = False
            self.ended = time.time()
            if self._timer:
                self._timer.cancel()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, (WebSocketDisconnect, OSError)):
                    log.error("session.crashed", repr(outcome), session=self.session.id)
                    self.close = Close(1011, "internal error")
                    await close(self.socket, self.close)

    def shown(self) -> dict[str, Any]:
        """Counts by event type, what was heard and said, errors told, and how it ended; times are seconds
        since the epoch."""
        return {
            "id": self.session.id,
            "model": self.session.config["model"],
            "live": self.live,
            "close": self.close and {"code": self.close.code, "reason": self.close.reason},
            "received": dict(self.received),
            "sent": dict(self.sent),
            "opened": self.opened,
            "configured": self.configured,
            "ended": self.ended,
            "heard": self.session.heard,
            "said": list(self.said),
            "errors": list(self.errors),
            "items": len(self.session.conversation.items),
        }

    async def _receive(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                self.close = self.close or Close(message.get("code", 1006), message.get("reason") or "")
                return
            raw = message.get("text")
            found = self.session.receive(raw if raw is not None else message["bytes"], time.monotonic())
            self._count(raw)
            self._queue(found)
            self._set_timer()

    def _count(self, raw: str | None) -> None:
        """Count by type without parsing again: the types are known words."""
        head = (raw or "")[:200]
        start = head.find('"type"')
        word = head[start + 6 :].split('"', 2)[1:2] if start >= 0 else []
        self.received[word[0] if word and word[0] in CLIENT_EVENTS else "?"] += 1

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        due = self.session.due
        if due is not None and self.session.closing is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - time.monotonic()), self._due.set)

    async def _clock(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            self._queue(self.session.tick(time.monotonic()))
            self._set_timer()

    def _queue(self, found: list[Event]) -> None:
        self._waiting.extend(found)
        for event in found:
            if event["type"] == "error":
                self.errors.append(event["error"])
                log.warning("error.sent", event["error"]["message"], code=event["error"]["code"])
        if len(self._waiting) > WAITING_LIMIT:
            self.close = Close(1006, "cut: the client does not read")
            self._cut.set()
        if found or self.session.closing:
            self._news.set()

    async def _send(self) -> None:
        fault, number = None, 0
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                event = self._waiting.popleft()
                number += 1
                if fault is None and (fault := self._faults.take("socket")) is not None:
                    number = 1
                if fault is not None and number > fault.numbers["after_events"]:
                    if not await self._misbehave(fault):
                        return
                    fault = None
                await self.socket.send_text(json.dumps(event))
                self._sent(event)
            if self.session.closing is not None:
                self.close = self.session.closing
                await close(self.socket, self.close)
                return

    def _sent(self, event: Event) -> None:
        self.sent[event["type"]] += 1
        if event["type"] == "session.updated":
            self.configured = self.configured or time.time()
        elif event["type"] == "response.output_audio_transcript.done":
            self.said.append({"at": time.time(), "text": event["transcript"]})

    async def _misbehave(self, fault: Armed) -> bool:
        """Do what a fault says; False when the connection is gone."""
        match fault.fault.name:
            case "stall":
                await asyncio.sleep(fault.numbers["seconds"])
            case "malformed-event":
                await self.socket.send_text('{"type":"response.output_audio.delta","delta":')
            case "unknown-event":
                await self.socket.send_text(json.dumps({"type": "future.event", "event_id": "event_future"}))
            case "reset":
                self.close = Close(1006, "reset by a fault")
                return False
        return True


@dataclass(frozen=True)
class Refused:
    """A connection that never became a session, shown as one: with its error, and the close or the
    HTTP status that it ended with."""

    id: str
    at: float
    model: str
    problem: Problem
    close: Close | None = None
    status: int | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "model": self.model,
            "live": False,
            "close": self.close and {"code": self.close.code, "reason": self.close.reason},
            "status": self.status,
            "received": {},
            "sent": {},
            "opened": self.at,
            "configured": None,
            "ended": self.at,
            "heard": [],
            "said": [],
            "errors": [self.problem.shown()],
            "items": 0,
        }


async def close(socket: WebSocket, how: Close) -> None:
    """End the websocket with a code and a reason."""
    if socket.application_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError, OSError, WebSocketDisconnect):
            await socket.close(how.code, how.reason)
