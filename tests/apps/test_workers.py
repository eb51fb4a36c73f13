"""Several processes that carry the calls: as one to everybody outside, and a death among them cuts only its own."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ops.apps import bridge, messages
from ops.apps.actions import Spent
from ops.apps.callbook import Callbook, Page
from ops.apps.carriage import Admission, Standing
from ops.apps.dialogue import Said, Used
from ops.apps.session import LOST
from ops.apps.tickets import Terms
from ops.apps.worker import DistantDesk
from ops.apps.workers import Workers
from ops.config import Settings
from ops.vendors.twilio import wire
from tests.apps.controls import stream
from tests.apps.inside import inside, run
from tests.apps.test_bridge import FRAME, Bridge, Model, World, close_code, new_call, next_event, world

TWO = {"WEBSOCKET_WORKERS": "2"}
WORDS = "We open at nine."
START = wire.Start("MZ1", "CA" + "0" * 32, "AC" + "0" * 32, "audio/x-mulaw", 8000, {"ticket": "x"})


class Speaker(Model):
    """A model whose answer has words, so that a call has a history."""

    def answer(self) -> tuple[dict[str, Any], ...]:
        first, audio, last = super().answer()
        item = {"response_id": "r", "item_id": "i"}
        said = {"type": "response.output_audio_transcript.done", **item, "transcript": WORDS}
        return first, audio, said, last


def workers_of(one: World) -> list[psutil.Process]:
    (bridge,) = psutil.Process(one.process.pid).children()
    return bridge.children()


async def both_up(one: World, *but: int) -> list[psutil.Process]:
    """The two workers, once both have said that they live; those processes are not among them."""
    async with asyncio.timeout(10):
        while True:
            found = workers_of(one)
            if not set(but) & {process.pid for process in found} and (await metrics(one))["workers"] == 2:
                return found
            await asyncio.sleep(0.01)


async def metrics(one: World) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False) as http:
        page = (await http.get(f"{one.origin}/metrics")).text
    rows = (line.split(" ") for line in page.splitlines() if not line.startswith("#") and "{" not in line)
    return {name.removeprefix("voice_"): float(value) for name, value in rows}


def carried_by(process: psutil.Process, port: int) -> int:
    """How many of the public port's connections a process holds."""
    return sum(one.laddr.port == port for one in process.net_connections("tcp"))


async def greeted(one: World, phone: ClientConnection, sid: str, path: str = "/twiml") -> None:
    """A call on this stream whose agent has been heard to the end."""
    await phone.send(one.start(sid, await one.ticket(sid, path)))
    while True:
        message = json.loads(await asyncio.wait_for(phone.recv(), 20))
        if message["event"] == "mark":
            await phone.send(json.dumps(message))
            return


@asynccontextmanager
async def calls(one: World, count: int) -> AsyncIterator[dict[str, ClientConnection]]:
    """So many live calls whose history is on the disk."""
    async with AsyncExitStack() as stack:
        phones = {new_call(): await stack.enter_async_context(one.stream()) for _ in range(count)}
        await asyncio.gather(*(greeted(one, phone, sid) for sid, phone in phones.items()))
        async with asyncio.timeout(10):
            while not all(WORDS in book(one, sid) for sid in phones):
                await asyncio.sleep(0.01)
        yield phones


def book(one: Bridge, sid: str) -> str:
    """What the disk holds of a call."""
    path = one.root / "logs/run/calls" / f"{sid}.jsonl"
    return path.read_text() if path.exists() else ""


async def goes_on(one: World, phone: ClientConnection) -> None:
    """The model still hears this call."""
    before = sum(event.get("audio") == FRAME for event in one.model.got)
    await phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + FRAME + '"}}')
    await one.model.until(lambda: sum(event.get("audio") == FRAME for event in one.model.got) > before)


async def comes_back(one: World, sid: str, stack: AsyncExitStack) -> ClientConnection:
    """Another stream for a call, whose model is told what was said."""
    told = len(one.model.got)
    phone = await stack.enter_async_context(one.stream())
    await greeted(one, phone, sid, "/resume")
    await one.model.until(lambda: any(WORDS in json.dumps(event) for event in one.model.got[told:]))
    return phone


