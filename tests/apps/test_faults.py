"""Real calls through both simulators while something fails: nobody is dropped, nobody hears silence for long.

Every run lets each fault of the table strike one call, all at the same time, and kills the bridge under four; with
--long each strikes twenty calls at once, and the promised times are held by 95 of 100.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from tests.apps.fault_table import ANSWER, FAULTS, GO_ON, PRICE, Fault
from tests.apps.rig import COLLEAGUE, HOURS, REPOSITORY, Rig, rig, until

PATIENT = {"do": "listen", "quiet_ms": 4000, "timeout_ms": 20_000}
LONG = "with --long: twenty calls at once, a quarter of a minute for each fault"
SLACK = 1.0  # seconds that a busy machine may add where one call alone is timed

# A tool that takes a while and leaves a line: the bridge finds it as it finds the ones that are written for it.
TOOL = """
import asyncio
import sys

if "ops.apps.bridge" in sys.orig_argv:
    from ops.apps import agent_tools
    from ops.apps.tools import tool

    @tool
    async def price() -> str:
        "What it costs."
        with open("logs/ran", "a") as file:
            file.write("ran\\n")
        await asyncio.sleep(2.0)
        return "nine"

    agent_tools.TOOLS = (price,)
"""


@dataclass
class Line:
    """A stack for all tests of this file, on one event loop."""

    one: Rig
    run: Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]) -> Iterator[Line]:
    root = tmp_path_factory.mktemp("faults")
    (root / "logs").mkdir()
    (root / "sitecustomize.py").write_text(TOOL)
    rules = json.loads((REPOSITORY / "ops/vendors/openai/simulator/rules.json").read_text())
    rules["heard"]["caller-price"]["call"] = {"name": "price", "arguments": {}}
    rules["after_tool"]["price"] = "agent-hours"
    (root / "rules.json").write_text(json.dumps(rules))
    stack = rig(
        root, free_ports(3), f"--rules={root / 'rules.json'}",
        TWILIO_AGENT_NUMBER=COLLEAGUE, PYTHONPATH=f"{root}:{REPOSITORY}",
        MAX_UNAUTHENTICATED_PER_ADDRESS="1000", RETRY_INTERVAL="1",  # the rest as users have it
    )  # fmt: skip
    with asyncio.Runner() as runner:
        one = runner.run(stack.__aenter__())
        try:
            yield Line(one, runner.run)
        finally:
            runner.run(stack.__aexit__(None, None, None))


async def struck(one: Rig, fault: Fault, calls: int) -> list[str]:
    """So many calls, ringing at once, each of which meets the fault."""
    where = getattr(one, fault.of)
    await one.fault(where, fault.name, 1000 if fault.lasts else calls + fault.spare, **fault.numbers)
    steps = (HOURS[0], fault.says, PATIENT)
    sids = await asyncio.gather(*(one.dial(*steps) for _ in range(calls)))
    if fault.lasts:
        for sid in sids:
            await one.seen(sid, fault.leaves)
        await one.http.delete(f"{where}/_sim/faults")
    for sid in sids:
        await one.seen(sid, "agent.first-audio")
    return sids


async def lived(one: Rig, name: str, sids: Sequence[str], *hears: str) -> None:
    """Each call ran to its end, heard its answer, and ran its tool once."""
    for view in [await one.over(sid, 90) for sid in sids]:
        assert done(view), (name, view["steps"], one.events(view["call_sid"]))
    for sid in sids:
        await one.seen(sid, "call.ended")
        assert {*hears} & {*one.said(sid)}, (name, one.said(sid))
        events = one.events(sid)
        assert events.count("tool.called") == events.count("tool.returned") == int(FAULTS[name].says is PRICE)


async def outlived(one: Rig, name: str, sids: Sequence[str]) -> None:
    """Each call met its fault and lived on, in time."""
    fault = FAULTS[name]
    await lived(one, name, sids, *fault.hears)
    for sid in sids:
        assert fault.leaves in one.events(sid), (name, one.events(sid))
    told = f"{name}: {len(sids)} calls met it, 0 dropped"
    if fault.goal is not None:
        before, after, most = fault.goal
        took = sorted(seconds(one, sid, before, after) for sid in sids)
        told += f"; {before} to {after}: {took[0]:.2f} to {took[-1]:.2f} s, p95 {p95(took):.2f} s, goal {most:g} s"
        assert p95(took) <= most, told
    print(told)


def seconds(one: Rig, sid: str, before: str, after: str) -> float:
    """From the first record of one kind to the next of another."""
    rows = [(row["event"], datetime.fromisoformat(row["ts"]).timestamp()) for row in one.journal(sid)]
    first = next(number for number, (event, _) in enumerate(rows) if event == before)
    return next(at for event, at in rows[first:] if event == after) - rows[first][1]


def p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def done(view: dict[str, Any]) -> bool:
    """Whether the phone's script ran to its end."""
    return view["status"] == "completed" and all(step["done"] for step in view["steps"])


