"""Twenty thousand mutated frames from each side into live calls; a million a side with --long.

The calls run whole, over sockets in memory and on a clock that the test turns: the other side is healthy, so
that the frames meet every state of a call, and at the end nothing of any call may be left.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.apps.actions import Agent, Remember
from ops.apps.call import Call
from ops.apps.callbook import page_of
from ops.apps.tools import HANG_UP, TRANSFER, Toolbox, tool
from ops.apps.transports import Address, NotOpened, Socket
from ops.config import Settings
from ops.errors import OpsError
from ops.journal.drain import OURS
from ops.vendors.openai import wire as model
from tests.apps.fuzzed import CREATED, KEY, LOUD, MODEL, PHONE, QUIET, SOUND, SPOKEN, START, VOICE, frames
from tests.apps.test_call import READY, Memory

COLLEAGUE = "+12025550142"
LINES = dict.fromkeys(("agent-moment", "agent-apology", "agent-goodbye", "agent-transfer"), (SOUND,))


class Turned(asyncio.SelectorEventLoop):
    """An event loop whose clock the test turns. What is meant for a thread runs at once: threads would make
    the order of things another one each time."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: None, function: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        ran: asyncio.Future[Any] = self.create_future()
        try:
            ran.set_result(function(*arguments))
        except Exception as problem:
            ran.set_exception(problem)
        return ran


class Line:
    """One call after the other, and whatever they opened."""

    def __init__(self, root: Path, dice: random.Random, loop: Turned) -> None:
        self.dice, self.loop = dice, loop
        self.settings = Settings.load(root, {}, files=False)
        self.toolbox = Toolbox((tool(self.lookup), tool(self.fails)))
        self.models: list[Memory] = []
        self.greeted: Memory | None = None
        self.calls: list[weakref.ref[Call]] = []
        self.reached: set[str] = set()
        self.root = root
        self.rows: list[str] = []  # of the call's file
        self.lost = False  # the last call's stream: the next one goes on with its history

    def lookup(self, day: str, count: int = 1) -> str:
        """A tool that works."""
        self.reached.add("tool")
        return day * count

    def fails(self) -> None:
        """A tool that does not."""
        self.reached.add("broken tool")
        raise ValueError("no")

    def transfer(self, sid: str, number: str, afterwards: str) -> None:
        """Twilio's part in a transfer."""
        self.reached.add("transfer")
        if self.dice.random() < 0.3:
            raise OpsError("Twilio does not answer.", fix="Wait.")

    async def dial(self, address: Address) -> Socket:
        chance = self.dice.random()
        if chance < 0.05:
            raise NotOpened("refused", 401 if chance < 0.002 else 503)
        self.models.append(Memory())
        return self.models[-1]

    def begin(self) -> None:
        dice = self.dice
        agent = Agent(
            "x", "y", "z",
            max_seconds=dice.choice((3600.0, 3600.0, 3.0)),
            max_dollars=dice.choice((5.0, 5.0, 0.1)),
            model="gpt-realtime",
            greets=dice.random() < 0.8,
            tools=(*self.toolbox.definitions, HANG_UP, TRANSFER),
            transfer_to=dice.choice((COLLEAGUE, None)),
            lines=LINES if dice.random() < 0.9 else {},
        )  # fmt: skip
        page = page_of(self.rows) if self.lost else page_of(())
        self.lost, self.rows = dice.random() < 0.3, []
        self.caller = Memory()
        self.call = Call(
            self.caller, START, self.settings, agent, self.dial, model,
            record_in=self.root if dice.random() < 0.1 else None, toolbox=self.toolbox,
            past=page.entries, turns=page.turns, resumed=bool(page.entries),
            remember=self.remember,
        )  # fmt: skip
        self.task = self.loop.create_task(self.call.run())
        self.calls.append(weakref.ref(self.call))

    def remember(self, row: Remember) -> None:
        if self.lost:
            self.rows.append(json.dumps({"event": row.event, **row.fields}))

    async def step(self, side: str, frame: str | bytes) -> None:
        """A frame of the side that is fuzzed; the other side does what a healthy one does."""
        self.loop.now += 0.02
        caller, upstream = self.caller, self.models[-1] if self.models else None
        if side == "phone":
            caller.says(frame)  # type: ignore[arg-type]
        else:
            caller.says(json.dumps(self.dice.choice((LOUD, VOICE, QUIET))))
            if self.dice.random() < 0.01:
                caller.says(json.dumps(KEY))
            if upstream is not None and upstream.closed is None:
                upstream.says(frame)  # type: ignore[arg-type]
        if upstream is not None and upstream.closed is None:
            if upstream is not self.greeted:
                self.greeted = upstream
                upstream.says(json.dumps(CREATED))
            elif side == "phone" and self.dice.random() < 0.3:
                upstream.says(json.dumps(self.dice.choice(SPOKEN)))
        if self.dice.random() < 0.001:
            self.loop.now += self.dice.choice((2.0, 4.9))  # nobody says anything for a while
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
        for recording in self.root.glob("call*.wav"):
            self.reached.add("recording")
            recording.unlink()
        if len(self.calls) > 500:
            self.none_is_left()

    def none_is_left(self) -> None:
        """No call is alive but the last one, which this line itself holds."""
        gc.collect()
        self.calls = [call for call in self.calls if call() is not None]
        assert len(self.calls) <= 1


class Switch:
    """Twilio's REST client, as far as a transfer needs it."""

    def __init__(self, line: Line) -> None:
        self.transfer = line.transfer

    def __enter__(self) -> Switch:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("side", ["phone", "model"])
def test_no_frame_breaks_a_call(
    side: str, root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing raises, whatever is sent on is JSON; no session, task or call is left, and the memory is bounded."""
    count = 1_000_000 if request.config.getoption("--long") else 20_000
    dice = random.Random(7)
    # pytest keeps each record that reaches it: a million frames make the calls tell more than is measured here.
    # Set now, since it also listens to what does not propagate when a test begins.
    monkeypatch.setattr(OURS, "propagate", False)
    monkeypatch.setattr("ops.apps.conduct.DICE", dice)  # what was found once is found again

    async def scenario(loop: Turned) -> tuple[set[str], int]:
        line = Line(root, dice, loop)
        monkeypatch.setattr("ops.vendors.twilio.client.Twilio.of", lambda settings: Switch(line))
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
        gc.collect()
        grown = psutil.Process().memory_info().rss - warm
        print(
            f"{count} frames of the {side}, {calls} calls; {grown / 1e6:.1f} MB grown; {sorted(line.reached)}"
        )
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert grown < (16e6 if count > 20_000 else 2e6)
        line.none_is_left()
        return line.reached, calls

    with asyncio.Runner(loop_factory=Turned) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Turned)
        reached, calls = runner.run(scenario(loop))
    assert calls > 20
    assert reached >= {"media", "mark", "clear", "input_audio_buffer.append", "response.create"}
    assert reached >= {"tool", "broken tool", "transfer", "recording", "conversation.item.truncate"}
