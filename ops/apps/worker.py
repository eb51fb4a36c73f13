"""Carries calls in a process of its own: `python -m ops.apps.worker --fd N`, a child of the bridge.

The switchboard hands it connections over the line whose descriptor is N, and is asked over it what is to hold
for each. It ends when that line does: at once, so that its calls come back at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from ops.apps import loop as event_loop
from ops.apps import messages
from ops.apps.actions import Measure, Remember
from ops.apps.carriage import Admission, L, Live
from ops.apps.carrier import Carrier
from ops.apps.dialect import Dialect
from ops.apps.gauges import Gauges, Pulse
from ops.apps.line import Line
from ops.apps.messages import Admitted, Ask, End, Lose, News, Over, Take, Watch, Written
from ops.apps.session import LOST
from ops.apps.transports import Socket, on_picows
from ops.config import Settings
from ops.journal import write as journal
from ops.vendors.twilio import wire as twilio

PULSE = 1.0  # seconds
SEEN_LIMIT = 60_000  # characters of a message that is shown to those who watch
BEHIND = 1024 * 1024  # bytes that wait for the switchboard; then watchers see less

log = journal.logger("ops.apps.worker")


class Worker:
    """The streams that were handed over, and the line to the switchboard."""

    def __init__(self, settings: Settings, end: socket.socket, dialect: Dialect) -> None:
        self.carrier = Carrier(settings, on_picows.dial, dialect)
        self.desks: dict[int, DistantDesk] = {}
        self.watched = False
        self._over = asyncio.Event()
        self._line = Line(end, self._hear, self._over.set)
        self._gauges = Gauges()
        self._taking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the switchboard is gone."""
        loop = asyncio.get_running_loop()
        looks = [loop.create_task(event_loop.watch(self._gauges.lags)), loop.create_task(self._beat())]
        event_loop.collect_seldom()
        await self._over.wait()
        for look in looks:
            look.cancel()

    def tell(self, news: News) -> None:
        self._line.send(messages.encode(news))

    @property
    def behind(self) -> bool:
        """Whether the switchboard takes less than it is told."""
        return self._line.waiting > BEHIND

    async def _beat(self) -> None:
        while True:
            self.tell(Pulse(self._gauges.lag_p95, len(asyncio.all_tasks())))
            await asyncio.sleep(PULSE)

    def _hear(self, text: bytes) -> None:
        order = messages.order_of(text)
        if isinstance(order, Watch):
            self.watched = order.wanted
        elif isinstance(order, Take):
            task = asyncio.get_running_loop().create_task(self._take(order, self._line.handle()))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
        elif (desk := self.desks.get(order.number)) is not None:
            desk.hear(order)

    async def _take(self, order: Take, handle: int | None) -> None:
        """Go on with a connection where the switchboard has left off."""
        desk = self.desks[order.number] = DistantDesk(self, order.number)
        if handle is None:
            log.error("worker.full", "A stream was lost: this process may hold no more open files.")
        else:
            arriving = partial(_Arriving, desk.door.take, order)
            connection = socket.socket(fileno=handle)
            try:
                await asyncio.get_running_loop().connect_accepted_socket(arriving, connection)
            except OSError:
                connection.close()
        if not desk.attended:  # it was no websocket's handshake, or is gone already
            desk.over(None)


class _Arriving(asyncio.Protocol):
    """A connection on its way into this process: it is taken before anything is read of it."""

    def __init__(self, take: Callable[[asyncio.Transport, bytes, str], None], order: Take) -> None:
        self._take, self._order = take, order

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        try:
            self._take(transport, self._order.head, self._order.peer)
        except Exception:  # such as a socket that has gone meanwhile
            log.exception("stream.failed", "A connection could not be taken over.")
            transport.abort()


