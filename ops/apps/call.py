"""Carries out one call: two sockets around one Session. It decides nothing and knows no message."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ops.apps import wav_file
from ops.apps.actions import (
    NOTHING,
    Action,
    Agent,
    CloseModel,
    Hangup,
    Measure,
    Note,
    OpenModel,
    Remember,
    RunTool,
    Spent,
    ToModel,
    ToPhone,
    Transfer,
)
from ops.apps.carriage import Standing
from ops.apps.conduct import remembered
from ops.apps.dialect import Dialect
from ops.apps.dialogue import Entry, Used
from ops.apps.passing import Piece
from ops.apps.recording import Recording
from ops.apps.session import LOST, Session
from ops.apps.tools import Toolbox
from ops.apps.transports import Address, Closed, NotOpened, Passage, Socket
from ops.config import Settings
from ops.errors import OpsError
from ops.journal.hops import Hop
from ops.journal.write import logger
from ops.net.retry import Policy
from ops.vendors.openai.events import Audio
from ops.vendors.twilio import wire as phone

AWAKE = 1.0  # seconds between two looks at a side that does not take what it is sent
TOGETHER = 0.1  # seconds: all calls look whether all goes on at the same multiples of it, in one waking
FINISHED_WITHIN = 0.7  # seconds that a tool has when its stream was lost: hardly a call is back sooner
TOOL = "tool"  # the name of the tasks that run one
WRITTEN_WITHIN = 1.0  # seconds that a tool waits for the disk
STRAINED = 5.0  # seconds in which a phone that takes nothing must begin to
DIALLED = "The call to my colleague is over. Goodbye."  # said also where the colleague does not answer
Dial = Callable[[Address], Awaitable[Socket]]

log = logger(__name__)


class Call:
    """A live call, from its accepted start message until both sockets are closed.

    `dial` opens sockets to the model, which speaks `dialect`; `record_in` is the folder for a recording, None
    for no recording. `remember` gets the rows that must outlive this process, `written` waits until they are
    on the disk; `measure` gets the numbers for the metrics, `watch` each message of the model that is not
    audio.
    """

    def __init__(
        self,
        socket: Socket,
        start: phone.Start,
        settings: Settings,
        agent: Agent,
        dial: Dial,
        dialect: Dialect,
        *,
        record_in: Path | None,
        toolbox: Toolbox | None = None,
        past: tuple[Entry, ...] = (),
        turns: int = 0,
        resumed: bool = False,
        spent: Spent = NOTHING,
        remember: Callable[[Remember], None] = lambda row: None,
        written: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
        measure: Callable[[Measure], None] = lambda number: None,
        watch: Callable[[str | bytes], None] = lambda message: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # names the call in the journal
        self._names = {"call_sid": start.call_sid, "stream_sid": start.stream_sid}
        self.began = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()  # an Event would hold 700 bytes
        self._socket = socket
        self._settings = settings
        self._dial = dial
        self._dialect = dialect
        self._decode = dialect.decode  # looked up once: it is called for each frame
        self._record_in = record_in
        self._toolbox = toolbox or Toolbox()
        self._remember, self._written, self._measure, self._watch = remember, written, measure, watch
        self._recording = Recording() if record_in else None
        policy = Policy(limit=settings.max_retries_websocket, first=settings.retry_interval, cap=5.0)
        self._asleep = Session(
            start, agent, self.began, self._recording,
            dialect=dialect, past=past, turns=turns, resumed=resumed, spent=spent, policy=policy,
        )  # fmt: skip
        self._model: Socket | None = None
        self._lane: Passage | None = None
        self._sockets: set[Socket] = set()  # of the model, those that may still be open
        self._dialling: asyncio.Task[None] | None = None
        self._over: asyncio.Future[Hangup] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._strained_since: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reason(self) -> str | None:
        """Why the call has ended; None while it lives."""
        return self._asleep.ended

    @property
    def _session(self) -> Session:
        """The session, awake: told first of what passed without it."""
        if self._lane is not None and (passed := self._lane.stop()) is not None:
            self._asleep.passed(passed)
        return self._asleep

    def _let_pass(self) -> None:
        """Until something else comes, frames need not wake the session."""
        if self._lane is not None:
            self._lane.start(*self._asleep.passing())

    async def standing(self) -> Standing:
        """How the call stands."""
        return Standing(self._loop.time() - self._session.frame_at, self.reason)

    async def run(self) -> None:
        """Carries the call to its end and leaves nothing open."""
        self._carry_out(self._session.begin())
        self._socket.deliver_to(self._from_phone, self._phone_closed)
        self._set_timer()
        try:
            hangup = await self._over
        except asyncio.CancelledError:
            hangup = Hangup(1001, "the bridge is shutting down")
            self._session.end(hangup.reason, hangup.code, self._loop.time())
            raise
        finally:
            await self._close(hangup)
            self.closed.set_result(None)

    def end(self, reason: str) -> None:
        """Ends the call from outside."""
        self._carry_out(self._session.end(reason, 1000, self._loop.time()))

    def lose(self, cause: str) -> None:
        """The stream is dead although its socket does not say so: another one has come for the call."""
        self._carry_out(self._session.phone_lost(cause, self._loop.time()))

    def _carry_out(self, actions: Iterable[Action]) -> bool:
        """Whether there was more to carry out than frames to pass on."""
        more = False
        for action in actions:
            kind = type(action)
            if kind is ToPhone:
                # Audio that a phone does not take now would be stale later. A clear would not, nor the few
                # marks, which are waited for.
                if not self._socket.strained or not phone.is_media(action.text):  # type: ignore[union-attr]
                    self._socket.send(action.text)  # type: ignore[union-attr]
            elif kind is ToModel:
                if self._model is not None:
                    self._model.send(action.text)  # type: ignore[union-attr]
            else:
                more = True
                self._carry_out_more(action)
        return more

    def _carry_out_more(self, action: Action) -> None:
        match action:
            case Note():
                self._write_down(action)
            case Measure():
                self._measure(action)
            case Remember():
                self._remember(action)
            case OpenModel(generation):
                self._close_model()
                self._dialling = self._start(self._open_model, generation)
            case CloseModel():
                self._close_model()
            case RunTool():
                self._start(self._run_tool, action).set_name(TOOL)
            case Transfer(number):
                self._start(self._transfer, number)
            case Hangup():
                if not self._over.done():
                    self._over.set_result(action)

    def _happened(self, actions: Iterable[Action]) -> None:
        """Carry out what follows, and wake when the session wants to be woken next."""
        self._carry_out(actions)
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake no later than the session asks; too early does no harm. Until then frames may pass."""
        if not self._over.done():
            self._wake_by(self._session.wake_at())
            self._let_pass()

    def _wake_by(self, at: float) -> None:
        if self._timer is not None:
            if self._wakes_at <= at:
                return
            self._timer.cancel()
        self._wakes_at = at
        self._timer = self._loop.call_at(at, self._on_timer, context=self._context)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._goes_on(now):
            return
        self._happened(self._session.on_time(now))
        if self._socket.strained:
            self._wake_by(now + AWAKE)
        if self._strained(now):
            self._happened(self._session.phone_lost("it does not take what it is sent", now))
        if self._model is not None and self._model.strained:
            self._happened(self._session.model_lost("it does not take what it is sent", now))

    def _goes_on(self, now: float) -> bool:
        """Whether all goes on: frames have passed, and put off what the session wanted to be woken for."""
        lane, model = self._lane, self._model
        if lane is None or model is None or model.strained:
            return False
        if self._socket.strained or self._strained_since is not None:
            return False
        if (passed := lane.tell()) is None:
            return False
        self._asleep.passed(passed)
        if (at := self._asleep.wake_at()) <= now:
            return False
        self._wake_by(at if at - now < TOGETHER else at - at % TOGETHER)
        return True

    def _strained(self, now: float) -> bool:
        if not self._socket.strained:
            self._strained_since = None
        elif self._strained_since is None:
            self._strained_since = now
        return self._strained_since is not None and now - self._strained_since >= STRAINED

    # The phone.

    def _from_phone(self, message: str | bytes) -> None:
        if self._over.done():
            return
        now = self._loop.time()
        try:
            if isinstance(message, str):
                decoded = phone.decode(message)
            else:
                decoded = phone.Garbage("expected text, got binary")
            if type(decoded) is phone.Media:  # fifty a second: they bring nothing forward
                told = self._session.caller_audio(decoded, now)
                if isinstance(told, str):
                    if self._model is not None:
                        self._model.send(told)
                        if self._model.strained:
                            self._wake_by(now + AWAKE)
                    self._let_pass()
                elif told:
                    self._carry_out(told)
                    self._set_timer()
            elif self._carry_out(self._session.on_phone(decoded, now)) or type(decoded) is not phone.Mark:
                self._set_timer()
        except Exception:
            self._crashed()

    def _phone_closed(self, closed: Closed) -> None:
        if not self._over.done():
            self._happened(self._session.phone_lost(f"code {closed.code}", self._loop.time()))

    async def _transfer(self, number: str) -> None:
        from ops.vendors.twilio.client import Twilio

        def update() -> None:
            with Twilio.of(self._settings) as twilio:
                twilio.transfer(self._names["call_sid"], number, DIALLED)

        problem = None
        try:
            await asyncio.to_thread(update)
        except OpsError as error:
            problem = error.message
        self._happened(self._session.transferred(problem, self._loop.time()))

    # The model.

    async def _open_model(self, generation: int) -> None:
        settings, key = self._settings, self._settings.openai_api_key
        began = self._loop.time()
        try:
            url, headers = self._dialect.address(
                settings.openai_realtime_url, settings.openai_model, key.reveal() if key else ""
            )
            socket = await self._dial(Address(url, headers, settings.timeout_websocket_connection))
        except NotOpened as problem:
            final = self._dialect.final(problem.status, problem.cause)
            now = self._loop.time()
            self._happened(self._session.model_lost(problem.cause, now, generation, final=final))
            return
        now = self._loop.time()
        self._model = socket
        self._sockets.add(socket)
        self._happened(self._session.model_connected(now, now - began, generation))
        stream, nul = self._names["stream_sid"], "\0"
        self._lane = self._socket.lane_to(
            socket,
            Piece(*self._dialect.PIECE),
            self._dialect.append(nul),
            phone.media(stream, nul),
            phone.mark(stream, nul),
        )
        socket.deliver_to(
            partial(self._from_model, generation), partial(self._model_closed, socket, generation)
        )

    def _close_model(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._model is not None:
            self._leave_lane()
            self._start(self._model.close, 1000, "done")
            self._model = None

    def _leave_lane(self) -> None:
        """No frame passes any more; the session is told of those that have."""
        _ = self._session
        self._lane = None
        for socket in (self._socket, *self._sockets):
            socket.leave_lane()

    def _from_model(self, generation: int, message: str | bytes) -> None:
        if self._over.done():
            return
        now = self._loop.time()
        try:
            event = self._decode(message)
            if type(event) is Audio:  # fifty a second as well
                if self._socket.strained:
                    self._wake_by(now + AWAKE)
                told = self._session.on_agent_audio(event, now, generation)
                if isinstance(told, str):
                    if not self._socket.strained:
                        self._socket.send(told)
                    self._let_pass()
                    return
                if not self._carry_out(told):
                    if (at := self._session.sends_at) is not None:
                        self._wake_by(at)
                    self._let_pass()
                    return
            else:
                self._carry_out(self._session.on_model(event, now, generation))
                self._watch(message)
            self._set_timer()
        except Exception:
            self._crashed()

    def _model_closed(self, socket: Socket, generation: int, closed: Closed) -> None:
        self._sockets.discard(socket)
        if self._model is socket:
            self._leave_lane()
            self._model = None
        if not self._over.done():
            final = self._dialect.final(closed.code, closed.reason)
            now = self._loop.time()
            self._happened(self._session.model_lost(str(closed), now, generation, final=final))

    async def _run_tool(self, asked: RunTool) -> None:
        """Runs it when the disk knows of it: else it could run again in a call that was killed and came back.
        A disk that fails or takes too long loses this certainty, not the call."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_WITHIN):
                await self._written()
        began = self._loop.time()
        output, problem = await self._toolbox.run(asked.name, asked.arguments)
        now = self._loop.time()
        fields = {"tool": asked.name, "ms": round((now - began) * 1000), "problem": problem}
        level = "WARNING" if problem else "INFO"
        log.hop(Hop.TOOL_RETURNED, problem or f"{asked.name} returned.", level=level, **fields)
        if self._over.done():  # the next stream of this call will tell the model
            self._remember(remembered(Used(asked.call_id, asked.name, asked.arguments, output)))
            return
        self._happened(self._session.tool_done(asked.call_id, output, now))

    # Both.

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(self._guarded(work, arguments), context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(
        self, work: Callable[..., Coroutine[Any, Any, None]], arguments: tuple[Any, ...]
    ) -> None:
        try:
            await work(*arguments)
        except Exception:
            self._crashed()

    def _crashed(self) -> None:
        """A bug must not leave the caller in silence: it is logged, and the call ends."""
        log.exception("call.crashed", "A part of the call failed.", **self._names)
        self._carry_out(self._session.end("an internal error", 1011, self._loop.time()))

    async def _close(self, hangup: Hangup) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._leave_lane()
        if self.reason == LOST:
            await self._let_tools_finish()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(socket.close(1000, "done") for socket in self._sockets))
        log.hop(Hop.MODEL_CLOSED, "", at_ms=round((self._loop.time() - self.began) * 1000))
        await self._socket.close(hangup.code, hangup.reason[:120])
        self._sockets.clear()
        if self._recording is not None and self._record_in is not None:
            await asyncio.to_thread(wav_file.save, self._recording, self._record_in)
        self._write_down(self._session.summary(self._loop.time()))

    async def _let_tools_finish(self) -> None:
        """Until none runs any more, or the call may be back."""
        if running := [task for task in self._tasks if task.get_name() == TOOL]:
            await asyncio.wait(running, timeout=FINISHED_WITHIN)

    def _write_down(self, note: Note) -> None:
        fields = {**self._names, **note.fields}
        if isinstance(note.event, Hop):
            log.hop(note.event, note.message, level=note.level, **fields)
        else:
            log.at(note.level, note.event, note.message, **fields)
