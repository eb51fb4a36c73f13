"""Calls come and go for a while, and the bridge's memory is watched."""

from __future__ import annotations

import asyncio
import random
import time

from ops.bench.bridge.designs import Running
from ops.bench.bridge.load import Load, soon
from ops.bench.bridge.result import Churn
from ops.errors import OpsError

LASTS = (2.0, 12.0)  # seconds of a call
LOOKS = 240  # at the memory, over the whole time
CLOSED = 2.0  # seconds after the last hang-up until the model's sessions must be closed


async def churn(load: Load, bridge: Running, seconds: float, at_once: int, dice: random.Random) -> Churn:
    """So many calls at once, each followed by the next one; every other one ends without a word."""
    began = time.monotonic()
    counts = {"calls": 0, "failed": 0}
    looks: list[tuple[float, float]] = []

    async def line() -> None:
        await asyncio.sleep(dice.uniform(0, min(LASTS[0], seconds / 2)))
        while time.monotonic() - began < seconds:
            counts["calls"] += 1
            try:
                phone = await load.add(bridge.door)
            except OpsError:
                counts["failed"] += 1
                continue
            await asyncio.sleep(min(dice.uniform(*LASTS), max(0.5, seconds)))
            counts["failed"] += phone.gone.is_set() or phone.page.last < 0  # ended by the bridge, or deaf
            await load.remove(phone, politely=dice.random() < 0.5)

    async def look() -> None:
        while True:
            looks.append((time.monotonic() - began, bridge.own_kib))
            await asyncio.sleep(max(0.2, seconds / LOOKS))

    watching = asyncio.create_task(look())
    try:
        await asyncio.gather(*(line() for _ in range(at_once)))
    finally:
        watching.cancel()
    within = tuple((at, kib) for at, kib in looks if at <= seconds)  # the last calls only end
    await soon(lambda: not load.model.open, CLOSED)
    return Churn(seconds, at_once, counts["calls"], counts["failed"], len(load.model.open), within)
