"""What holds for one call alone: whom it is with, what its webhook asked for, and that it keeps both."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from ops.apps.recent import Recent
from tests.apps.inside import Inside, inside, run
from tests.apps.test_bridge import close_code, new_call, next_event

COLLEAGUE, CALLER, AGENT = "+12025550142", "+12025550123", "+12025550100"


async def session(one: Inside, sid: str, ticket: str) -> dict[str, Any]:
    """What the model is told of a call; its stream is then lost."""
    before = len(one.model.got)
    async with one.stream() as phone:
        await phone.send(one.start(sid, ticket))
        await one.model.until(lambda: len(one.model.got) > before)
        phone.transport.abort()
    await one.model.until(lambda: one.model.open == 0)
    told: dict[str, Any] = one.model.got[before]["session"]
    return told


@pytest.mark.parametrize(
    ("form", "transfers"),
    [
        ({"From": CALLER, "To": AGENT}, True),
        ({"From": COLLEAGUE, "To": AGENT}, False),
        ({"From": AGENT, "To": COLLEAGUE, "Direction": "outbound-api"}, False),
        ({"From": AGENT, "To": CALLER, "Direction": "outbound-api"}, True),
    ],
)
def test_nobody_is_connected_to_themselves(root: Path, form: dict[str, str], transfers: bool) -> None:
    """Whoever is on the other side, of a call that came or of one that we made."""

    async def scenario() -> None:
        async with inside(root, TWILIO_AGENT_NUMBER=COLLEAGUE) as one:
            sid = new_call()
            await one.webhook(sid, **form)
            ticket = one.bridge.tickets._out[sid].secret
            tools = [tool["name"] for tool in (await session(one, sid, ticket))["tools"]]
            assert ("transfer_to_agent" in tools) is transfers

    run(scenario)


@pytest.mark.parametrize(
    ("calls", "asked", "recorded"),
    [("test", True, True), ("test", False, False), ("all", False, True), ("none", True, False)],
)
def test_who_is_recorded(root: Path, calls: str, asked: bool, recorded: bool) -> None:
    """By RECORD_CALLS: test calls, which ask for it, everybody, or nobody at all."""

    async def scenario() -> None:
        async with inside(root, RECORD_CALLS=calls) as one:
            sid = new_call()
            ticket = await one.ticket(sid, "/twiml?record=1" if asked else "/twiml")
            redeemed = one.bridge.tickets.redeem(sid, ticket, time.monotonic())
            assert redeemed is not None
            assert redeemed.terms.record is recorded

    run(scenario)


def test_a_call_that_comes_back_keeps_its_terms(root: Path) -> None:
    """The resume webhook asks for nothing: what the first one asked for still holds."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            await session(one, sid, await one.ticket(sid, "/twiml?voice=cedar&instructions=Speak+Danish."))
            again = await session(one, sid, await one.ticket(sid, "/resume"))
            assert again["instructions"] == "Speak Danish."
            assert again["audio"]["output"]["voice"] == "cedar"

    run(scenario)


def test_a_call_that_twilio_ends_is_over(root: Path) -> None:
    """Its status callback ends what lives of it; of the calls that are over only the last ones are remembered."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            async with one.talking(sid) as phone:
                assert (await one.webhook(sid, "/status", CallStatus="completed")).status_code == 204
                assert await asyncio.wait_for(close_code(phone), 3) == 1000  # half-open takes 5
            assert not one.bridge.door._asked  # it had its stream
            await one.model.until(lambda: one.model.open == 0)
            one.bridge.ended = Recent(2)
            over = [new_call() for _ in range(3)]
            for other in over:
                await one.webhook(other, "/status", CallStatus="failed")
            assert [other in one.bridge.ended for other in over] == [False, True, True]

    run(scenario)


def test_two_streams_that_come_back_at_once_are_one(root: Path) -> None:
    """While the first waits for the call's history, the second is let in: the first is closed."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid, read = new_call(), one.bridge.book.read
            await session(one, sid, await one.ticket(sid))
            first, second = await one.ticket(sid, "/resume"), asyncio.Event()

            async def slowly(call_sid: str) -> Any:
                one.bridge.book.read = read  # type: ignore[method-assign]
                await second.wait()
                return await read(call_sid)

            async with one.stream() as late, one.stream() as quick:
                one.bridge.book.read = slowly  # type: ignore[method-assign]
                await late.send(one.start(sid, first))
                while one.bridge.book.read is slowly:
                    await asyncio.sleep(0.002)
                await quick.send(one.start(sid, await one.ticket(sid, "/resume")))
                assert await next_event(quick) == "media"
                second.set()
                assert await close_code(late) == 1008
                assert list(one.bridge.live) == [sid]
                assert one.model.open == 1

    run(scenario)


def test_a_live_call_is_not_told_that_all_lines_are_busy(root: Path) -> None:
    """Its own webhook comes again, at the cap or in a drain: it has a line; a further call has none."""

    async def scenario() -> None:
        async with inside(root, MAX_LIVE_CALLS="1") as one:
            sid = new_call()
            async with one.talking(sid):
                for draining in (False, True):
                    one.bridge.draining = draining
                    assert "<Stream" in (await one.webhook(sid)).text
                    assert "<Stream" not in (await one.webhook(new_call())).text

    run(scenario)
