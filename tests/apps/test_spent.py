"""The caps on seconds and money hold for a call, however many streams it has."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from ops.apps.actions import Action, Agent, Hangup, OpenModel, Remember, Spent
from ops.apps.callbook import Callbook, page_of
from ops.apps.session import Session
from ops.vendors.openai import events
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone
from tests.apps.inside import inside, run
from tests.apps.test_bridge import Model, close_code, new_call, next_event
from tests.apps.test_session import FRAME, START
from tests.apps.test_workers import TWO

USAGE = {"output_token_details": {"audio_tokens": 1000}}  # 6.4 cents


def session(spent: Spent, **caps: float) -> Session:
    agent = Agent("be kind", "marin", "gpt-transcribe", model="gpt-realtime", **caps)  # type: ignore[arg-type]
    return Session(START, agent, 100.0, dialect=model, spent=spent)


def reasons(actions: list[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Hangup)]


def test_the_seconds_of_earlier_streams_count() -> None:
    """The goodbye comes so much sooner, and names the whole limit."""
    one = session(Spent(seconds=57.0), max_seconds=60)
    assert one.begin() == [OpenModel()]
    one.on_phone(phone.Media(FRAME, 0), 102.5)
    assert one.wake_at() == 103.0
    assert reasons(one.on_time(102.9)) == []
    assert reasons(one.on_time(103.0)) == ["the call reached its limit of 60 s"]


def test_the_dollars_of_earlier_streams_count() -> None:
    """With the response that takes all streams together over the cap the call ends; what is written down of each
    response is the sum of all streams."""
    one = session(Spent(dollars=0.9), max_dollars=1.0)
    one.begin()
    first = one.on_model(events.ResponseDone("r1", "completed", usage=USAGE), 101.0)
    assert reasons(first) == []
    assert [action.fields for action in first if isinstance(action, Remember)] == [{"dollars": 0.964}]
    second = one.on_model(events.ResponseDone("r2", "completed", usage=USAGE), 102.0)
    assert reasons(second) == ["the call reached its limit of 1 dollars"]


def test_a_call_that_has_spent_all_opens_no_model() -> None:
    """It comes back only to hear the goodbye."""
    told = session(Spent(dollars=1.0), max_dollars=1.0).begin()
    assert reasons(told) == ["the call reached its limit of 1 dollars"]
    assert not [action for action in told if isinstance(action, OpenModel)]


def test_a_page_tells_when_its_call_began_and_what_it_has_spent(tmp_path: Path) -> None:
    """The first row that has the time counts, and the last sum; a torn row costs nothing."""
    sid, book = new_call(), Callbook(tmp_path)
    book.add(sid, "began", {"at": 1000.0})
    for dollars in (0.1, 0.25):
        book.add(sid, "spent", {"dollars": dollars})
    book.add(sid, "resumed", {"at": 1060.0})
    page = asyncio.run(book.read(sid))
    book.close()
    assert page is not None
    assert (page.began, page.dollars, page.resumes) == (1000.0, 0.25, 1)
    torn = ['{"event":"began","party":"x"}', '{"event":"resumed","at":1060.5}', '{"event":"spent","dollars":0.5}',
            '{"event":"resumed","at":1070.5}', '{"event":"spent","dol']  # fmt: skip
    page = page_of(torn)
    assert (page.terms.party, page.began, page.dollars, page.resumes) == ("x", 1060.5, 0.5, 2)
    assert (page_of([]).began, page_of([]).dollars) == (None, 0.0)


class Dear(Model):
    """An answer takes 6.4 dollars."""

    def answer(self) -> tuple[dict[str, Any], ...]:
        *before, done = super().answer()
        usage = {"output_token_details": {"audio_tokens": 100_000}}
        return *before, {**done, "response": {**done["response"], "usage": usage}}


@pytest.mark.parametrize("workers", [{}, TWO], ids=["alone", "workers"])
def test_a_call_that_comes_back_ends_at_its_cap(root: Path, workers: dict[str, str]) -> None:
    """Two answers may be paid for, and each stream has one: the second stream ends the call."""

    async def scenario() -> None:
        async with inside(root, Dear(), MAX_DOLLARS_PER_CALL="10", **workers) as one:
            sid = new_call()
            async with one.talking(sid) as phone:
                assert await next_event(phone) == "mark"  # behind the answer's end comes its price
                phone.transport.abort()
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid, "/resume")))
                assert await close_code(phone) == 1000
            assert one.model.connections == 2
            await asyncio.wait_for(one.bridge.idle.wait(), 10)
            page = await one.bridge.book.read(sid)
            assert page is not None
            assert page.ended == "the call reached its limit of 10 dollars"

    run(scenario)


def test_a_call_that_comes_back_too_late_ends(root: Path) -> None:
    """Its seconds count from its first stream on."""

    async def scenario() -> None:
        async with inside(root, MAX_SECONDS_PER_CALL="60") as one:
            sid = new_call()
            one.bridge.book.add(sid, "began", {"at": time.time() - 61})
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid, "/resume")))
                assert await close_code(phone) == 1000
            page = await one.bridge.book.read(sid)
            assert page is not None
            assert page.ended == "the call reached its limit of 60 s"

    run(scenario)
