"""A tool runs when the disk knows that it was called: a call that is killed and comes back never runs it again."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.apps import messages
from ops.apps.callbook import Callbook
from ops.apps.carried import Carried
from ops.apps.worker import DistantDesk
from tests.apps.inside import inside, run
from tests.apps.test_bridge import FRAME, new_call, next_event
from tests.apps.test_streams import Asking
from tests.apps.test_workers import TWO

SID = "CA" + "1" * 32


class Disk:
    """A disk that holds what is to be written, from when it is told to."""

    def __init__(self) -> None:
        self.free, self.asked = threading.Event(), threading.Event()
        self.free.set()

    def fsync(self, handle: int) -> None:
        if not self.free.is_set():
            self.asked.set()
            self.free.wait(20)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    one = Disk()
    monkeypatch.setattr(os, "fsync", one.fsync)
    yield one
    one.free.set()


def test_a_book_tells_when_all_is_written(tmp_path: Path, disk: Disk) -> None:
    """Not before, in the order in which it was asked, and also where nobody waits any more."""

    async def scenario() -> None:
        book = Callbook(tmp_path)
        disk.free.clear()
        book.add(SID, "said", {})
        first, given_up = book.written(), book.written()
        await asyncio.to_thread(disk.asked.wait, 20)
        book.add(SID, "said", {})
        second = book.written()
        given_up.cancel()
        assert not first.done()
        disk.free.set()
        await asyncio.wait_for(first, 20)
        await asyncio.wait_for(second, 20)
        assert (tmp_path / f"{SID}.jsonl").read_text().count("said") == 2
        book.close()

    asyncio.run(scenario())


def test_a_disk_that_fails_is_not_waited_for(tmp_path: Path) -> None:
    """What could not be written is over, too."""

    async def scenario() -> None:
        (tmp_path / "calls").write_text("a file in the way")
        book = Callbook(tmp_path / "calls")
        book.add(SID, "said", {})
        await asyncio.wait_for(book.written(), 20)
        assert book.failing
        book.close()

    asyncio.run(scenario())


def test_a_book_outlives_who_waited_for_it(tmp_path: Path, disk: Disk) -> None:
    """A loop that is closed meanwhile stops no writing."""

    async def ask(book: Callbook) -> None:
        disk.free.clear()
        book.add(SID, "said", {})
        book.written()

    book = Callbook(tmp_path)
    asyncio.run(ask(book))
    disk.free.set()
    book.add(SID, "ended", {})
    book.close()
    assert "ended" in (tmp_path / f"{SID}.jsonl").read_text()


def test_a_worker_is_told_by_the_switchboard() -> None:
    """Both halves of the desk: each question is answered when the stream's book says so, in their order."""

    async def scenario() -> None:
        books: list[asyncio.Future[None]] = []

        def written() -> asyncio.Future[None]:
            books.append(asyncio.get_running_loop().create_future())
            return books[-1]

        carried = Carried(
            lambda order: desk.hear(order),  # type: ignore[arg-type]
            1,
            SimpleNamespace(written=written),  # type: ignore[arg-type]
        )
        worker: Any = SimpleNamespace(desks={}, tell=lambda news: carried.hear(sent(news)))
        desk = worker.desks[1] = DistantDesk(worker, 1)
        given_up, first, second = desk.written(), desk.written(), desk.written()
        given_up.cancel()
        books[0].set_result(None)
        books[1].set_result(None)
        await asyncio.wait_for(first, 20)
        assert not second.done()
        books[2].set_result(None)
        await asyncio.wait_for(second, 20)

    asyncio.run(scenario())


def sent(news: messages.News) -> messages.News:
    return messages.news_of(messages.encode(news))


class Waiting(Asking):
    """Nobody has the tool that it calls: so it is told at once, as soon as that one is run."""

    @property
    def told(self) -> bool:
        """Whether the tool has returned."""
        return any("function_call_output" in json.dumps(event) for event in self.got)


@pytest.mark.parametrize("workers", [{}, TWO], ids=["alone", "workers"])
def test_a_tool_waits_for_the_disk(
    root: Path, workers: dict[str, str], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk holds the row of the tool's call, the call goes on, and the tool has not run; then it does."""
    monkeypatch.setattr("ops.apps.call.WRITTEN_WITHIN", 20.0)  # in a worker it stays one second

    async def scenario() -> None:
        model = Waiting()
        async with inside(root, model, **workers) as one, one.stream() as phone:
            sid = new_call()
            ticket = await one.ticket(sid)
            disk.free.clear()
            await phone.send(one.start(sid, ticket))
            await asyncio.to_thread(disk.asked.wait, 20)
            await model.until(lambda: any(event["type"] == "response.create" for event in model.got))
            asked = time.monotonic()
            assert await next_event(phone) == "media"
            assert await next_event(phone) == "mark"  # it ends the answer: the tool's call came before
            await phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + FRAME + '"}}')
            await model.until(lambda: model.got[-1]["type"] == "input_audio_buffer.append")
            assert not model.told or time.monotonic() - asked > 1.0
            disk.free.set()
            await model.until(lambda: model.told)

    run(scenario)


def test_a_disk_that_takes_too_long_costs_no_tool(
    root: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time the tool runs all the same."""
    monkeypatch.setattr("ops.apps.call.WRITTEN_WITHIN", 0.01)

    async def scenario() -> None:
        model = Waiting()
        async with inside(root, model) as one, one.stream() as phone:
            sid = new_call()
            ticket = await one.ticket(sid)
            disk.free.clear()
            await phone.send(one.start(sid, ticket))
            await model.until(lambda: model.told)
            assert not disk.free.is_set()
            disk.free.set()

    run(scenario)
