"""One call's life: it is queued, rings, is answered, runs TwiML, and ends; everybody is told.

Sources: Twilio, "TwiML for Programmable Voice" and "Call resource".
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ops.journal import write as journal
from ops.speech import g711
from ops.vendors.twilio.simulator import calls, twiml, verbs
from ops.vendors.twilio.simulator.caller import STAY, Caller, Done, Step
from ops.vendors.twilio.simulator.calls import Call, Status
from ops.vendors.twilio.simulator.debugger import Alert
from ops.vendors.twilio.simulator.documents import Documents, Source
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.history import History
from ops.vendors.twilio.simulator.line import Line, Quality
from ops.vendors.twilio.simulator.reports import Reports
from ops.vendors.twilio.simulator.stream import MediaStream

if TYPE_CHECKING:
    from ops.vendors.twilio.simulator.exchange import Exchange

BETWEEN_DOCUMENTS = 0.05  # seconds: a document that redirects to itself must not hammer its server
TRIAL = twiml.Say("You have a trial account. You can remove this message by upgrading to a full account.")
log = journal.logger("twilio.simulator.phone")


@dataclass(frozen=True)
class Person:
    """Who is at a number and what they do when it rings."""

    steps: tuple[Step, ...] = (STAY,)
    answers: str = "answers"  # or busy, no-answer, fails
    ring_ms: int = 200
    quality: Quality = field(default_factory=Quality)


class Phone:
    """One leg of a call, from its making to its end."""

    def __init__(self, call: Call, person: Person, exchange: Exchange, delay: float = 0.0) -> None:
        self.call = call
        self.person = person
        self.exchange = exchange
        self.history = History()
        self.line: Line | None = None
        self.streams: list[MediaStream] = []
        self.keys: asyncio.Queue[str] = asyncio.Queue()
        edges = (exchange.requester, exchange.faults, self.history, self.notice)
        self.documents, self.reports = Documents(*edges), Reports(*edges)
        loop = self._loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[bool] = loop.create_future()
        self.ended: asyncio.Future[Status] = loop.create_future()
        self._answered_ms = 0.0
        self._final: Status = "completed"
        self._redirect: Source | None = None
        self._verbs: asyncio.Task[Source | None] | None = None
        self._told = 0  # status callbacks so far
        self._notified = False  # a trial account's callers hear a notice first
        self._timers: list[asyncio.TimerHandle] = []
        self._beside: set[asyncio.Task[object]] = set()
        self._queued_at = loop.time()
        self.history.note("call.queued", direction=call.direction)
        self.task = loop.create_task(self._run(delay))
        self.task.add_done_callback(lambda _: self._end())

    # The person and REST act on a call through these.

    def hang_up(self, by: str, status: Status = "completed") -> None:
        """End the call from either side, whatever it is doing."""
        if not self.ended.done() and not self.call.final:
            self.history.note("hang-up", by=by)
            self._final = status
            self.task.cancel()

    def redirect(self, source: Source) -> None:
        """Run other TwiML from now on."""
        self._redirect = source
        if self._verbs:
            self._verbs.cancel()

    def report_to(self, told: calls.Instructions) -> None:
        """Send the status callbacks to come somewhere else."""
        changed = replace(
            self.call.instructions,
            status_callback=told.status_callback,
            status_method=told.status_method,
            status_events=told.status_events,
        )
        self.call = replace(self.call, instructions=changed)

    def notice(self, notice: Notice) -> None:
        """One more line of the debugger."""
        self.history.error(notice)
        alert = Alert(self.exchange.new_sid("NO"), self.call.sid, notice, calls.utc_now())
        self.exchange.debugger.add(alert)
        log.warning("call.error", notice.message, call_sid=self.call.sid, code=notice.code)

    # The life.

    async def _run(self, delay: float) -> None:
        try:
            if delay:
                await asyncio.sleep(delay)
            self.call = replace(self.call, queue_ms=round((self._loop.time() - self._queued_at) * 1000))
            if self.call.direction == "inbound":
                self._move("ringing")
                await self._converse()
            elif await self._rings():
                self.answer()
                if self.call.direction == "outbound-dial":
                    await self._loop.create_future()  # until somebody hangs up
                await self._converse()
        except asyncio.CancelledError:
            if self._verbs:
                self._verbs.cancel()
        except Exception as problem:  # a bug of ours ends one call, not the exchange
            self._final = "failed"
            self.notice(Notice(12400, f"{type(problem).__name__}: {problem}"))
            log.exception("call.broken", call_sid=self.call.sid)

    async def _rings(self) -> bool:
        """Let the person's phone ring; False when nobody answers."""
        faults, answers = self.exchange.faults, self.person.answers
        patience = self.call.timeout
        self._move("initiated")
        if faults.strikes("call-busy"):
            answers = "busy"
        if (armed := faults.strike("call-no-answer")) is not None:
            answers, patience = "no-answer", armed.numbers["ms"] / 1000
        if faults.strikes("call-fails") or answers == "fails":
            self._final = "failed"
            return False
        self._move("ringing")
        if answers == "no-answer" or self.person.ring_ms / 1000 > patience:
            await asyncio.sleep(patience)
            self._final = "no-answer"
            return False
        await asyncio.sleep(self.person.ring_ms / 1000)
        if answers == "busy":
            self._final = "busy"
            return False
        return True

    def answer(self) -> None:
        """The call is up: the line's clock starts, and the person begins."""
        if self.line is not None:
            return
        faults, quality = self.exchange.faults, self.person.quality
        if (armed := faults.strike("caller-noisy")) is not None:
            quality = replace(quality, noise_dbfs=-armed.numbers["below_dbfs"], seed=armed.seed)
        if (armed := faults.strike("caller-lossy")) is not None:
            quality = replace(quality, loss=armed.numbers["share"], seed=armed.seed)
        self._move("in-progress")
        self._answered_ms = self.history.now_ms
        self.line = Line(
            Caller(self.person.steps),
            quality,
            self.exchange.clock,
            on_key=self._on_key,
            on_hang_up=lambda: self.hang_up("caller"),
            on_speech=self._on_speech,
        )
        self._timers.append(self._loop.call_later(self.call.time_limit, self.hang_up, "time limit"))
        if (armed := faults.strike("caller-vanishes")) is not None:
            self._timers.append(self._loop.call_later(armed.numbers["ms"] / 1000, self.hang_up, "caller"))
        if not self.answered.done():
            self.answered.set_result(True)

    async def _converse(self) -> None:
        """Run TwiML until there is none left, or somebody hangs up."""
        told = self.call.instructions
        source: Source | None = Source(told.url or "", told.method, told.twiml)
        while source is not None:
            earliest = self._loop.time() + BETWEEN_DOCUMENTS
            source = await self._one_document(source)
            if source is not None:
                await asyncio.sleep(earliest - self._loop.time())
        if self.call.status == "ringing" and self._final == "completed":
            self._final = "no-answer"

    async def _one_document(self, source: Source) -> Source | None:
        self._verbs = self._loop.create_task(self._fetch_and_run(source))
        await asyncio.wait({self._verbs})
        if self._redirect is not None:
            redirected, self._redirect = self._redirect, None
            return redirected
        return None if self._verbs.cancelled() else self._verbs.result()

    async def _fetch_and_run(self, source: Source) -> Source | None:
        told = self.call.instructions
        document = await self.documents.read(source, calls.parameters(self.call), told)
        rejects = isinstance(next(iter(document.verbs), None), twiml.Reject)
        if self.exchange.account.trial and not self._notified and not rejects:
            self._notified = True
            document = replace(document, verbs=(TRIAL, *document.verbs))
        return await verbs.run(self, document)

    def _on_key(self, key: str) -> None:
        self.history.note("key")
        self.keys.put_nowait(key)
        for stream in self.streams:
            stream.key(key)

    def _on_speech(self, who: str, speaks: bool, at_ms: int) -> None:
        """Speech is only known to have begun or ended some frames later: `since_ms` is when it did."""
        since = round(self._answered_ms + at_ms, 1)
        self.history.note(f"{who}.{'speaks' if speaks else 'quiet'}", since_ms=since)

    def beside(self, work: Coroutine[Any, Any, object]) -> None:
        """Something that goes on beside the verbs, at most until the call ends."""
        task = self._loop.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    # Telling.

    def _move(self, status: Status) -> None:
        """A new status, and its callback where it was asked for."""
        if self.call.status == status or self.call.final:
            return
        now = calls.utc_now()
        self.call = self.call.at(status, now)
        self.history.note(f"call.{status}")
        told = self.call.instructions
        event = "answered" if status == "in-progress" else "completed" if self.call.final else status
        if told.status_callback and event in told.status_events:
            form = calls.progress(self.call, self._told, now)
            self._told += 1
            self.reports.tell(told.status_method, told.status_callback, form)

    def _end(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for task in self._beside:
            task.cancel()
        for stream in tuple(self.streams):
            stream.end()
        if self.line:
            self.line.close()
        self._move(self._final)
        self.reports.close()
        if not self.answered.done():
            self.answered.set_result(False)
        self.ended.set_result(self.call.status)

    def view(self) -> dict[str, Any]:
        """What `GET /_sim/calls/{sid}` answers."""
        line = self.line
        heard: dict[str, Any] = {"frames": 0, "dbfs": -96.0}
        steps: list[dict[str, Any]] = []
        pacing: dict[str, Any] = {}
        if line:
            frames = line.caller.ear.frames
            heard = {"frames": frames, "dbfs": round(g711.dbfs(line.heard_power / max(1, frames)), 1)}
            steps = [_step(done, self._answered_ms) for done in line.caller.report]
            pacing = {
                "frames": line.pacing.frames,
                "p99_ms": line.pacing.percentile(0.99),
                "worst_ms": round(line.pacing.worst_ms, 2),
            }
        return {
            "call_sid": self.call.sid,
            "created": self.call.created.isoformat(),
            "status": self.call.status,
            "direction": self.call.direction,
            "from": self.call.from_,
            "to": self.call.to,
            "parent_call_sid": self.call.parent_sid,
            "events": self.history.events,
            "steps": steps or [_step_ahead(step) for step in self.person.steps],
            "heard": heard,
            "pacing": pacing,
            "errors": self.history.errors,
        }


def _step_ahead(step: Step) -> dict[str, Any]:
    shown: dict[str, Any] = {"do": step.do, "at_ms": None, "ended_ms": None, "done": None}
    if step.line:
        shown["line"] = step.line
    return shown


def _step(done: Done, offset: float) -> dict[str, Any]:
    return {
        **_step_ahead(done.step),
        "at_ms": None if done.at_ms is None else round(done.at_ms + offset),
        "ended_ms": None if done.ended_ms is None else round(done.ended_ms + offset),
        "done": done.done,
    }
