"""`inv bench bridge`: every design under the same load, the bridge on one core and the load on another."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ops.bench import install
from ops.bench.bridge import certificate, outages
from ops.bench.bridge.churn import churn
from ops.bench.bridge.designs import Design, Running, designs, running
from ops.bench.bridge.load import Load, NotUp, soon
from ops.bench.bridge.phone import Door
from ops.bench.bridge.result import CHURN, FLOOR, OURS, HangUp, Memory, Result, Run, Sizes, held
from ops.bench.figures import shown
from ops.bench.stage import Stage, cpu_seconds, stage, waited_seconds
from ops.errors import OpsError

HUNG_UP = 2.0  # seconds after the hang-up until the model's sessions must be closed


class UnknownDesign(OpsError):
    """`--only` names a design that does not exist."""

    exit_code = 2


def measure(sizes: Sizes, only: Sequence[str], progress: Callable[[str], None]) -> Result:
    """Run everything. Ends what it started, also when it is interrupted. Raises OpsError."""
    folder = install.cache()
    every = designs(folder, install.installed(folder, install.RELAYS))
    floor = Design(FLOOR, "no bridge", every[0].way)
    churn_alone = tuple(only) == (CHURN,)
    chosen = chosen_of(every, (OURS,) if churn_alone else only)
    result = Result(sizes, {one.name: one.version for one in chosen})
    for one in chosen:
        if one.version is None:
            progress(f"{one.name} is not installed here and is left out; --install installs it")
    present = [one for one in chosen if one.version is not None]
    with stage() as here, _apart() as cores:
        result.pinned = cores is not None
        place = here.place()
        bench = Bench(here, cores, *certificate.make(place), result, progress)
        if churn_alone:
            bench.churn(present[0])
            return result
        bench.compare([floor, *present])
        for ours in (one for one in present if one.name == OURS):
            bench.abreast(ours, [one for one in present if one is not ours])
            bench.climb(floor, ours)
            bench.churn(ours)
            bench.outages(ours)
    return result


def chosen_of(every: Sequence[Design], only: Sequence[str]) -> list[Design]:
    """Those of these names; without a name, all but variants. Raises UnknownDesign."""
    if unknown := [name for name in only if name not in {one.name for one in every}]:
        known = ", ".join([*(one.name for one in every), f"or {CHURN} alone"])
        raise UnknownDesign(f"There is no design {', '.join(unknown)}.", fix=f"choose from: {known}")
    return [one for one in every if (one.name in only if only else not one.aside)]


@dataclass
class Bench:
    """The stage, and what all runs have in common."""

    here: Stage
    core: int | None
    trusted: Path
    context: ssl.SSLContext
    result: Result
    progress: Callable[[str], None]

    def compare(self, present: list[Design]) -> None:
        """Every design at the same load, taking turns; each begins a round once."""
        sizes = self.result.sizes
        for number in range(sizes.rounds):
            turn, runs = number % len(present), []
            for design in (*present[turn:], *present[:turn]):
                self.progress(f"round {number + 1} of {sizes.rounds}: {design.name}, {sizes.compared} calls")
                runs += self.live(design, sizes.compared, tls=design.name != FLOOR, spans=[sizes.answer])
            self.result.compared.append(runs)

    def abreast(self, ours: Design, peers: list[Design]) -> None:
        """Ours and each peer at once on one core: what disturbs one of them disturbs the other as much."""
        calls, rounds = self.result.sizes.abreast, self.result.sizes.rounds
        for peer in peers if calls else ():
            self.progress(f"{ours.name} and {peer.name} at once, {calls} calls each")
            # Each round starts both anew: where its memory happens to lie makes a process some percent dearer
            # or cheaper for all its life. And which of both a frame finds at work changes what either costs.
            self.result.abreast[peer.name] = [
                self._run(partial(self._abreast, ours, peer, calls, number / rounds))
                for number in range(rounds)
            ]

    async def _abreast(self, ours: Design, peer: Design, calls: int, phase: float) -> tuple[Run, Run]:
        sizes = self.result.sizes
        async with Load(self.context) as one, Load(self.context) as other:
            with self._running(ours, one, tls=True) as bridge, self._running(peer, other, tls=True) as relay:
                await one.bring_up(bridge.door, calls)
                await other.bring_up(relay.door, calls)
                await asyncio.sleep(sizes.warm_up)
                other.set_back(phase)
                return await asyncio.gather(
                    self._window(ours, bridge, one, calls, True, sizes.answer),
                    self._window(peer, relay, other, calls, True, sizes.answer),
                )

    def climb(self, floor: Design, ours: Design) -> None:
        """More and more calls, each level beside the floor; over TLS until one is not held."""
        sizes = self.result.sizes
        spans = [sizes.seconds] * sizes.rounds
        for calls, tls in (*((one, False) for one in sizes.plain), *((one, True) for one in sizes.tls)):
            self.progress(f"{calls} calls{', TLS to the model' if tls else ''}, beside the floor")
            below = self.live(floor, calls, tls=False, spans=spans)
            runs = self.live(ours, calls, tls=tls, spans=spans)
            self.result.levels += [below, runs]
            if tls and not held(runs, below):
                return

    def churn(self, ours: Design) -> None:
        """Calls that come and go, TLS to the model."""
        sizes = self.result.sizes
        if not sizes.churn:
            return
        self.progress(f"{sizes.churning} calls that come and go, for {shown(sizes.churn, 's')}")

        async def work() -> None:
            async with Load(self.context) as load:
                with self._running(ours, load, tls=True) as bridge:
                    dice = random.Random(1)
                    self.result.churn = await churn(load, bridge, sizes.churn, sizes.churning, dice)

        self._run(work)

    def outages(self, ours: Design) -> None:
        """What calls live through."""
        calls = self.result.sizes.outage
        if not calls:
            return

        async def broken() -> None:
            async with Load(self.context) as load:
                with self._running(ours, load, tls=True) as bridge:
                    await load.bring_up(bridge.door, calls)
                    for outage in (outages.barge_in, outages.reset, outages.stall):
                        await asyncio.sleep(self.result.sizes.warm_up)
                        self.result.outages.append(await outage(load))

        async def killed() -> None:
            for resumes in (True, False):
                async with Load() as load:
                    self.result.outages.append(await outages.kill(self.here, load, calls, resumes=resumes))

        self.progress(f"{calls} calls: callers interrupt, the model's sessions are reset, then silent")
        self._run(broken)
        self.progress(f"{calls} calls: the bridge is killed")
        self._run(killed)

    def _run(self, work: Callable[[], Coroutine[None, None, Any]]) -> Any:
        with asyncio.Runner(loop_factory=_fast_loop) as runner:
            return runner.run(work())

    def _running(self, design: Design, load: Load, *, tls: bool) -> AbstractContextManager[Running]:
        return running(self.here, design, load.model.port, self.trusted if tls else None, self.core)

    def live(self, design: Design, calls: int, *, tls: bool, spans: Sequence[float]) -> list[Run]:
        """One life of a design; what its windows of so many seconds were. Trouble is noted and gives none."""
        try:
            runs: list[Run] = self._run(lambda: self._live(design, calls, tls, spans))
            return runs
        except NotUp as problem:
            self.result.trouble.append(f"{design.name}, {calls} calls: {problem}")
            return []

    async def _live(self, design: Design, calls: int, tls: bool, spans: Sequence[float]) -> list[Run]:
        async with Load(self.context if tls else None) as load:
            if design.name == FLOOR:
                door = Door(f"ws://127.0.0.1:{load.model.port}/floor")
                await load.bring_up(door, calls)
                return [await self._window(design, None, load, calls, tls, span) for span in spans]
            with self._running(design, load, tls=tls) as bridge:
                few = min(self.result.sizes.few, calls // 2)
                await load.bring_up(bridge.door, few)
                await asyncio.sleep(self.result.sizes.warm_up)
                before = bridge.pss_kib
                await load.bring_up(bridge.door, calls - few)
                await asyncio.sleep(self.result.sizes.warm_up)
                runs = [await self._window(design, bridge, load, calls, tls, span) for span in spans]
                after = bridge.pss_kib
                kb = (after - before) * 1.024 / max(1, calls - few)
                self.result.memory.append(Memory(design.name, calls, tls, kb, after / 1024))
                await load.hang_up()
                await soon(lambda: not load.model.open, HUNG_UP)
                self.result.hang_ups.append(HangUp(design.name, calls, len(load.model.open)))
                return runs

    async def _window(
        self, design: Design, bridge: Running | None, load: Load, calls: int, tls: bool, seconds: float
    ) -> Run:
        def spent() -> tuple[float, ...]:
            me = os.getpid()
            theirs = (bridge.cpu, bridge.waited) if bridge else (0.0, 0.0)
            return (*theirs, cpu_seconds(me), waited_seconds(me), time.monotonic())

        marks: list[tuple[float, ...]] = []
        window = await load.window(seconds, lambda: marks.append(spent()))
        *spans, lasted = (after - before for before, after in zip(*marks, strict=True))
        cpu, waited, load_cpu, load_waited = (one / lasted for one in spans)
        return Run(design.name, calls, tls, window, cpu, waited, load_cpu, load_waited)


def _fast_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


@contextmanager
def _apart() -> Iterator[int | None]:
    """This process on one core; the core that is left for the bridge, None where there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, set(cores[1:]))
    try:
        yield cores[0]
    finally:
        os.sched_setaffinity(0, set(cores))
