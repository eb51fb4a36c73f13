"""What a call does about a side that takes nothing any more; its sockets are in memory."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from ops.apps.actions import Agent, Remember
from ops.apps.call import Call
from ops.apps.session import LOST
from ops.apps.tools import Toolbox, tool
from ops.apps.transports import Address, Socket
from ops.config import Settings
from ops.vendors.openai import wire
from ops.vendors.twilio import wire as phone

START = phone.Start("MZ" + "0" * 32, "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
SIDE = {"format": {"type": wire.FORMAT}}
READY = json.dumps({"type": "session.updated", "session": {"audio": {"input": SIDE, "output": SIDE}}})
QUIET = json.dumps(
    {"event": "media", "media": {"timestamp": "0", "payload": base64.b64encode(b"\xff" * 160).decode()}}
)
SOUND = base64.b64encode(bytes(range(0x20, 0x70)) * 2).decode()
DELTA = json.dumps(
    {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": SOUND}
)
CALLS = json.dumps(
    {
        "type": "response.output_item.done", "response_id": "r",
        "item": {
            "type": "function_call", "call_id": "c", "name": "lookup", "status": "completed", "arguments": "{}",
        },
    }
)  # fmt: skip


class Memory(Socket):
    """A socket whose other side is the test."""

    def __init__(self) -> None:
        super().__init__("test")
        self.sent: list[str] = []

    def send(self, text: str) -> None:
        self.sent.append(text)

    def says(self, text: str) -> None:
        self._came(text)

    def _send_close(self, code: int, reason: str) -> None:
        self._ended(code, reason)

    def _abort(self) -> None:
        self._ended(None, "dropped")


async def until(what: Callable[[], Any], caller: Memory) -> None:
    """Until something is so; meanwhile the caller is on the line, and silent."""
    async with asyncio.timeout(20):
        while not what():
            caller.says(QUIET)
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.apps.call.STRAINED", 0.1)
    monkeypatch.setattr("ops.apps.call.AWAKE", 0.02)


async def talking(root: Path, **options: Any) -> tuple[Call, Memory, list[Memory], asyncio.Task[None]]:
    """A call whose model is ready: the call, the phone, the sockets that were dialled, the call's task."""
    caller, models = Memory(), list[Memory]()

    async def dial(address: Address) -> Socket:
        models.append(Memory())
        return models[-1]

    agent = Agent("kind", "marin", "gpt-transcribe")
    settings = Settings.load(root, {}, files=False)
    call = Call(caller, START, settings, agent, dial, wire, record_in=None, **options)
    task = asyncio.create_task(call.run())
    await until(lambda: models, caller)
    models[0].says('{"type":"session.created","session":{"id":"s","model":"m"}}')
    await until(lambda: models[0].sent, caller)
    models[0].says(READY)
    return call, caller, models, task


def test_a_phone_that_takes_nothing_is_lost(root: Path) -> None:
    """What it does not take is not kept for it; after its time the call lets both sides go."""

    async def scenario() -> None:
        call, caller, models, task = await talking(root)
        models[0].says(DELTA)
        await until(lambda: caller.sent, caller)
        caller.strained, before = True, len(caller.sent)
        models[0].says(DELTA)
        await until(task.done, caller)
        assert len(caller.sent) == before
        assert call.reason == LOST
        assert models[0].closed is not None
        assert len(models) == 1

    asyncio.run(scenario())


