"""Twenty thousand mutated frames from each side into live calls; a million a side with --long.

The calls run whole, over sockets in memory and on a clock that the test turns: the other side is healthy, so
that the frames meet every state of a call, and at the end nothing of any call may be left.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import random
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.apps.actions import Agent
from ops.apps.call import Call
from ops.apps.transports import Address, NotOpened, Socket
from ops.config import Settings
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone
from tests.apps.test_call import READY, Memory

SOUND = base64.b64encode(b"\x50" * 160).decode()
START = phone.Start("MZ1", "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
MEDIA = {"event": "media", "media": {"payload": SOUND, "timestamp": "20"}}
PHONE: list[dict[str, Any]] = [
    *[MEDIA] * 30,
    *[{"event": "mark", "mark": {"name": "0:20"}}] * 5,
    *[{"event": "dtmf", "dtmf": {"digit": "1"}}] * 5,
    {"event": "connected", "protocol": "Call"},
    {
        "event": "start",
        "start": {
            "accountSid": START.account_sid,
            "callSid": START.call_sid,
            "streamSid": "MZ1",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"ticket": "t"},
        },
    },
    {"event": "stop", "stop": {}},
]
QUIET = json.dumps(
    {"event": "media", "media": {"payload": base64.b64encode(b"\xff" * 160).decode(), "timestamp": "20"}}
)
SIDE = {"format": {"type": "audio/pcmu"}}
MODEL: list[dict[str, Any]] = [
    {"type": "session.created", "session": {"id": "s"}},
    {"type": "session.updated", "session": {"audio": {"input": SIDE, "output": SIDE}}},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 100, "item_id": "u"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "u"},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "u", "transcript": "well"},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1500, "item_id": "v"},
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": SOUND},
    {"type": "response.output_audio_transcript.delta", "item_id": "i", "delta": "yes"},
    {"type": "response.output_audio_transcript.done", "item_id": "i", "transcript": "yes"},
    {
        "type": "response.output_item.done",
        "item": {"type": "function_call", "call_id": "c", "name": "hang_up", "arguments": "{}"},
    },
    {
        "type": "response.output_item.done",
        "item": {"type": "function_call", "call_id": "d", "name": "lookup", "arguments": "{}"},
    },
    {"type": "response.done", "response": {"id": "r", "status": "completed"}},
    {
        "type": "response.done",
        "response": {"id": "r", "status": "failed", "usage": {"input_token_details": {}}},
    },
    {"type": "error", "error": {"type": "x", "code": "session_expired", "message": "m"}},
]
ODD: list[Any] = [
    None, True, -1, 0, 1e308, float("inf"), float("nan"), 10**400, "", "\ud800", "\u202e", '"}', "x" * 3000,
    [], {}, [[[]]], {"a": {}},
]  # fmt: skip


def mutated(frame: Any, dice: random.Random) -> Any:
    """The frame with one value somewhere in it replaced, removed or doubled."""
    if not isinstance(frame, dict) or not frame or dice.random() < 0.15:
        return dice.choice(ODD)
    key = dice.choice(list(frame))
    kind = dice.random()
    if kind < 0.2:
        return {name: value for name, value in frame.items() if name != key}
    return {**frame, key: mutated(frame[key], dice) if kind < 0.8 else dice.choice(ODD)}


def frames(valid: list[dict[str, Any]], count: int, dice: random.Random) -> Any:
    for _ in range(count):
        text = json.dumps(dice.choice(valid))
        kind = dice.random()
        if kind < 0.2:
            yield text
        elif kind < 0.75:
            yield json.dumps(mutated(json.loads(text), dice))
        elif kind < 0.9:
            at = dice.randrange(len(text))
            yield (
                text[:at]
                + chr(dice.choice((0, 34, 91, 123, 0xFFFD, 0x1F600))) * dice.choice((1, 3, 500))
                + text[at:]
            )
        else:
            yield dice.randbytes(dice.randrange(60))


class Turned(asyncio.SelectorEventLoop):
    """An event loop whose clock the test turns."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Line:
    """One call after the other, and whatever they opened."""

    def __init__(self, root: Path, dice: random.Random, loop: Turned) -> None:
        self.dice, self.loop = dice, loop
        self.settings = Settings.load(root, {}, files=False)
        lines = dict.fromkeys(("agent-moment", "agent-apology", "agent-goodbye"), (SOUND,))
        self.agent = Agent("x", "y", "z", lines=lines)
        self.models: list[Memory] = []
        self.greeted: Memory | None = None
        self.calls: list[weakref.ref[Call]] = []
        self.reached: set[str] = set()
        self.root = root

    async def dial(self, address: Address) -> Socket:
        if self.dice.random() < 0.05:
            raise NotOpened("refused")
        self.models.append(Memory())
        return self.models[-1]

    def begin(self) -> None:
        self.caller = Memory()
        self.call = Call(
            self.caller, START, self.settings, self.agent, self.dial, model, record=False, folder=self.root
        )
        self.task = self.loop.create_task(self.call.run())
        self.calls.append(weakref.ref(self.call))

    async def step(self, side: str, frame: str | bytes) -> None:
        """A frame of the side that is fuzzed; the other side does what a healthy one does."""
        self.loop.now += 0.02
        caller, upstream = self.caller, self.models[-1] if self.models else None
        if side == "phone":
            caller.says(frame)  # type: ignore[arg-type]
        else:
            caller.says(self.dice.choice((json.dumps(MEDIA), QUIET)))
            if upstream is not None and upstream.closed is None:
                upstream.says(frame)  # type: ignore[arg-type]
        if upstream is not None and upstream.closed is None:
            if upstream is not self.greeted:
                self.greeted = upstream
                upstream.says(json.dumps(MODEL[0]))
            elif side == "phone" and self.dice.random() < 0.3:
                upstream.says(json.dumps(self.dice.choice(MODEL[1:-1])))
        for text in caller.sent:
            event = json.loads(text)["event"]
            self.reached.add(event)
            if event == "mark" and self.dice.random() < 0.8:
                caller.says(text)
        caller.sent.clear()
        for socket in self.models:
            sent, socket.sent = [json.loads(text)["type"] for text in socket.sent], []
            self.reached.update(sent)
            if "session.update" in sent:
                socket.says(READY)
        await asyncio.sleep(0)
        if self.call.reason is not None:
            await self.end()
            self.begin()

    async def end(self) -> None:
        """The call is over: its task ends, and no session of the model is open any more."""
        self.call.end("enough")
        while not self.task.done():
            self.loop.now += 0.02
            await asyncio.sleep(0)
        self.task.result()
        assert self.call.reason != "an internal error"
        assert all(socket.closed is not None for socket in self.models)
        self.models.clear()
        self.greeted = None
        if len(self.calls) > 500:
            self.none_is_left()

    def none_is_left(self) -> None:
        """No call is alive but the last one, which this line itself holds."""
        gc.collect()
        self.calls = [call for call in self.calls if call() is not None]
        assert len(self.calls) <= 1


