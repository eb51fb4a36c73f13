"""Bytes through a tunnel, both ways, once a request has become a websocket: where its faults strike."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any

from ops.vendors.faults import Armed
from ops.vendors.ngrok.simulator import http1
from ops.vendors.ngrok.simulator.faults import pieces

LINGER_SECONDS = 5.0  # what the other direction gets after one has ended


async def pipe(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
    fault: Armed | None,
) -> None:
    """Bytes both ways until both ends are done; a broken side breaks the other, as a tunnel does."""

    async def run(way: Coroutine[Any, Any, None]) -> None:
        try:
            await way
        except ConnectionError:
            writer.transport.abort()
            up_writer.transport.abort()

    moved = [time.monotonic()]  # when bytes passed last, either way
    ways = [
        asyncio.create_task(run(_copy(reader, up_writer, fault, moved))),
        asyncio.create_task(run(_copy(up_reader, writer, None, moved))),
    ]
    if fault is not None and fault.fault.name == "idle":
        ways.append(asyncio.create_task(run(_watch(moved, fault.numbers["seconds"]))))
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(ways, timeout=LINGER_SECONDS)
    finally:
        await cancelled(*ways)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Armed | None, moved: list[float]
) -> None:
    name = fault.fault.name if fault else ""
    numbers = fault.numbers if fault else {}
    chance = random.Random(fault.seed if fault else 0)
    passed = 0
    while data := await reader.read(http1.PIECE):
        moved[0] = time.monotonic()
        passed += len(data)
        if name in ("reset", "stall") and passed >= numbers["after_bytes"]:
            if name == "reset":
                raise ConnectionResetError("asked for by a fault")
            name = ""
            await asyncio.sleep(numbers["seconds"])
        for piece in pieces(data, int(numbers["most"]), chance) if name == "slice" else (data,):
            writer.write(piece)
            await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _watch(moved: list[float], seconds: float) -> None:
    """Breaks a connection on which nothing passed either way for so long."""
    left = seconds
    while True:
        await asyncio.sleep(left)
        left = moved[0] + seconds - time.monotonic()
        if left <= 0:
            raise ConnectionResetError("idle, as asked for by a fault")


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