def test_a_phone_that_takes_nothing_is_still_told_to_be_silent(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only audio is not kept for it: its marks come back, so that it is known what was heard, and who interrupts
    the agent empties its buffer."""
    monkeypatch.setattr("ops.apps.call.STRAINED", 60.0)

    async def scenario() -> None:
        call, caller, models, task = await talking(root)
        models[0].says(DELTA)
        await until(lambda: caller.sent, caller)
        caller.strained, before = True, len(caller.sent)
        for _ in range(9):  # with them a fifth of a second, which has a mark
            models[0].says(DELTA)
        (mark,) = caller.sent[before:]
        assert json.loads(mark)["event"] == "mark"
        caller.says(mark)
        models[0].says('{"type":"input_audio_buffer.speech_started","audio_start_ms":100,"item_id":"u"}')
        assert [json.loads(text)["event"] for text in caller.sent[before:]] == ["mark", "clear"]
        (cut,) = [text for text in models[0].sent if "truncate" in text]
        assert json.loads(cut)["audio_end_ms"] == 200
        call.end("enough")
        await asyncio.wait_for(task, 20)

    asyncio.run(scenario())


def test_a_phone_that_takes_its_audio_again_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause shorter than the limit costs the call nothing, and the next one counts anew."""
    monkeypatch.setattr("ops.apps.call.STRAINED", 60.0)

    async def scenario() -> None:
        call, caller, models, task = await talking(root)
        caller.strained = True
        models[0].says(DELTA)  # what it does not take makes the call look again soon
        await until(lambda: call._strained_since is not None, caller)
        caller.strained = False
        await until(lambda: call._strained_since is None, caller)
        assert call.reason is None
        models[0].says(DELTA)
        await until(lambda: caller.sent, caller)
        call.end("enough")
        await asyncio.wait_for(task, 20)

    asyncio.run(scenario())


def test_a_model_that_takes_nothing_is_replaced(root: Path) -> None:
    """Another session is opened and told everything; the caller's call goes on."""

    async def scenario() -> None:
        call, caller, models, task = await talking(root)
        models[0].says(
            '{"type":"response.done","response":{"id":"r","status":"cancelled"}}'
        )  # nothing is due
        models[0].strained = True
        await until(lambda: len(models) == 2, caller)
        await until(lambda: models[0].closed is not None, caller)
        models[1].says('{"type":"session.created","session":{"id":"s2","model":"m"}}')
        await until(lambda: models[1].sent, caller)
        models[1].says(READY)
        models[1].says(DELTA)
        await until(lambda: caller.sent, caller)
        assert call.reason is None
        call.end("enough")
        await asyncio.wait_for(task, 20)
        assert models[1].closed is not None

    asyncio.run(scenario())


def test_a_call_that_is_over_needs_no_collector(root: Path) -> None:
    """It goes as it ends, with all that it held: thousands of dead calls would wait for the collector."""

    async def scenario() -> None:
        call, caller, models, task = await talking(root)
        models[0].says(DELTA)
        await until(lambda: caller.sent, caller)
        held = [ref(one) for one in (call, caller, models[0])]
        call.end("enough")
        await task
        call = caller = models = task = None  # type: ignore[assignment]
        await asyncio.sleep(0)
        assert [one() for one in held] == [None] * 3

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


@pytest.mark.parametrize("lost", [True, False])
def test_a_tool_that_runs_when_the_stream_is_lost_may_finish(root: Path, lost: bool) -> None:
    """What it returns is written down for the next stream, which tells the model; a call that is over for good lets
    it go at once."""

    async def scenario() -> None:
        running, may_return, rows = asyncio.Event(), asyncio.Event(), list[Remember]()

        @tool
        async def lookup() -> str:
            "Looks something up."
            running.set()
            await may_return.wait()
            return "nine"

        call, caller, models, task = await talking(root, toolbox=Toolbox([lookup]), remember=rows.append)
        models[0].says(CALLS)
        await asyncio.wait_for(running.wait(), 20)
        if lost:
            caller._abort()
        else:
            caller.says('{"event":"stop"}')
        assert call.reason == (LOST if lost else "the caller hung up")
        may_return.set()
        await asyncio.wait_for(task, 20)
        assert [row.fields["entry"].get("output") for row in rows] == [None, "nine"][: 1 + lost]

    asyncio.run(scenario())


def test_a_tool_that_does_not_finish_in_time_holds_up_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call may be back by then: it is told that nobody knows."""
    monkeypatch.setattr("ops.apps.call.FINISHED_WITHIN", 0.01)

    async def scenario() -> None:
        running, left, rows = asyncio.Event(), asyncio.Event(), list[Remember]()

        @tool
        async def lookup() -> str:
            "Looks something up."
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()
            return ""

        _, caller, models, task = await talking(root, toolbox=Toolbox([lookup]), remember=rows.append)
        models[0].says(CALLS)
        await asyncio.wait_for(running.wait(), 20)
        caller._abort()
        await asyncio.wait_for(task, 20)
        assert left.is_set()
        assert [row.fields["entry"]["output"] for row in rows] == [None]

    asyncio.run(scenario())
