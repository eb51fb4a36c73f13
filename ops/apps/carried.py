"""A stream that a worker carries, as the switchboard sees it; once it is accepted, a live call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ops.apps.carriage import Admission, Standing
from ops.apps.messages import (
    Admitted,
    Ask,
    End,
    Lose,
    Measured,
    News,
    Order,
    Over,
    Refused,
    Row,
    Seen,
    Shown,
    Stands,
    Write,
    Written,
    sendable,
)
from ops.apps.streams import Stream
from ops.journal import write as journal
from ops.vendors.twilio import wire as twilio

ANSWERS_WITHIN = 1.0  # seconds for a worker to tell how a call stands

log = journal.logger(__name__)


class Carried:
    """`tell` reaches its worker; the stream is the desk that this one's news are for."""

    def __init__(self, tell: Callable[[Order], None], number: int, stream: Stream) -> None:
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._tell, self._number, self._stream = tell, number, stream
        self._accepting: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[Standing] | None = None

    async def standing(self) -> Standing:
        """Asks the worker; one that does not answer in time may well have a call that lives."""
        if self._asked is None:
            self._asked = self._loop.create_future()
            self._tell(Ask(self._number))
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._asked), ANSWERS_WITHIN)
        return Standing(0.0, None)

    def end(self, reason: str) -> None:
        self._tell(End(self._number, reason))

    def lose(self, cause: str) -> None:
        self._tell(Lose(self._number, cause))

    def hear(self, news: News) -> None:
        """What the worker tells of this stream."""
        match news:
            case Shown(start=start):
                self._accepting = self._loop.create_task(self._accept(start))
            case Refused(reason=reason):
                self._stream.refused(reason)
            case Row(row=row):
                self._stream.remember(row)
            case Write():
                self._stream.written().add_done_callback(lambda _: self._tell(Written(self._number)))
            case Measured(measure=measure):
                self._stream.measure(measure)
            case Seen(message=message):
                self._stream.watch(message)
            case Stands(standing=standing):
                self._answer(standing)
            case Over(reason=reason):
                self.over(reason)

    def over(self, reason: str | None) -> None:
        """The stream is gone; where its worker died, so has every stream of it."""
        if self._accepting is not None:
            self._accepting.cancel()
        self._stream.over(reason)
        if not self.closed.done():
            self.closed.set_result(None)
        self._answer(Standing(0.0, reason or "unknown"))

    async def _accept(self, start: twilio.Start) -> None:
        with journal.bound(call_sid=start.call_sid, stream_sid=start.stream_sid):
            try:
                accepted = await self._stream.accept(start, self._carry) is not None
            except Exception:
                log.exception("stream.failed", "A media stream could not be attended to.")
                accepted = False
            if not accepted:
                self._tell(Admitted(self._number))

    def _carry(self, admission: Admission) -> Carried:
        self.began = self._loop.time()
        self._tell(sendable(self._number, admission))
        return self

    def _answer(self, standing: Standing) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_result(standing)
