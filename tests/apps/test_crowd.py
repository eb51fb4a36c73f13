"""Many calls at once, and many one after the other: nobody hears another's words, nothing is left behind."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ops.apps.worker import PULSE
from tests.apps.test_bridge import Model, World, new_call, world

SPEECH = bytes([0x50, 0x53, 0x4F, 0xD1, 0xD2]) * 32


def watermark(call: int, frame: int) -> str:
    """A frame of mu-law that names its call and its place in it."""
    return base64.b64encode(struct.pack(">II", call, frame) + SPEECH[:152]).decode()


class Echo(Model):
    """A model whose answer is what it hears."""

    async def serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        self.open += 1
        side = {"format": {"type": self.format}}
        try:
            await socket.send('{"type":"session.created","session":{}}')
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "session.update":
                    updated: dict[str, Any] = {"audio": {"input": side, "output": side}}
                    await socket.send(json.dumps({"type": "session.updated", "session": updated}))
                elif event["type"] == "response.create":
                    await socket.send('{"type":"response.created","response":{"id":"r"}}')
                elif event["type"] == "input_audio_buffer.append":
                    answer = {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i"}
                    await socket.send(json.dumps({**answer, "delta": event["audio"]}))
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1
            await self._tell()


async def begin(one: World) -> ClientConnection:
    """A call whose stream has been accepted."""
    sid = new_call()
    phone = await one.stream()
    await phone.send(one.start(sid, await one.ticket(sid)))
    return phone


def frame(call: int, number: int) -> str:
    media = {"timestamp": str(20 * number), "payload": watermark(call, number)}
    return json.dumps({"event": "media", "streamSid": "MZ1", "media": media})


async def talk(one: World, call: int, frames: int) -> tuple[int, int, int]:
    """One call that hears itself: frames of its own in order, frames out of order, frames of another's."""
    phone = await begin(one)
    heard: list[tuple[int, int]] = []

    async def listen() -> None:
        async for message in phone:
            event = json.loads(message)
            if event["event"] == "media":
                heard.append(struct.unpack(">II", base64.b64decode(event["media"]["payload"])[:8]))
            elif event["event"] == "mark":
                await phone.send(message)

    listening = asyncio.create_task(listen())
    clock = asyncio.get_running_loop()
    began = clock.time()
    for number in range(frames):
        await phone.send(frame(call, number))
        await asyncio.sleep(max(0.0, began + 0.02 * (number + 1) - clock.time()))
    async with asyncio.timeout(20):
        while len(heard) < frames:
            await asyncio.sleep(0.02)
    await phone.close()
    await listening
    mine = [number for sender, number in heard if sender == call]
    return len(mine), int(mine != sorted(set(mine))), len(heard) - len(mine)


WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@WORKERS
@pytest.mark.timeout(300)
def test_no_call_hears_another(
    workers: str, root: Path, free_ports: Callable[[int], list[int]], request: pytest.FixtureRequest
) -> None:
    """Each call's audio bears its name; each hears all of its own, in order, and nothing of another's."""
    long = bool(request.config.getoption("--long"))
    calls, frames = (100, 1500) if long else (20, 60)

    async def scenario() -> None:
        # a busy machine is slow to show its requests
        many = {"MAX_UNAUTHENTICATED_PER_ADDRESS": "1000", "WEBSOCKET_WORKERS": workers}
        async with world(root, *free_ports(1), model=Echo(), **many) as one:
            heard = await asyncio.gather(*(talk(one, call, frames) for call in range(calls)))
            assert heard == [(frames, 0, 0)] * calls
            await one.model.until(lambda: one.model.open == 0)

    asyncio.run(scenario())


async def pass_by(one: World, dice: random.Random) -> None:
    """A call, or a stranger, that comes and goes in one of the ways in which they do."""
    way = dice.choice(("stop", "close", "drop", "no start", "wrong ticket", "at once"))
    if way in ("no start", "wrong ticket"):
        async with one.stream() as phone:
            if way == "wrong ticket":
                await phone.send(one.start(new_call(), "wrong"))
                await asyncio.wait_for(phone.wait_closed(), 20)
        return
    phone = await begin(one)
    if way != "at once":
        for number in range(3):
            await phone.send(frame(1, number))
        while json.loads(await asyncio.wait_for(phone.recv(), 20))["event"] != "media":
            pass
    if way == "stop":
        await phone.send('{"event":"stop","stop":{}}')
        await asyncio.wait_for(phone.wait_closed(), 20)
    elif way == "drop":
        phone.transport.abort()
    else:
        await phone.close()


async def settled(one: World) -> dict[str, float]:
    """What the bridge's processes hold when no call is live."""
    await one.model.until(lambda: one.model.open == 0)
    async with asyncio.timeout(10):
        while (await one.health()).json()["live_calls"]:
            await asyncio.sleep(0.02)
    processes = psutil.Process(one.process.pid).children(recursive=True)
    if len(processes) > 1:
        await asyncio.sleep(1.1 * PULSE)  # until the workers have told of their tasks
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        page = (await http.get(f"{one.origin}/metrics")).text
    tasks = next(line for line in page.splitlines() if line.startswith("voice_tasks "))
    return {
        "files": sum(one.num_fds() for one in processes),
        "threads": sum(one.num_threads() for one in processes),
        "tasks": float(tasks.split()[1]),
        "mb": sum(one.memory_info().rss for one in processes) / 1e6,
    }


@WORKERS
@pytest.mark.timeout(900)
def test_calls_that_come_and_go_leave_nothing(
    workers: str, root: Path, free_ports: Callable[[int], list[int]], request: pytest.FixtureRequest
) -> None:
    """Six ways to come and go, ten at once: no task, file, thread or session of the model is left, memory is flat.
    With --long as many as an hour of a busy line."""
    long = bool(request.config.getoption("--long"))
    warm, count, grown = (500, 3000, 8.0) if long else (40, 120, 8.0)

    async def scenario() -> None:
        dice = random.Random(5)
        caps = {"MAX_SIGNED_CALLS_PER_HOUR": "100000", "LOG_LEVEL": "ERROR", "WEBSOCKET_WORKERS": workers}
        async with world(root, *free_ports(1), model=Echo(), **caps) as one:

            async def churn(calls: int) -> None:
                todo = iter(range(calls))

                async def line() -> None:
                    for _ in todo:
                        await pass_by(one, dice)

                await asyncio.gather(*(line() for _ in range(10)))

            await churn(warm)
            before = await settled(one)
            await churn(count)
            after = await settled(one)
            print(f"{count} calls came and went: {before} before, {after} after")
            for what, more in {"files": 2, "tasks": 2, "threads": 8}.items():  # the pools fill up first
                assert after[what] <= before[what] + more, what
            assert after["mb"] <= before["mb"] + grown

    asyncio.run(scenario())
