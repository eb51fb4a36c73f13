"""Carries out one call: two sockets around one Session. It decides nothing and knows no message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.apps.actions import (
    Action,
    Agent,
    CloseModel,
    Hangup,
    Measure,
    Note,
    OpenModel,
    Remember,
    RunTool,
    ToModel,
    ToPhone,
    Transfer,
)  # fmt: skip
from ops.apps.recording import Recording
from ops.apps.session import Session
from ops.apps.tools import Toolbox
from ops.config import Settings
from ops.errors import OpsError, Unreachable
from ops.journal.hops import Hop
from ops.journal.write import logger
from ops.net.retry import Policy
from ops.net.websocket import Change, ReconnectingWebSocket, State
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from ops.apps.dialogue import Entry

QUEUED_MESSAGES = 2000  # for a socket that does not take them: about 40 s of audio, then the call ends
AWAKE = 1.0  # seconds between two looks at the clock at most
FINAL = frozenset({401, 403, 404, 3000, 4000})  # HTTP statuses and close codes that trying again cannot help

log = logger(__name__)


class Call:
    """A live call, from its accepted start message until both sockets are closed.

    `remember` gets the rows that must outlive this process, `measure` the numbers for the metrics,
    `watch` each message of the model that is not audio.
    """

    def __init__(
        self,
        socket: WebSocket,
        start: phone.Start,
        settings: Settings,
        agent: Agent,
        *,
        record: bool,
        folder: Path,
        toolbox: Toolbox | None = None,
        past: tuple[Entry, ...] = (),
        turns: int = 0,
        resumed: bool = False,
        remember: Callable[[Remember], None] = lambda row: None,
        measure: Callable[[Measure], None] = lambda number: None,
        watch: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self.frame_at = self.began
        self.closed = asyncio.Event()
        self._socket = socket
        self._sid = start.call_sid
        self._settings = settings
        self._folder = folder
        self._toolbox = toolbox or Toolbox()
        self._remember, self._measure, self._watch = remember, measure, watch
        self._recording = Recording() if record else None
        policy = Policy(limit=settings.max_retries_websocket, first=settings.retry_interval, cap=5.0)
        self._session = Session(
            start, agent, self.began, self._recording, past=past, turns=turns, resumed=resumed, policy=policy
        )
        self._model: ReconnectingWebSocket | None = None
        self._sockets: set[ReconnectingWebSocket] = set()  # those that may still be open
        self._to_phone: asyncio.Queue[str] = asyncio.Queue(QUEUED_MESSAGES)
        self._to_model: asyncio.Queue[str] = asyncio.Queue(QUEUED_MESSAGES)
        self._over: asyncio.Future[Hangup] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reason(self) -> str | None:
        """Why the call has ended; None while it lives."""
        return self._session.ended

    async def run(self) -> None:
        """Carries the call to its end and leaves nothing open."""
        self._start(self._read_phone)
        self._start(self._write, self._to_phone, self._socket.send_text)
        self._carry_out(self._session.begin())
        try:
            hangup = await self._over
        except asyncio.CancelledError:
            hangup = Hangup(1001, "the bridge is shutting down")
            self._session.end(hangup.reason, hangup.code, self._loop.time())
            raise
        finally:
            await self._close(hangup)
            self.closed.set()

    def end(self, reason: str) -> None:
        """Ends the call from outside: shutdown, or Twilio's word that it is over."""
        self._carry_out(self._session.end(reason, 1000, self._loop.time()))

    def lose(self, cause: str) -> None:
        """The stream is dead although its socket does not say so: another one has come for the call."""
        self._carry_out(self._session.phone_lost(cause, self._loop.time()))

    def _carry_out(self, actions: Iterable[Action], *, wake: bool = True) -> None:
        for action in actions:
            match action:
                case ToPhone(text):
                    self._queue(self._to_phone, text)
                case ToModel(text):
                    self._queue(self._to_model, text)
                case Note():
                    _write_down(action)
                case Measure():
                    self._measure(action)
                case Remember():
                    self._remember(action)
                case OpenModel(generation):
                    self._open_model(generation)
                case CloseModel():
                    self._close_model()
                case RunTool():
                    self._start(self._run_tool, action)
                case Transfer(number):
                    self._start(self._transfer, number)
                case Hangup():
                    if not self._over.done():
                        self._over.set_result(action)
        if wake:
            self._set_timer()

    def _queue(self, queue: asyncio.Queue[str], text: str) -> None:
        try:
            queue.put_nowait(text)
        except asyncio.QueueFull:
            if not self._over.done():
                self._over.set_result(Hangup(1011, "the other side does not take its messages"))

    def _set_timer(self) -> None:
        """Wake no later than the session asks; too early does no harm."""
        if self._over.done():
            return
        wake_at = min(self._session.wake_at(), self._loop.time() + AWAKE)
        if self._timer is not None:
            if self._timer.when() <= wake_at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(wake_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self._session.on_time(self._loop.time()))

    # The phone.

    async def _read_phone(self) -> None:
        while True:
            message = await self._socket.receive()
            now = self.frame_at = self._loop.time()
            if message["type"] == "websocket.disconnect":
                self._carry_out(self._session.phone_lost(f"code {message.get('code')}", now))
                return
            text = message.get("text")
            decoded = phone.decode(text) if text is not None else phone.Garbage("expected text, got binary")
            frame = isinstance(decoded, phone.Media)  # fifty a second: these never make anything due at once
            self._carry_out(self._session.on_phone(decoded, now), wake=not frame or self._timer is None)

    async def _transfer(self, number: str) -> None:
        from ops.vendors.twilio.client import Twilio

        def update() -> None:
            with Twilio.of(self._settings) as twilio:
                twilio.redirect(self._sid, phone.dial(number))

        problem = None
        try:
            await asyncio.to_thread(update)
        except OpsError as error:
            problem = error.message
        self._carry_out(self._session.transferred(problem, self._loop.time()))

    # The model.

    def _open_model(self, generation: int) -> None:
        self._close_model()
        settings, key = self._settings, self._settings.openai_api_key
        self._to_model = asyncio.Queue(QUEUED_MESSAGES)
        self._model = ReconnectingWebSocket(
            f"{settings.openai_realtime_url}?model={settings.openai_model}",
            headers={"Authorization": f"Bearer {key.reveal()}"} if key else {},
            policy=Policy(limit=0),  # whether there is another try is the session's to say
            timeout=settings.timeout_websocket_connection,
        )
        self._sockets.add(self._model)
        self._start(self._read_model, self._model, generation, self._to_model)

    def _close_model(self) -> None:
        if self._model is not None:
            self._start(self._let_go, self._model)
            self._model = None

    async def _let_go(self, socket: ReconnectingWebSocket) -> None:
        with suppress(Exception):
            await asyncio.wait_for(socket.close(1000, "done"), 2.0)

    async def _read_model(
        self, socket: ReconnectingWebSocket, generation: int, queue: asyncio.Queue[str]
    ) -> None:
        writer: asyncio.Task[None] | None = None
        try:
            async for message in socket.stream():
                now = self._loop.time()
                if not isinstance(message, Change):
                    event = model.decode(message)
                    if not isinstance(event, model.Audio) and isinstance(message, str):
                        self._watch(message)
                    self._carry_out(self._session.on_model(event, now, generation))
                elif message.state is State.OPEN:
                    self._carry_out(self._session.model_connected(now, message.handshake, generation))
                    writer = self._start(self._write, queue, socket.send)
                elif message.state in (State.FAILED, State.WAITING):
                    final = message.code in FINAL or any(code in message.cause for code in model.FATAL_CODES)
                    self._carry_out(self._session.model_lost(message.cause, now, generation, final=final))
                    break
            self._sockets.discard(socket)
        finally:
            if writer is not None:
                writer.cancel()

    async def _run_tool(self, asked: RunTool) -> None:
        began = self._loop.time()
        output, problem = await self._toolbox.run(asked.name, asked.arguments)
        now = self._loop.time()
        fields = {"tool": asked.name, "ms": round((now - began) * 1000), "problem": problem}
        level = "WARNING" if problem else "INFO"
        log.hop(Hop.TOOL_RETURNED, problem or f"{asked.name} returned.", level=level, **fields)
        self._carry_out(self._session.tool_done(asked.call_id, output, now))

    # Both.

    async def _write(self, queue: asyncio.Queue[str], send: Any) -> None:
        with suppress(Unreachable, RuntimeError, OSError):  # the reader of that socket tells why
            while True:
                await send(await queue.get())

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> asyncio.Task[None]:
        task = self._loop.create_task(self._guarded(work, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(
        self, work: Callable[..., Coroutine[Any, Any, None]], arguments: tuple[Any, ...]
    ) -> None:
        """A bug must not leave the caller in silence: it is logged, and the call ends."""
        try:
            await work(*arguments)
        except Exception:
            log.exception("call.crashed", "A part of the call failed.")
            self._carry_out(self._session.end("an internal error", 1011, self._loop.time()))

    async def _close(self, hangup: Hangup) -> None:
        if self._timer is not None:
            self._timer.cancel()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._let_go(socket) for socket in self._sockets))
        log.hop(Hop.MODEL_CLOSED, "", at_ms=round((self._loop.time() - self.began) * 1000))
        with suppress(Exception):
            await asyncio.wait_for(self._socket.close(hangup.code, hangup.reason[:120]), 2.0)
        if self._recording is not None:
            await asyncio.to_thread(_save, self._recording, self._folder)
        _write_down(self._session.summary(self._loop.time()))


def _write_down(note: Note) -> None:
    if isinstance(note.event, Hop):
        log.hop(note.event, note.message, level=note.level, **note.fields)
    else:
        log.at(note.level, note.event, note.message, **note.fields)


def _save(recording: Recording, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = len(list(folder.glob("call*.wav")))  # of streams that were lost
        part = folder / "call.wav.part"
        part.write_bytes(recording.wav())
        part.replace(folder / (f"call-{earlier + 1}.wav" if earlier else "call.wav"))
    except OSError as problem:
        log.warning("recording.lost", f"The recording could not be written: {problem.strerror}.")
