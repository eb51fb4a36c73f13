"""`inv bench simulators`: how evenly they speak, how true their marks are, what a call costs them."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.bench.answers import serves, until
from ops.bench.figures import middle, percentile
from ops.bench.pacing import Pacing, pacing
from ops.bench.phones import NUMBERS, Phones, Steps
from ops.bench.sink import Sink
from ops.bench.stage import Stage, cpu_seconds, free_ports, pin, pss_kib, stage, waited_seconds
from ops.config import Settings
from ops.errors import OpsError
from ops.processes.environment import for_service
from ops.services import Service, builtin
from ops.speech import library

UP = 15.0  # seconds in which a simulator must answer, and all calls must be up
LAST_MARKS = 2.0  # seconds in which the last marks must have come back
WARM_UP = 5  # calls made and ended before memory is read for the first time
TALK: Steps = [{"do": "say", "line": "caller-price"}, {"do": "pause", "ms": 700}]
LONGEST = 3_600_000  # ms


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Seconds, and calls at once."""

    calls: int = 50
    seconds: float = 30.0
    many: int = 200
    many_seconds: float = 20.0
    idle: int = 100
    rounds: int = 5
    settle: float = 2.0  # before the first frame counts, and before memory is read


@dataclass(frozen=True)
class Run:
    """Calls at once, over some time; ms."""

    calls: int
    seconds: float
    pacing: Pacing | None
    echoes: int
    echo_p50_ms: float | None  # signed: after its time is positive
    echo_p99_ms: float | None  # by size
    echo_worst_ms: float | None  # by size
    marks_lost: int
    frames_lost: int
    lag_p99_ms: float  # of the measuring end
    cpu: float  # of one core, taken by the simulator
    sink_cpu: float  # the same, taken by the measuring end
    waited: float  # share of the time that the simulator was ready to run and had no core
    sink_waited: float
    pinned: bool


@dataclass
class Result:
    """All that was measured."""

    sizes: Sizes
    cold_ms: list[float | None] = field(default_factory=list)
    paced: Run | None = None
    loaded: Run | None = None
    idle_kb: float | None = None


def measure(sizes: Sizes, progress: Callable[[str], None]) -> Result:
    """Run everything, one after the other. Ends what it started, also when it is interrupted."""
    result = Result(sizes)
    with stage() as here:
        for number in range(sizes.rounds):
            progress(f"cold start of all simulators, round {number + 1} of {sizes.rounds}")
            result.cold_ms.append(_cold_start(here))
        progress(f"{sizes.calls} calls for {sizes.seconds:g} s, both sides talking")
        result.paced = _calls(here, sizes.calls, sizes.seconds, sizes.settle, one_core=False)
        progress(f"{sizes.many} calls for {sizes.many_seconds:g} s from one core, both sides talking")
        result.loaded = _calls(here, sizes.many, sizes.many_seconds, sizes.settle, one_core=True)
        progress(f"memory of {sizes.idle} idle calls")
        result.idle_kb = _idle(here, sizes.idle, sizes.settle)
    return result


def _programs(folder: Path) -> tuple[Settings, list[Service]]:
    """The simulators as the built-in stack runs them offline, on ports of their own."""
    *simulators, ngrok, bridge = free_ports(5)
    ports = {
        "SIMULATOR_PORT": simulators[0],
        "NGROK_PORT": ngrok,
        "WEBSOCKET_PORT": bridge,
        "LOG_LEVEL": "WARNING",
    }
    settings = Settings.load(folder, {name: str(port) for name, port in ports.items()}, mode="offline")
    services = builtin(settings)
    return settings, [one for one in services if any(word.endswith(".simulator") for word in one.argv)]


def _cold_start(here: Stage) -> float | None:
    """ms from launching all of them until each is ready."""
    folder = here.place()
    _, services = _programs(folder)
    began = time.perf_counter()
    for one in services:
        here.launch(one.argv, folder, for_service(one, here.mark))
    waiting = {one.port: one.ready.argument for one in services if one.port}

    def all_ready() -> bool:
        for port, path in tuple(waiting.items()):
            if serves(port, path):
                del waiting[port]
        return not waiting

    found = until(all_ready, UP)
    ms = None if found is None else (time.perf_counter() - began) * 1000
    here.end_all()
    return ms


@contextmanager
def _twilio(here: Stage) -> Iterator[tuple[Phones, int]]:
    """A fresh stand-in of Twilio that starts calls as fast as it is asked to: its phones, its pid."""
    folder = here.place()
    settings, services = _programs(folder)
    one = next(service for service in services if service.name == "twilio-simulator")
    program = here.launch((*one.argv, "--calls-per-second=1000"), folder, for_service(one, here.mark))
    port = one.port or 0
    try:
        if until(lambda: serves(port, one.ready.argument), UP) is None:
            output = (folder / "output.txt").read_text("utf-8", "replace")[-400:]
            raise OpsError(
                f"The simulator has not come up: {output}", fix="start it alone and read its output"
            )
        yield Phones(settings, port), program.pid
    finally:
        here.end_all()