class DistantDesk:
    """The desk of one stream as its carrier sees it, with the switchboard at the other end of the line."""

    def __init__(self, worker: Worker, number: int) -> None:
        self.door = on_picows.PhoneDoor(self)
        self.attended = False
        self._worker = worker
        self._number = number
        self._call: Live | None = None
        self._broken = False
        self._answer: asyncio.Future[Admission | None] = asyncio.get_running_loop().create_future()
        self._asking: asyncio.Task[None] | None = None
        self._unwritten: list[asyncio.Future[None]] = []  # answered in this order

    # The stream comes.

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        return True  # the switchboard has let it in

    def attend(self, socket: Socket) -> Coroutine[Any, Any, None]:
        self.attended = True
        return self._worker.carrier.attend(socket, self)

    # What its carrier asks and tells.

    def refused(self, reason: str) -> None:
        self._worker.tell(messages.Refused(self._number, reason))

    async def accept(self, start: twilio.Start, carry: Callable[[Admission], L]) -> L | None:
        self._worker.tell(messages.Shown(self._number, start))
        admission = await self._answer
        if admission is None:
            return None
        self._broken = True
        call = self._call = carry(admission)
        self._broken = False
        return call

    def remember(self, row: Remember) -> None:
        self._worker.tell(messages.Row(self._number, row))

    def written(self) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unwritten.append(done)
        self._worker.tell(messages.Write(self._number))
        return done

    def measure(self, number: Measure) -> None:
        self._worker.tell(messages.Measured(self._number, number))

    def watch(self, message: str | bytes) -> None:
        worker = self._worker
        if worker.watched and isinstance(message, str) and len(message) <= SEEN_LIMIT and not worker.behind:
            worker.tell(messages.Seen(self._number, message))

    def over(self, reason: str | None) -> None:
        """A call that could not even begin is lost: it may come back."""
        self._worker.tell(Over(self._number, LOST if self._broken else reason))
        del self._worker.desks[self._number]
        self._call = None  # it knows us, like the door: all go at once, without the collector
        del self.door

    # What the switchboard says.

    def hear(self, order: Admitted | End | Lose | Ask | Written) -> None:
        """An order comes after the admission, which its carrier takes up in the next round of the loop."""
        loop = asyncio.get_running_loop()
        if isinstance(order, Admitted):
            self._answer.set_result(messages.admission_of(order))
        elif isinstance(order, Written):
            if not (done := self._unwritten.pop(0)).done():  # nobody waits so long for a disk
                done.set_result(None)
        elif self._call is None:
            if self._answer.done() and self._worker.desks.get(self._number) is self:
                loop.call_soon(self.hear, order)
        elif isinstance(order, End):
            self._call.end(order.reason)
        elif isinstance(order, Lose):
            self._call.lose(order.cause)
        else:
            self._asking = loop.create_task(self._tell_standing(self._call))

    async def _tell_standing(self, call: Live) -> None:
        self._worker.tell(messages.Stands(self._number, await call.standing()))


def main() -> None:
    """Settings come from the environment alone. Signals are the bridge's: who stops a whole group of
    processes must not cut the calls that the bridge still waits for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # SIG_IGN would hold for the programs that tools run, too
    parser = argparse.ArgumentParser(prog="python -m ops.apps.worker")
    parser.add_argument("--fd", type=int, required=True, help="the line to the switchboard")
    parser.add_argument("--dialect", required=True, help="the module of what the model speaks")
    options = parser.parse_args()
    end, dialect = socket.socket(fileno=options.fd), import_module(options.dialect)
    end.set_inheritable(False)
    settings = Settings.load(Path.cwd(), files=False)
    journal.setup("websocket-worker", settings.logs, level=settings.log_level, secrets=settings.secrets)
    import uvloop

    async def work() -> None:
        await Worker(settings, end, cast(Dialect, dialect)).run()

    uvloop.new_event_loop().run_until_complete(work())
    journal.close()
    os._exit(0)  # the kernel closes the calls' sockets at once: nobody is left to say goodbye for


if __name__ == "__main__":
    main()
