"""Alarms ring at their time, in their order, whatever one of them does; on either event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import pytest
import uvloop

from ops.vendors.twilio.simulator.clock import Clock

ROUNDS = 5  # a busy machine may spoil some of them


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def runs(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(work)

    return runs


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def lateness(count: int, apart: float) -> list[float]:
    """By how many seconds so many alarms were late, one made by the one before it."""
    clock, late = Clock(), list[float]()
    over = asyncio.get_running_loop().create_future()

    def ring(due: float) -> None:
        late.append(monotonic() - due)
        if len(late) == count:
            over.set_result(None)
        else:
            clock.call_at(due + apart, lambda: ring(due + apart))

    first = monotonic() + apart
    clock.call_at(first, lambda: ring(first))
    await over
    clock.close()
    return late


def test_no_alarm_is_rounded_to_a_millisecond(run: Callable[..., Any]) -> None:
    """None rings early, and most ring within less than half a millisecond."""
    medians = []
    for _ in range(ROUNDS):
        late = run(lateness(40, 0.0023))
        assert min(late) >= 0
        medians.append(median(late))
        if medians[-1] < 0.0004:
            return
    pytest.fail(f"late by {medians} s")


def test_order_is_that_of_their_times(run: Callable[..., Any]) -> None:
    """Not that in which they were made; a cancelled one keeps silent, a past one rings at once."""

    async def main() -> list[str]:
        clock, rung = Clock(), list[str]()
        over = asyncio.get_running_loop().create_future()
        now = monotonic()
        clock.call_at(now + 3600, lambda: rung.append("much later"))
        clock.call_at(now + 0.03, lambda: over.set_result(None))
        clock.call_at(now + 0.02, lambda: rung.append("late"))
        clock.call_at(now + 0.01, lambda: rung.append("early"))
        clock.call_at(now + 0.015, lambda: rung.append("cancelled")).cancel()
        clock.call_at(now - 1, lambda: rung.append("past"))
        await asyncio.wait_for(over, 2)
        clock.close()
        return rung

    assert run(main()) == ["past", "early", "late"]


def test_one_that_fails_stops_no_other(run: Callable[..., Any]) -> None:
    """The event loop tells of it; one of the same moment rings all the same."""

    async def main() -> list[str]:
        clock, told = Clock(), list[str]()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        over = loop.create_future()
        at = monotonic() + 0.005
        clock.call_at(at, lambda: [][1])
        clock.call_at(at, lambda: over.set_result(None))
        await asyncio.wait_for(over, 2)
        clock.close()
        return told

    assert run(main()) == ["IndexError('list index out of range')"]


def test_closing_gives_the_timer_back(run: Callable[..., Any]) -> None:
    """No descriptor is left, and nothing rings."""

    async def main() -> list[str]:
        before, rung = descriptors(), list[str]()
        clock = Clock()
        clock.call_at(monotonic() + 0.002, lambda: rung.append("rang"))
        clock.close()
        assert descriptors() == before
        await asyncio.sleep(0.005)
        return rung

    assert run(main()) == []
