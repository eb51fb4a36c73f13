"""Callers who stay on the line while something is done to the hosts, and others who ring meanwhile.

They are the phones of the bridge's bench: signed webhook, media stream, fifty frames a second each way, and
an echo of the model that proves that the call is alive.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ops.bench.bridge.load import Load, soon
from ops.bench.bridge.phone import Door
from ops.bench.shipping.model import AnsweringModel
from ops.bench.shipping.result import Lived

EVERY = 0.25  # seconds between two new calls
HEARD = 5.0  # seconds in which a new call must hear its echo
PATIENCE = 60.0  # seconds for the callers to come up, or to hang up


class Callers:
    """Calls that live in a thread of their own while this one does something else."""

    def __init__(self, load: Load, loop: asyncio.AbstractEventLoop) -> None:
        self._load = load
        self._loop = loop

    def model(self, address: str) -> str:
        """The model's URL, for who reaches it at this address."""
        return f"ws://{address}:{self._load.model.port}/v1/realtime"

    @property
    def model_port(self) -> int:
        return self._load.model.port

    @contextmanager
    def on_the_line(self, door: Door, calls: int) -> Iterator[Lived]:
        """So many callers talk until this ends, and new ones ring; what is given is complete afterwards.

        Raises NotUp where the first ones are not taken.
        """
        lived, over = Lived(), asyncio.Event()
        self._wait(self._load.bring_up(door, calls))
        talk = asyncio.run_coroutine_threadsafe(_talk(self._load, door, lived, over), self._loop)
        try:
            yield lived
        finally:
            self._loop.call_soon_threadsafe(over.set)
            talk.result(PATIENCE)
            self._wait(_all_leave(self._load))

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@contextmanager
def callers(address: str, trust: ssl.SSLContext | None = None) -> Iterator[Callers]:
    """Callers to be, and what they trust; and their model, which listens on this address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="callers", daemon=True)
    thread.start()
    try:
        load = Load(address=address, trust=trust)
        load.model = AnsweringModel(load.calls)
        asyncio.run_coroutine_threadsafe(load.__aenter__(), loop).result(PATIENCE)
        try:
            yield Callers(load, loop)
        finally:
            asyncio.run_coroutine_threadsafe(load.__aexit__(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _talk(load: Load, door: Door, lived: Lived, over: asyncio.Event) -> None:
    first = list(load.phones)
    lived.calls = len(first)
    watch = asyncio.create_task(_listen(load, lived, over))
    ringing: list[asyncio.Task[None]] = []
    while not over.is_set():
        ringing.append(asyncio.create_task(_ring(load, door, lived)))
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), EVERY)
    await asyncio.gather(watch, *ringing)
    lived.dropped = sum(phone.gone.is_set() for phone in first)


async def _all_leave(load: Load) -> None:
    """All hang up, and their connections are closed: afterwards nobody may be there to close them."""
    phones = list(load.phones)
    await load.hang_up()
    await soon(lambda: all(phone.gone.is_set() for phone in phones), HEARD)


async def _listen(load: Load, lived: Lived, over: asyncio.Event) -> None:
    """The longest time without an echo, of any of the first calls that live."""
    last = {phone: (phone.page.last, time.monotonic()) for phone in load.phones}
    while not over.is_set():
        await asyncio.sleep(0.02)
        now = time.monotonic()
        for phone, (number, at) in last.items():
            if phone.page.last != number:
                last[phone] = (phone.page.last, now)
            elif not phone.gone.is_set():
                lived.silence = max(lived.silence, now - at)


async def _ring(load: Load, door: Door, lived: Lived) -> None:
    """One more call: taken, heard, and hung up again."""
    lived.new += 1
    try:
        phone = await load.add(door)
    except Exception as problem:  # whatever a request or a handshake can fail with
        lived.refused.append(f"{type(problem).__name__}: {problem}")
        return
    if not await soon(lambda: phone.page.last >= 0 or phone.gone.is_set(), HEARD) or phone.gone.is_set():
        lived.refused.append("taken, and then nothing was heard")
    await load.remove(phone)
    await soon(phone.gone.is_set, HEARD)
