"""The event loop of a process that carries calls: how late it is, and what must not stop it often."""

from __future__ import annotations

import asyncio
import gc
from collections import deque

LOOK = 0.2  # seconds: each look is a waking of its own
COLLECTED_AFTER = (20_000, 20, 50)  # objects, and rounds of the younger generations


async def watch(lags: deque[float]) -> None:
    """Measures how late the event loop is, five times a second."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK
        await asyncio.sleep(LOOK)
        lags.append(max(0.0, loop.time() - due))


def collect_seldom() -> None:
    """What is alive now stays, and a frame leaves no cycles: the collector need not stop calls so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