@pytest.fixture
def unlogged() -> Iterator[None]:
    """What a million frames make the calls tell would fill the memory that is measured."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("side", ["phone", "model"])
def test_no_frame_breaks_a_call(side: str, root: Path, request: pytest.FixtureRequest) -> None:
    """Nothing raises, whatever is sent on is JSON; no session, task or call is left, and the memory is bounded."""
    count = 1_000_000 if request.config.getoption("--long") else 20_000
    dice = random.Random(7)

    async def scenario(loop: Turned) -> tuple[set[str], int]:
        line = Line(root, dice, loop)
        line.begin()
        calls, warm = 1, 0
        for number, frame in enumerate(frames(PHONE if side == "phone" else MODEL, count, dice)):
            before = line.task
            await line.step(side, frame)
            calls += line.task is not before
            if number == count // 4:
                gc.collect()
                warm = psutil.Process().memory_info().rss
        await line.end()
        grown = psutil.Process().memory_info().rss - warm
        print(
            f"{count} frames of the {side}, {calls} calls; {grown / 1e6:.1f} MB grown; {sorted(line.reached)}"
        )
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert grown < 16e6
        line.none_is_left()
        return line.reached, calls

    with asyncio.Runner(loop_factory=Turned) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Turned)
        reached, calls = runner.run(scenario(loop))
    assert calls > 20
    assert reached >= {"media", "mark", "clear", "input_audio_buffer.append", "response.create"}