async def nothing_is_open(one: Rig) -> None:
    """No session of the model and no live call are left."""

    async def there() -> bool:
        live = (await one.http.get(f"{one.bridge}/health")).json()["live_calls"]
        return not live and not await one.upstream()

    await until(there, 20)


def tool_runs(one: Rig) -> int:
    ran = one.root / "logs/ran"
    return len(ran.read_text().splitlines()) if ran.exists() else 0


async def connected(one: Rig, sids: Sequence[str]) -> None:
    """Each call ended with the caller's connection to the colleague."""
    for sid in sids:
        await one.over(sid)
        await one.seen(sid, "call.ended")
        assert "call.transfer" in one.events(sid)
        assert one.journal(sid)[-1].get("reason", "transferred").endswith("transferred")
    asked = (await one.http.get(f"{one.twilio}/_sim/requests")).json()["requests"]
    assert COLLEAGUE in str(asked)


async def finding_no_quota(one: Rig, calls: int) -> list[str]:
    """So many calls whose model cannot be had: it is not tried again."""
    await one.fault(one.openai, "no-quota", calls)
    sids = await asyncio.gather(*(one.dial(HOURS[0], PATIENT) for _ in range(calls)))
    for sid in sids:
        await one.seen(sid, "model.given-up")
        assert one.events(sid).count("model.lost") == 1
    return sids


@pytest.mark.timeout(120)
def test_what_fails_is_outlived(line: Line) -> None:
    """A call for each fault, all at once, one that finds no quota and one who wants a human: both of these are
    connected to the colleague. Of so many at once, one may meet the fault that was meant for another."""

    async def scenario(one: Rig) -> None:
        ran = tool_runs(one)
        refused = await finding_no_quota(one, 1)  # before others, who would find none when they try again
        struck_by = {name: await struck(one, fault, 1) for name, fault in FAULTS.items()}
        human = await one.dial(HOURS[0], {"do": "say", "line": "caller-human"}, PATIENT)
        for name, sids in struck_by.items():
            await lived(one, name, sids, ANSWER, GO_ON)
        met = {event for sids in (*struck_by.values(), [human]) for sid in sids for event in one.events(sid)}
        missed = [name for name, fault in FAULTS.items() if fault.leaves not in met]
        assert not missed, missed
        assert tool_runs(one) - ran == 1
        await connected(one, [*refused, human])
        assert "tool.called" in one.events(human)
        await nothing_is_open(one)

    line.run(scenario(line.one))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", FAULTS)
def test_twenty_calls_outlive_it(line: Line, name: str, request: pytest.FixtureRequest) -> None:
    """The same with twenty calls, one fault after the other: 0 dropped, and the time that is promised."""
    if not request.config.getoption("--long"):
        pytest.skip(LONG)

    async def scenario(one: Rig) -> None:
        ran = tool_runs(one)
        sids = await struck(one, FAULTS[name], 20)
        await outlived(one, name, sids)
        assert tool_runs(one) - ran == (20 if FAULTS[name].says is PRICE else 0)
        if FAULTS[name].says is PRICE:  # an odd one is lost an event earlier
            order = ["tool.called", "model.lost", "tool.returned"]
            assert [[e for e in one.events(sid) if e in order] for sid in sids].count(order) >= 15
        await nothing_is_open(one)

    line.run(scenario(line.one))


@pytest.mark.timeout(180)
def test_twenty_calls_without_a_model_reach_the_colleague(line: Line, request: pytest.FixtureRequest) -> None:
    """None of them can be mended: each caller is told so, and is not dropped."""
    if not request.config.getoption("--long"):
        pytest.skip(LONG)

    async def scenario(one: Rig) -> None:
        await connected(one, await finding_no_quota(one, 20))
        await nothing_is_open(one)

    line.run(scenario(line.one))