def _calls(here: Stage, count: int, seconds: float, settle: float, *, one_core: bool) -> Run:
    with _twilio(here) as (phones, pid):
        with _apart(pid, one_core) as pinned:
            return asyncio.run(_talk(phones, pid, count, seconds, settle, pinned))


async def _talk(phones: Phones, pid: int, count: int, seconds: float, settle: float, pinned: bool) -> Run:
    """Place so many calls, let both sides talk, and time what arrives."""
    sink = Sink(library.line("agent-price").audio)
    await sink.open()
    try:
        await _place(phones, sink, count, talking=seconds + settle + UP)
        await asyncio.sleep(settle)
        gc.collect()
        gc.disable()
        before = _spent(pid)
        sink.measure()
        await asyncio.sleep(seconds)
        sink.rest()
        cpu, own, waited, own_waited, lasted = (b - a for a, b in zip(before, _spent(pid), strict=True))
        gc.enable()
        await _soon(lambda: not sink.marks_lost, LAST_MARKS)
        return Run(
            calls=sink.live,
            seconds=seconds,
            pacing=pacing(stream.offsets for stream in sink.streams),
            echoes=len(sink.echoes),
            echo_p50_ms=middle(sink.echoes),
            echo_p99_ms=percentile([abs(ms) for ms in sink.echoes], 0.99) if sink.echoes else None,
            echo_worst_ms=max(map(abs, sink.echoes), default=None),
            marks_lost=sink.marks_lost,
            frames_lost=sum(stream.lost for stream in sink.streams),
            lag_p99_ms=percentile(sink.lag, 0.99) if sink.lag else 0.0,
            cpu=cpu / lasted,
            sink_cpu=own / lasted,
            waited=waited / lasted,
            sink_waited=own_waited / lasted,
            pinned=pinned,
        )
    finally:
        gc.enable()
        await sink.close()


def _spent(pid: int) -> tuple[float, ...]:
    """Seconds so far: of processor, theirs and ours; of waiting for one, theirs and ours; of the clock."""
    me = os.getpid()
    return (
        *(cpu_seconds(each) for each in (pid, me)),
        *(waited_seconds(each) for each in (pid, me)),
        time.perf_counter(),
    )


async def _place(phones: Phones, sink: Sink, count: int, *, talking: float) -> list[str]:
    """Bring so many calls up; the people on them talk for so many seconds, or not at all."""
    for number, phone in enumerate(NUMBERS):
        turns = int(talking / 2) + 1 if talking else 0
        begin = {"do": "pause", "ms": 250 * number}
        steps = [begin, *TALK * turns, {"do": "pause", "ms": LONGEST}]
        await asyncio.to_thread(phones.script, phone, steps)
    stream = f"ws://127.0.0.1:{sink.port}/call"
    sids = [
        await asyncio.to_thread(phones.call, NUMBERS[each % len(NUMBERS)], stream) for each in range(count)
    ]
    await _reach(sink, count)
    return sids


async def _reach(sink: Sink, count: int) -> None:
    """Wait until so many streams are open."""
    if not await _soon(lambda: sink.live == count, UP):
        raise OpsError(
            f"Expected {count} open streams within {UP:g} s, got {sink.live}.",
            fix="start the simulator alone, place a call and read its output",
        )


async def _soon(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes true within so many seconds; asked every 20 ms."""
    for _ in range(int(seconds / 0.02)):
        if true():
            return True
        await asyncio.sleep(0.02)
    return true()


def _idle(here: Stage, count: int, settle: float) -> float:
    """kB that each idle call takes: its stream is open, nobody says anything."""
    with _twilio(here) as (phones, pid):
        return asyncio.run(_silent(phones, pid, count, settle))


async def _silent(phones: Phones, pid: int, count: int, settle: float) -> float:
    sink = Sink()
    await sink.open()
    try:
        for sid in await _place(phones, sink, min(WARM_UP, count), talking=0):
            await asyncio.to_thread(phones.hang_up, sid)
        await _reach(sink, 0)
        before = pss_kib(pid)
        await _place(phones, sink, count, talking=0)
        await asyncio.sleep(settle)
        return (pss_kib(pid) - before) * 1.024 / count
    finally:
        await sink.close()


@contextmanager
def _apart(pid: int, wanted: bool) -> Iterator[bool]:
    """Where `wanted`, one core for the simulator and the others for us; whether that was possible."""
    cores = sorted(os.sched_getaffinity(0))
    if not wanted or len(cores) < 2:
        yield False
        return
    pin(pid, cores[:1])
    pin(os.getpid(), cores[1:])
    try:
        yield True
    finally:
        pin(os.getpid(), cores)
