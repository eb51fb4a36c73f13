"""Carries out one call: two sockets around one Session. It decides nothing and knows no message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.apps.recording import Recording
from ops.apps.session import Action, Agent, Hangup, Note, OpenModel, Session, ToModel, ToPhone
from ops.config import Settings
from ops.errors import Unreachable
from ops.journal.hops import Hop
from ops.journal.write import logger
from ops.net.retry import Policy
from ops.net.websocket import Change, ReconnectingWebSocket, State
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

QUEUED_MESSAGES = 2000  # for a socket that does not take them: about 40 s of audio, then the call ends

log = logger(__name__)


class Call:
    """A live call, from its accepted start message until both sockets are closed."""

    def __init__(
        self, socket: WebSocket, start: phone.Start, settings: Settings, *, record: bool, folder: Path
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self._socket = socket
        self._folder = folder
        self._recording = Recording() if record else None
        agent = Agent(
            settings.openai_instructions,
            settings.openai_voice,
            settings.openai_transcription_model,
            settings.max_seconds_per_call,
        )
        self._session = Session(start, agent, self.began, self._recording)
        key = settings.openai_api_key
        self._model = ReconnectingWebSocket(
            f"{settings.openai_realtime_url}?model={settings.openai_model}",
            headers={"Authorization": f"Bearer {key.reveal()}"} if key else {},
            policy=Policy(limit=settings.max_retries_websocket, first=settings.retry_interval),
            timeout=settings.timeout_websocket_connection,
        )
        self._to_phone: asyncio.Queue[str] = asyncio.Queue(QUEUED_MESSAGES)
        self._to_model: asyncio.Queue[str] = asyncio.Queue(QUEUED_MESSAGES)
        self._over: asyncio.Future[Hangup] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

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

    def end(self, reason: str) -> None:
        """Ends the call from outside: shutdown, or Twilio's word that it is over."""
        self._carry_out(self._session.end(reason, 1000, self._loop.time()))

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case ToPhone(text):
                    self._queue(self._to_phone, text)
                case ToModel(text):
                    self._queue(self._to_model, text)
                case Note():
                    _write_down(action)
                case OpenModel():
                    self._start(self._read_model)
                case Hangup():
                    if not self._over.done():
                        self._over.set_result(action)
        self._set_timer()

    def _queue(self, queue: asyncio.Queue[str], text: str) -> None:
        try:
            queue.put_nowait(text)
        except asyncio.QueueFull:
            if not self._over.done():
                self._over.set_result(Hangup(1011, "the other side does not take its messages"))

    def _set_timer(self) -> None:
        wake_at = self._session.wake_at()
        if self._timer is not None:
            if self._timer.when() == wake_at:
                return
            self._timer.cancel()
        self._timer = None if self._over.done() else self._loop.call_at(wake_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self._session.on_time(self._loop.time()))

    async def _read_phone(self) -> None:
        while True:
            message = await self._socket.receive()
            now = self._loop.time()
            if message["type"] == "websocket.disconnect":
                self._carry_out(self._session.phone_lost(f"code {message.get('code')}", now))
                return
            text = message.get("text")
            decoded = phone.decode(text) if text is not None else phone.Garbage("expected text, got binary")
            self._carry_out(self._session.on_phone(decoded, now))

    async def _read_model(self) -> None:
        opened = False
        async for message in self._model.stream():
            now = self._loop.time()
            if not isinstance(message, Change):
                self._carry_out(self._session.on_model(model.decode(message), now))
            elif message.state is State.OPEN:
                opened = True
                self._carry_out(self._session.model_connected(now, message.handshake))
                self._start(self._write, self._to_model, self._model.send)
            elif message.state is State.FAILED or (opened and message.state is State.WAITING):
                self._carry_out(self._session.model_lost(message.cause, now))
                return
            elif message.state is State.WAITING:
                fields = {"cause": message.cause, "attempt": message.attempt}
                log.warning("model.retry", f"The model could not be reached: {message.cause}.", **fields)

    async def _write(self, queue: asyncio.Queue[str], send: Any) -> None:
        with suppress(Unreachable, RuntimeError, OSError):  # the reader of that socket tells why
            while True:
                await send(await queue.get())

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        self._tasks.append(self._loop.create_task(self._guarded(work, arguments)))

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Exception):
            await asyncio.wait_for(self._model.close(1000, "call ended"), 2.0)
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
        part = folder / "call.wav.part"
        part.write_bytes(recording.wav())
        part.replace(folder / "call.wav")
    except OSError as problem:
        log.warning("recording.lost", f"The recording could not be written: {problem.strerror}.")
