"""Takes turns: each fault planted, asked about and taken away; and every set-up, healthy, several times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from ops.bench.doctor import seeds, setups
from ops.bench.doctor.habitat import Habitat
from ops.bench.doctor.setups import Setup
from ops.bench.doctor.verdict import Verdict, ranked, says
from ops.bench.doctor.zoo import Fault, Where
from ops.bench.doctor.zoo_own import FAULTS
from ops.bench.stage import Stage, stage

PLACES: dict[Where, Setup] = {"live": setups.LIVE, "own": setups.OWN, "bare": setups.BARE}
HEALTHY = 50  # runs
LANES = 2  # set-ups at once: most of the time is waited
TIMED = 3  # runs of each kind for the times, with nothing beside them
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Healthy:
    """One run of a stack that is well: what alarmed all the same."""

    setup: str
    deep: bool
    alarms: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Blackout:
    """A run while no vendor answers: its exit code, what was unknown, what failed all the same."""

    exit_code: int
    unknown: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float

    @property
    def honest(self) -> bool:
        """Exit 4, and for each vendor that it is unknown."""
        groups = {one.partition(".")[0] for one in self.unknown}
        return self.exit_code == 4 and not self.failed and groups >= {"twilio", "openai", "ngrok"}


@dataclass
class Result:
    """All verdicts and healthy runs; seconds of full and deep runs, simulated, with nothing beside."""

    verdicts: list[Verdict] = field(default_factory=list)
    healthy: list[Healthy] = field(default_factory=list)
    blackout: Blackout | None = None
    full: list[float] = field(default_factory=list)
    deep: list[float] = field(default_factory=list)


def measure(progress: Progress, *, faults: Iterable[Fault] = FAULTS, healthy: int = HEALTHY) -> Result:
    """Seed everything and judge from `validate --json` alone. Ends all it started, also when interrupted."""
    result = Result()
    wanted = tuple(faults)
    lanes = {where: [one for one in wanted if one.where == where] for where in PLACES}
    each = -(-healthy // len(setups.SETUPS))
    with stage() as here:
        if healthy:
            _timed(here, result, progress)
        with ThreadPoolExecutor(LANES) as pool:
            jobs = [
                pool.submit(_zoo, here, PLACES[where], ones, result, progress)
                for where, ones in lanes.items() if ones
            ]  # fmt: skip
            jobs += [
                pool.submit(_healthy, here, one, each, result, progress)
                for one in setups.SETUPS if healthy
            ]  # fmt: skip
            for job in jobs:
                job.result()
    order = {fault.name: index for index, fault in enumerate(wanted)}
    result.verdicts.sort(key=lambda one: order[one.fault])
    return result


@contextmanager
def inhabited(here: Stage, setup: Setup) -> Iterator[Habitat]:
    """A habitat that is up."""
    habitat = Habitat.make(here, setup)
    habitat.start()
    try:
        yield habitat
    finally:
        habitat.stop()


def judged(habitat: Habitat, fault: Fault) -> Verdict:
    """Plants one fault, asks, mends it where that is promised, and takes it away."""
    undo = seeds.apply(fault.seeds, habitat)
    try:
        words = ("--deep",) if fault.deep else ()
        findings = habitat.validate(*words, wrapper=_wrapper(fault))["findings"]
        seconds = habitat.seconds
        return Verdict(
            fault.name,
            fault.rule,
            ranked(findings, fault.known),
            says(findings, fault.rule, fault.words),
            seconds,
            _mended(habitat, fault) if fault.fix else None,
        )
    finally:
        undo()
        habitat.settle()


def _wrapper(fault: Fault) -> tuple[str, ...]:
    """What is put before the command; root needs no namespace of users to mount."""
    if fault.wrapper[:2] == ("unshare", "-rm") and os.geteuid() == 0:
        return ("unshare", "-m", *fault.wrapper[2:])
    return fault.wrapper


def _mended(habitat: Habitat, fault: Fault) -> bool:
    """Whether `--fix` says that it mended this, and a run of its own finds the rule content."""
    done = habitat.validate("--fix")["findings"]
    if not any(one["id"] == fault.fix and one["status"] == "ok" for one in done):
        return False
    again = habitat.validate()["findings"]
    found = next((one for one in again if one["id"] == fault.rule), None)
    if fault.rule in fault.known or fault.rule == "service.stack":  # only its stale state was mended
        return found is not None and fault.words not in found["summary"]
    return found is not None and found["status"] in ("ok", "skip") and not ranked(again, fault.known)


def _zoo(here: Stage, setup: Setup, faults: list[Fault], result: Result, progress: Progress) -> None:
    with inhabited(here, setup) as habitat:
        for fault in faults:
            verdict = judged(habitat, fault)
            place = verdict.place or "nowhere"
            progress(f"{setup.name}: {fault.name}: {fault.rule} is at {place}{_and(verdict.others)}")
            result.verdicts.append(verdict)


def _healthy(here: Stage, setup: Setup, runs: int, result: Result, progress: Progress) -> None:
    with inhabited(here, setup) as habitat:
        for number in range(runs):
            deep = number == 0 and setup.way_in != "none"
            findings = habitat.validate(*(("--deep",) if deep else ()))["findings"]
            one = Healthy(setup.name, deep, ranked(findings), habitat.seconds)
            result.healthy.append(one)
            progress(f"{setup.name}: healthy run {number + 1}{_and(one.alarms)}")
        if setup == setups.LIVE:
            result.blackout = blackout(habitat)


def blackout(habitat: Habitat) -> Blackout:
    """Asks while no vendor answers."""
    with habitat.vendors.blackout():
        document = habitat.validate()
    by = {
        status: tuple(one["id"] for one in document["findings"] if one["status"] == status)
        for status in ("unknown", "fail")
    }
    return Blackout(document["exit_code"], by["unknown"], by["fail"], habitat.seconds)


def _timed(here: Stage, result: Result, progress: Progress) -> None:
    simulated = next(one for one in setups.SETUPS if not one.live and one.way_in == "tunnel" and not one.own)
    with inhabited(here, simulated) as habitat:
        for _ in range(TIMED):
            for words, times in (((), result.full), (("--deep",), result.deep)):
                habitat.validate(*words)
                times.append(habitat.seconds)
                progress(f"timed: validate {' '.join(words)}: {habitat.seconds:.2f} s")


def _and(others: tuple[str, ...]) -> str:
    return f", and {', '.join(others)}" if others else ""
