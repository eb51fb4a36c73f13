"""Carries the media streams that were let in, each from its handshake to the end of its call."""

from __future__ import annotations

import asyncio
from functools import partial

from ops.apps import agent_tools, tools
from ops.apps.agent import agent_of
from ops.apps.call import Call, Dial
from ops.apps.carriage import Admission, Desk
from ops.apps.dialect import Dialect
from ops.apps.transports import Closed, Socket
from ops.config import Settings
from ops.journal import write as journal
from ops.journal.hops import Hop
from ops.vendors.twilio import wire as twilio

START_WITHIN = 5.0  # seconds from the handshake to the start message

log = journal.logger(__name__)


class Carrier:
    """Carries streams; `dial` opens sockets to the model, which speaks `dialect`."""

    def __init__(self, settings: Settings, dial: Dial, dialect: Dialect) -> None:
        self.settings = settings
        self._dial = dial
        self._dialect = dialect
        self._toolbox = tools.Toolbox(agent_tools.TOOLS)

    async def attend(self, socket: Socket, desk: Desk) -> None:
        """One media stream that was let in; one that fails is closed, so that its call can come back."""
        try:
            await self._attend(socket, desk)
        except Exception:
            log.exception("stream.failed", "A media stream could not be attended to.")
            await socket.close(1011)

    async def _attend(self, socket: Socket, desk: Desk) -> None:
        """The stream's ticket, and only then anything upstream."""
        call: Call | None = None
        try:
            start = await self._start(socket, desk)
            if start is None:
                return
            with journal.bound(call_sid=start.call_sid, stream_sid=start.stream_sid):
                call = await desk.accept(start, partial(self._call, socket, start, desk))
                if call is None:
                    await socket.close(1008)
                else:
                    await call.run()
        finally:
            desk.over(call.reason if call is not None else None)

    async def _start(self, socket: Socket, desk: Desk) -> twilio.Start | None:
        try:
            async with asyncio.timeout(START_WITHIN):
                return await _start_message(socket)
        except Closed as closed:
            log.info("stream.left", "A signed stream left before its start message.", code=closed.code)
        except (TimeoutError, ValueError) as problem:
            desk.refused(str(problem) or f"no start message within {START_WITHIN:g} s")
            await socket.close(1008)
        return None

    def _call(self, socket: Socket, start: twilio.Start, desk: Desk, admission: Admission) -> Call:
        terms, past = admission.terms, admission.past
        log.hop(Hop.UPGRADED, "The media stream's handshake is rightly signed.")
        log.hop(Hop.STARTED, "The media stream shows the ticket of its call.")
        if past is not None:
            log.hop(Hop.RESUMED, "The call came back with its history.", entries=len(past))
        return Call(
            socket, start, self.settings, agent_of(self.settings, self._toolbox, terms), self._dial,
            self._dialect,
            record_in=self.settings.logs / "calls" / start.call_sid if terms.record else None,
            toolbox=self._toolbox,
            past=past or (),
            turns=admission.turns,
            resumed=admission.resumed,
            spent=admission.spent,
            remember=desk.remember,
            written=desk.written,
            measure=desk.measure,
            watch=desk.watch,
        )  # fmt: skip


async def _start_message(socket: Socket) -> twilio.Start:
    """The stream's start; `connected` may come before it, anything else may not."""
    while True:
        message = twilio.decode(await socket.receive())
        if isinstance(message, twilio.Start):
            return message
        if not isinstance(message, twilio.Connected):
            raise ValueError(f"expected connected and start first, got {type(message).__name__}")