@pytest.mark.timeout(180)
def test_calls_outlive_the_bridge(line: Line, request: pytest.FixtureRequest) -> None:
    """kill -9 of the process that holds the callers' sockets: every call comes back within three seconds and goes
    on with its history, a tool that was running is not run again, and a call that has ended does not come back."""
    long = bool(request.config.getoption("--long"))

    async def scenario(one: Rig) -> None:
        ran = tool_runs(one)
        over = await one.dial({"do": "listen", "quiet_ms": 300, "timeout_ms": 9000})
        await one.over(over)
        many = 10 if long else 2
        asks = await asyncio.gather(*(one.dial(*HOURS[:2], PATIENT, *HOURS[1:]) for _ in range(many)))
        uses = await asyncio.gather(*(one.dial(HOURS[0], PRICE, PATIENT, *HOURS[1:]) for _ in range(many)))
        for sid in asks:
            await until(lambda sid=sid: kept(one, sid, '"turn"'), 20)  # type: ignore[misc]
        for sid in uses:
            await until(lambda sid=sid: kept(one, sid, '"price"'), 20)  # type: ignore[misc]
        one.worker().kill()
        views = [await one.over(sid, 60) for sid in (*asks, *uses)]
        for view in views:
            assert done(view), (view["steps"], one.events(view["call_sid"]))
        for sid in (*asks, *uses):
            back = iter(one.journal(sid))
            assert next(row for row in back if row["event"] == "stream.resumed")["entries"] >= 2
            assert next(row for row in back if row["event"] == "model.ready")["replayed"] >= 2
            turns = [row["turn"] for row in one.journal(sid) if row["event"] == "turn.answered"]
            assert turns == sorted(set(turns)), turns  # none is counted anew
            assert ANSWER in one.said(sid)[-2:], one.said(sid)
        assert tool_runs(one) - ran == len(uses)
        took = [gap(view) for view in views]
        print(
            f"kill -9: {len(took)} calls, 0 lost; without a stream or a sound for {min(took):.2f} to {max(took):.2f} s, "
            f"p95 {p95(took):.2f} s, goal 3 s"
        )
        assert p95(took) <= (3.0 if long else 3.0 + SLACK)
        assert "stream.resumed" not in one.events(over)
        book = one.root / "logs/run/calls"
        assert book.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in book.iterdir())
        await nothing_is_open(one)

    line.run(scenario(line.one))


async def kept(one: Rig, sid: str, word: str) -> bool:
    """Whether the call's file, which outlives the bridge, holds a word."""
    path = one.root / f"logs/run/calls/{sid}.jsonl"
    return path.exists() and word in path.read_text()


def gap(view: dict[str, Any]) -> float:
    """How long the phone heard nothing: from the loss of its stream to the first sound of the next one."""
    events = view["events"]
    lost = next(
        event["at_ms"] for event in events if event["name"] == "stream.stopped" and event["how"] == "lost"
    )
    return (
        min(e["at_ms"] for e in events if e["name"] == "stream.first-audio" and e["at_ms"] > lost) / 1000
        - lost / 1000
    )


@pytest.mark.timeout(180)
def test_where_calls_do_not_come_back_nothing_of_them_stays(
    line: Line, request: pytest.FixtureRequest
) -> None:
    """The phone's other setting, in which Twilio ends a call whose stream is lost, cut or with its bridge: the call
    ends, nothing is left open, and the next one goes through."""
    many = 20 if request.config.getoption("--long") else 2

    async def scenario(one: Rig) -> None:
        await resumes(one, False)
        await one.fault(one.twilio, "stream-reset", many, ms=1000)
        cut = await asyncio.gather(*(one.dial(PATIENT) for _ in range(many)))
        for sid in cut:
            await one.seen(sid, "stream.started")
        killed = await asyncio.gather(*(one.dial(PATIENT) for _ in range(many)))
        for sid in (*cut, *killed):
            await one.seen(sid, "agent.first-audio")
        for sid in cut:
            await one.over(sid)
            await one.seen(sid, "call.ended")
        one.worker().kill()
        for sid in (*cut, *killed):
            assert (await one.over(sid))["status"] == "completed"
            assert "stream.resumed" not in one.events(sid)
        await nothing_is_open(one)
        assert done(await one.over(await one.dial(HOURS[0])))

    try:
        line.run(scenario(line.one))
    finally:
        line.run(resumes(line.one, True))


async def resumes(one: Rig, whether: bool) -> None:
    setting = {"resume_after_loss": whether}
    assert (await one.http.put(f"{one.twilio}/_sim/account", json=setting)).status_code < 300