def test_only_the_calls_of_a_worker_that_dies_are_lost_and_each_comes_back(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """kill -9 of one of two: its calls get other streams with their history, the others' go on, another worker
    is started at once; and each number of health and metrics is of all of them."""

    async def scenario() -> None:
        async with world(root, *free_ports(1), Speaker(), **TWO) as one, AsyncExitStack() as stack:
            first, second = await both_up(one)
            (bridge,) = psutil.Process(one.process.pid).children()
            async with calls(one, 4) as phones:
                assert [carried_by(process, one.port) for process in (first, second)] == [2, 2]
                assert not [
                    c
                    for c in bridge.net_connections("tcp")
                    if c.status == "ESTABLISHED" and c.raddr and c.laddr.port == one.port
                ]
                numbers = await metrics(one)
                assert (numbers["live_calls"], numbers["calls_total"]) == (4, 4)
                health = (await one.health()).json()
                assert {call["call_sid"] for call in health["calls"]} == set(phones)
                first.kill()
                async with asyncio.timeout(10):
                    while sum(phone.close_code is not None for phone in phones.values()) < 2:
                        await asyncio.sleep(0.01)
                lost = [sid for sid, phone in phones.items() if phone.close_code is not None]
                for sid in set(phones) - set(lost):
                    await goes_on(one, phones[sid])
                assert len(lost) == 2
                await both_up(one, first.pid)
                back = [await comes_back(one, sid, stack) for sid in lost]
                for phone in back:
                    await goes_on(one, phone)
                numbers = await metrics(one)
                assert (numbers["live_calls"], numbers["resumed_total"]) == (4, 2)
                assert second.is_running()
                for phone in (*back, *(phones[sid] for sid in set(phones) - set(lost))):
                    await phone.send('{"event":"stop"}')
                    assert await close_code(phone) == 1000
            await one.model.until(lambda: one.model.open == 0)
            assert not [child for child in bridge.children() if child.status() == psutil.STATUS_ZOMBIE]

    asyncio.run(scenario())


def test_workers_end_with_their_bridge(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """kill -9 of the process that may let calls in: its workers end at once, and the calls come back."""

    async def scenario() -> None:
        async with world(root, *free_ports(1), Speaker(), **TWO) as one, AsyncExitStack() as stack:
            old = await both_up(one)
            async with calls(one, 2) as phones:
                (bridge,) = psutil.Process(one.process.pid).children()
                bridge.kill()
                _, left = await asyncio.to_thread(psutil.wait_procs, [bridge, *old], 2)
                assert not left
                for sid in phones:
                    phone = await comes_back(one, sid, stack)
                    await phone.send('{"event":"stop"}')
                    assert await close_code(phone) == 1000

    asyncio.run(scenario())


def test_a_stop_that_reaches_every_process_still_drains(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """Who stops a service signals each of its processes, or a terminal its whole group: the calls go on to their
    end, which is the end of all; told again, all end at once."""

    async def scenario() -> None:
        for again in (False, True):
            async with world(root, *free_ports(1), Speaker(), **TWO) as one:
                (bridge,) = psutil.Process(one.process.pid).children()
                workers = await both_up(one)
                async with calls(one, 1) as phones:
                    (phone,) = phones.values()
                    told = time.monotonic()
                    for process in (psutil.Process(one.process.pid), bridge, *workers):
                        process.terminate()
                        if process in workers:
                            process.send_signal(signal.SIGINT)
                    async with asyncio.timeout(10):
                        while (await one.health()).status_code != 503:
                            await asyncio.sleep(0.01)
                    assert time.monotonic() - told < 0.5
                    await goes_on(one, phone)
                    if again:
                        one.process.terminate()
                    else:
                        await phone.send('{"event":"stop"}')
                    assert await close_code(phone) == 1000
                over = time.monotonic()
                assert await asyncio.wait_for(one.process.wait(), 20) == 0
                assert time.monotonic() - over < 5
                assert not [process for process in (bridge, *workers) if process.is_running()]

    asyncio.run(scenario())


def test_a_burst_finds_no_more_lines_than_there_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams of many calls at once, over both workers, where every webhook got a ticket: exactly as many
    calls live as may, and the others are closed."""
    monkeypatch.setattr("ops.apps.switchboard.Switchboard.full", lambda *_: False)

    async def scenario() -> None:
        async with inside(root, MAX_LIVE_CALLS="3", **TWO) as one, AsyncExitStack() as stack:

            async def tries(sid: str, ticket: str) -> str | int | None:
                while True:
                    with suppress(InvalidStatus):  # too many at once have shown no ticket yet
                        phone = await stack.enter_async_context(one.stream())
                        break
                await phone.send(one.start(sid, ticket))
                try:
                    return await next_event(phone)
                except ConnectionClosed:
                    return phone.close_code

            tickets = {sid: await one.ticket(sid) for sid in (new_call() for _ in range(12))}
            heard = Counter(await asyncio.gather(*(tries(*each) for each in tickets.items())))
            assert heard == {"media": 3, 1008: 9}
            assert len(one.bridge.live) == 3
            assert one.bridge.opening == 0
            assert isinstance(one.carrier, Workers)

    run(scenario)


CONTROLS = (
    "a signature", "few without a start", "the ticket of this call", "a ticket once", "the newest ticket",
    "one stream that lives", "calls at once, however they came",
)  # fmt: skip


@pytest.mark.parametrize("name", CONTROLS)
def test_the_doors_controls_hold_for_all_workers(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each forgery is refused, and comes in without its one control, as where one process does all."""
    control = stream.CONTROLS[name]
    for what, short in control.hurry.items():
        monkeypatch.setattr(what, short)

    async def scenario() -> None:
        async with inside(root, **TWO, **control.settings) as one:
            assert not await control.forgery(one)
            for what, instead in control.removed.items():
                monkeypatch.setattr(what, instead)
        async with inside(root, **TWO, **control.settings) as one:
            assert await control.forgery(one)

    run(scenario)


def test_workers_that_cannot_live_are_told_by_health(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that dies again and again is started after a pause; health is degraded and says why, until one has
    lived for a while. Calls are carried meanwhile by the others; without any a stream is refused."""
    monkeypatch.setattr("ops.apps.workers.QUICK", 1.0)
    monkeypatch.setattr("ops.apps.workers.PAUSES", (0.0, 0.0, 1.0))

    async def scenario() -> None:
        async with inside(root, **TWO) as one, asyncio.timeout(20):
            workers = one.carrier
            assert isinstance(workers, Workers)
            frail, sound = workers.posts
            for death in (1, 2, 3):
                while frail.worker is None:
                    await asyncio.sleep(0.001)
                frail.worker.kill()
                while frail.deaths != death:
                    await asyncio.sleep(0.001)
            assert frail.worker is None
            told = (await one.health()).json()
            assert told["status"] == "degraded"
            assert told["reason"] == "1 of 2 workers end as soon as they start: signal 9"
            async with one.talking(new_call()):
                assert sound.worker is not None
                assert len(sound.worker.streams) == 1
                with monkeypatch.context() as patch:
                    patch.setattr(Workers, "_up", lambda _: [])
                    with pytest.raises(InvalidStatus) as caught:
                        await one.stream()
                assert caught.value.response.status_code == 503
            while (await one.health()).json()["status"] != "ok":
                await asyncio.sleep(0.05)
            assert frail.worker is not None

    run(scenario)


def test_a_worker_that_hangs_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing any more, and cannot be asked how its call stands: the call keeps its line until the worker
    is ended, and then comes back on another."""
    monkeypatch.setattr("ops.apps.workers.LOOK", 0.2)  # a pulse comes each second
    monkeypatch.setattr("ops.apps.carried.ANSWERS_WITHIN", 0.1)

    async def scenario() -> None:
        async with inside(root, **TWO) as one:
            workers, sid = one.carrier, new_call()
            assert isinstance(workers, Workers)
            async with one.talking(sid) as phone:
                (hung,) = (post.worker for post in workers.posts if post.worker and post.worker.streams)
                hung.process.send_signal(signal.SIGSTOP)
                assert not await stream.shown(one, sid, await one.ticket(sid, "/resume"))
                assert await close_code(phone) is not None
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid, "/resume")))
                assert await next_event(phone) == "media"

    run(scenario)


def test_watchers_see_the_calls_of_all_workers(root: Path) -> None:
    """Also on a worker that was started while they watched; and nobody is told of it when they have gone."""

    async def scenario() -> None:
        async with inside(root, **TWO) as one:
            workers = one.carrier
            assert isinstance(workers, Workers)
            async with connect(f"ws://127.0.0.1:{one.port}/logs", proxy=None) as watcher:
                old = workers.posts[0].worker
                assert old is not None
                old.kill()
                async with asyncio.timeout(10):
                    while workers.posts[0].worker in (None, old):
                        await asyncio.sleep(0.001)
                sids = {new_call(), new_call()}
                async with AsyncExitStack() as stack:
                    for sid in sids:
                        await stack.enter_async_context(one.talking(sid))
                    seen = set()
                    while seen != sids:
                        seen.add(json.loads(await asyncio.wait_for(watcher.recv(), 20))["call_sid"])
            assert not one.bridge.views.watched

    run(scenario)


def test_an_order_may_come_with_the_admission() -> None:
    """A call that is told to end in the moment in which it gets its stream ends like any other."""
    ended: list[str] = []

    async def scenario() -> None:
        worker: Any = SimpleNamespace(tell=lambda news: None, desks={})
        desk = worker.desks[1] = DistantDesk(worker, 1)
        call: Any = SimpleNamespace(end=ended.append)
        accepting = asyncio.create_task(desk.accept(START, lambda _: call))
        await asyncio.sleep(0)
        desk.hear(messages.sendable(1, Admission(Terms())))
        desk.hear(messages.End(1, "at once"))
        await accepting
        await asyncio.sleep(0)
        assert ended == ["at once"]
        desk.over("at once")

    asyncio.run(scenario())


def test_a_worker_that_dies_while_its_stream_is_accepted_has_no_call(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing counts as live that nobody carries; the call comes back to the other one."""
    reading, read = asyncio.Event(), Callbook.read

    async def slowly(self: Callbook, sid: str) -> Page | None:
        if not reading.is_set():
            reading.set()
            await asyncio.sleep(0.2)
        return await read(self, sid)

    async def scenario() -> None:
        async with inside(root, **TWO) as one:
            workers, sid = one.carrier, new_call()
            assert isinstance(workers, Workers)
            ticket = await one.ticket(sid, "/resume")
            monkeypatch.setattr(Callbook, "read", slowly)
            async with one.stream() as phone:
                (dying,) = (post.worker for post in workers.posts if post.worker and post.worker.streams)
                await phone.send(one.start(sid, ticket))
                await asyncio.wait_for(reading.wait(), 10)
                dying.kill()
                await close_code(phone)
            await asyncio.sleep(0.3)  # longer than the reading
            assert not one.bridge.live
            assert one.bridge.opening == 0
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid, "/resume")))
                assert await next_event(phone) == "media"

    run(scenario)


def test_a_desk_in_a_worker_tells_what_the_switchboard_must_know() -> None:
    """A call that could not even begin is lost, so that it may come back; of the model's messages nothing is
    told that nobody wants to see, that is too long, or that the switchboard cannot take."""

    def broken(_: Admission) -> Any:
        raise RuntimeError("no agent")

    async def scenario() -> None:
        told: list[messages.News] = []
        worker: Any = SimpleNamespace(tell=told.append, desks={}, watched=False, behind=False)
        desk = worker.desks[1] = DistantDesk(worker, 1)
        desk.watch("unseen")
        worker.watched = True
        desk.watch("seen")
        desk.watch("x" * 60_001)
        worker.behind = True
        desk.watch("unseen")
        assert told == [messages.Seen(1, "seen")]
        accepting = asyncio.create_task(desk.accept(START, broken))
        await asyncio.sleep(0)
        desk.hear(messages.sendable(1, Admission(Terms())))
        with pytest.raises(RuntimeError):
            await accepting
        desk.over(None)
        assert told[1:] == [messages.Shown(1, START), messages.Over(1, LOST)]
        assert not worker.desks

    asyncio.run(scenario())


def test_what_is_sent_arrives_as_it_was() -> None:
    """An admission with its terms and history, and a start message."""
    past = (Said("a", "caller", "When?", whole=True), Used("b", "hours", "{}", "nine"))
    terms = Terms(record=True, voice="cedar")
    for admission in (Admission(terms, past, 3, resumed=True, spent=Spent(7.5, 0.25)), Admission(terms)):
        order = messages.order_of(messages.encode(messages.sendable(7, admission)))
        assert isinstance(order, messages.Admitted)
        assert messages.admission_of(order) == admission
    for news in (messages.Shown(7, START), messages.Stands(7, Standing(0.5, None)), messages.Over(7, None)):
        assert messages.news_of(messages.encode(news)) == news
    taken = messages.Take(7, b"GET /call HTTP/1.1\r\n\r\n\x81\xff", "192.0.2.1")
    assert messages.order_of(messages.encode(taken)) == taken


def test_the_port_answers_when_there_are_workers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health that said ok before, and a stream right behind it, would be refused."""
    made, seen = [], []
    public_port = bridge.public_port

    def kept(settings: Settings) -> Any:
        made.append(public_port(settings))
        return made[0]

    async def serve(*_: object) -> None:
        workers = made[0][2]
        assert isinstance(workers, Workers)
        seen.append([post.worker is not None for post in workers.posts])

    monkeypatch.setattr(bridge, "public_port", kept)
    monkeypatch.setattr(bridge._Server, "serve", serve)
    environ = {
        "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "PUBLIC_URL": "http://127.0.0.1:1", "WEBSOCKET_WORKERS": "2",
    }  # fmt: skip
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bridge.serve(Settings.load(root, environ, files=False)))
    assert seen == [[True, True]]
