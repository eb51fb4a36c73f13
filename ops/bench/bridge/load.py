"""The load: callers who speak on an even clock, a model that echoes, and proof of the load's own pace."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import Callable

from ops.bench.bridge.book import HUSH, SETTLE, Calls, Window
from ops.bench.bridge.echo import EchoModel
from ops.bench.bridge.frames import payloads
from ops.bench.bridge.phone import ANSWERED_WITHIN, Door, Phone
from ops.errors import OpsError
from ops.speech import library

FRAME = 0.020  # seconds
PHASES = 20  # groups of callers, a millisecond apart
AT_ONCE = 8  # calls that are being opened
UP = 15.0  # seconds in which every call must hear its echo
KEPT = 2.0  # seconds that an idle connection to the door is kept: less than any door keeps it
LAST = 2.0  # seconds in which the last frames must have come back
LOOK = 0.02  # seconds between two looks


class NotUp(OpsError):
    """The calls could not all be brought up."""


class Load:
    """Calls on one bridge. To be used as `async with`."""

    def __init__(
        self,
        certificate: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.calls = Calls()
        self.model = EchoModel(self.calls)
        self.phones: list[Phone] = []
        self._certificate = certificate
        self._address = address  # where the model listens
        self._trust = trust  # what the phones believe of the door
        self._speech = payloads(library.line("caller-price").audio)
        self._groups: list[list[Phone]] = [[] for _ in range(PHASES)]
        self._turn = 0
        self._due = 0.0
        self._hushed = False
        self._tick: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Load:
        import httpx

        await self.model.listen(self._certificate, self._address)
        self._client = httpx.AsyncClient(
            timeout=ANSWERED_WITHIN,
            limits=httpx.Limits(keepalive_expiry=KEPT),
            trust_env=False,
            verify=self._trust or True,
        )
        self._loop = asyncio.get_running_loop()
        self._due = time.monotonic()
        self._on_tick()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tick is not None:
            self._tick.cancel()
        await self.hang_up()
        await self._client.aclose()
        self.model.close()

    async def bring_up(self, door: Door, count: int) -> None:
        """Bring so many calls up, and hear each; raises NotUp."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with free:
                await self.add(door)

        done = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
        if problems := [problem for problem in done if isinstance(problem, BaseException)]:
            raise NotUp(
                f"{len(problems)} of {count} calls were not taken; the first: {problems[0]}",
                fix="fewer calls, or read the bridge's output",
            )
        if not await soon(lambda: all(phone.page.last >= 0 for phone in self.phones), UP):
            deaf = sum(phone.page.last < 0 for phone in self.phones)
            raise NotUp(f"{deaf} of {count} calls heard nothing for {UP:g} s", fix="fewer calls")

    async def add(self, door: Door) -> Phone:
        """One more call."""
        phone = Phone(self.calls, self._speech)
        try:
            await phone.call(door, self._client, self._trust)
        except BaseException:
            self.calls.close(phone.page)
            raise
        self.phones.append(phone)
        min(self._groups, key=len).append(phone)
        return phone

    async def window(self, seconds: float, at_ends: Callable[[], None] = lambda: None) -> Window:
        """Time the frames of so many seconds, after a hush and a while of speech. `at_ends` is called
        at its beginning and at its end."""
        self._hushed = True
        await asyncio.sleep(HUSH)
        self._hushed = False
        gc.collect()
        gc.disable()
        try:
            await asyncio.sleep(SETTLE)
            at_ends()
            self.calls.begin()
            await asyncio.sleep(seconds)
            self.calls.end()
            at_ends()
            await soon(lambda: not self.calls.missing, LAST)
            return self.calls.window()
        finally:
            self.calls.measuring = False
            gc.enable()

    async def remove(self, phone: Phone, *, politely: bool = True) -> None:
        """A caller hangs up."""
        phone.hang_up(politely=politely)
        self.phones.remove(phone)
        for group in self._groups:
            if phone in group:
                group.remove(phone)
        self.calls.close(phone.page)

    async def hang_up(self) -> None:
        """All callers hang up, every other one without a word."""
        for number, phone in enumerate(list(self.phones)):
            await self.remove(phone, politely=number % 2 == 0)

    def set_back(self, phase: float) -> None:
        """All frames come so much of a phase later from now on: two loads shall not always meet alike."""
        self._due += phase * FRAME / PHASES

    def _on_tick(self) -> None:
        """Each group's frame at its own time; what is overdue at once, and it counts as late."""
        while self._due <= (now := time.monotonic()):
            for phone in () if self._hushed else self._groups[self._turn]:
                phone.speak(self._due)
            self._turn = (self._turn + 1) % PHASES
            self._due += FRAME / PHASES
        self._tick = self._loop.call_later(self._due - now, self._on_tick)


async def soon(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes true within so many seconds."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(LOOK)
    return True
