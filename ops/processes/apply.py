"""Ends processes: the stop signal, a limit, SIGKILL, and a census until nobody is left. Gives a receipt.

Signals go to every process of a service at once, so a shell wrapper that passes nothing on and a
helper in a session of its own hear it too. Works alike whether a supervisor lives or not.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.processes import identity, procfs
from ops.processes.census import Member, census
from ops.processes.drain import Health, health
from ops.processes.identity import Identity
from ops.processes.interrupt import Hurry
from ops.processes.outcome import Drains, Ended, Progress, StillThere, silent
from ops.processes.plan import stop_waves
from ops.processes.records import Wanted
from ops.services import Service

AFTER_DRAIN = 3.0  # seconds for a draining service between its limit and SIGKILL
HELPERS = 2.0  # seconds for what belongs to no service that we know
NOW = 1.0  # seconds between the stop signal and SIGKILL when there is no time to drain
AFTER_KILL = 10.0  # seconds in which a killed process must be gone
SURE = 2  # counts of nobody until nobody is left: what forks and ends while we read /proc can be missed once
LOOK = 0.05  # seconds between two counts while something is left


@dataclass
class Receipt:
    """What was ended, and how; and what could not be."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)


def end_all(
    wanted: Wanted | None,
    root: Path,
    receipt: Receipt,
    *,
    token: str | None = None,
    drain_seconds: float = 0.0,
    now: bool = False,
    progress: Progress = silent,
    hurry: Hurry | None = None,
) -> None:
    """End everything of this stack, dependents first, then whatever the census still finds; once
    `hurry` is asked, by SIGKILL."""
    services = {service.name: service for service in wanted.services} if wanted else {}
    token = wanted.token if wanted else token
    crew = Crew(token, root, receipt, progress, hurry or Hurry())
    for wave in stop_waves(tuple(services.values())):
        crew.end([services[name] for name in wave], drain_seconds=drain_seconds, now=now)
    crew.end(None, drain_seconds=0.0, now=now)


def end_services(
    wanted: Wanted, names: frozenset[str], *, drain_seconds: float = 0.0, progress: Progress = silent
) -> None:
    """End these services of a stack and nothing else."""
    crew = Crew(wanted.token, wanted.root, Receipt(), progress, Hurry())
    services = {service.name: service for service in wanted.services if service.name in names}
    for wave in stop_waves(tuple(services.values())):
        crew.end([services[name] for name in wave], drain_seconds=drain_seconds, now=False)


@dataclass
class _Target:
    """One process that is being ended."""

    member: Member
    pidfd: int
    asked_at: float
    last_signal: str
    told_at: float
    asked_again: bool = False


class Crew:
    """Ends the processes of one stack, one wave after another."""

    def __init__(
        self,
        token: str | None,
        root: Path,
        receipt: Receipt,
        progress: Progress,
        hurry: Hurry,
    ) -> None:
        self._token, self._root = token, root
        self._receipt, self._progress, self._hurry = receipt, progress, hurry

    def end(self, services: Sequence[Service] | None, *, drain_seconds: float, now: bool) -> None:
        """End these services (None: every process of the stack); returns when none of theirs is left."""
        by_name = {service.name: service for service in services or ()}
        began = next_count = time.monotonic()
        drains = {s.name: _Drain(s, drain_seconds) for s in by_name.values() if s.drains and not now}
        limits = {s.name: NOW if now else _limit(s, drains.get(s.name)) for s in by_name.values()}
        targets: dict[Identity, _Target] = {}
        killed_at: float | None = None
        empty, enough = 0, SURE if services is None else 1
        try:
            while True:
                clock = time.monotonic()
                if clock >= next_count:
                    found = self._members(services, by_name)
                    empty = 0 if found else empty + 1
                    for member in found:
                        if member.identity not in targets:
                            self._ask(member, by_name, targets)
                    next_count = clock + LOOK
                self._collect(targets)
                if not targets:
                    if empty >= enough:
                        return
                    next_count = clock
                    continue
                for drain in drains.values():
                    drain.tell(self._progress, clock - began)
                self._escalate(targets, limits, drains, clock - began)
                if any(target.last_signal != "SIGKILL" for target in targets.values()):
                    killed_at = None
                elif killed_at is None:
                    killed_at = clock
                elif clock - killed_at > AFTER_KILL:
                    self._give_up(targets)
                    return
                _wait(targets, max(0.0, next_count - time.monotonic()))
        finally:
            for target in targets.values():
                os.close(target.pidfd)

    def _members(self, services: Sequence[Service] | None, by_name: dict[str, Service]) -> list[Member]:
        everyone = census(self._token, self._root)
        return everyone if services is None else [one for one in everyone if one.service in by_name]

    def _ask(self, member: Member, by_name: dict[str, Service], targets: dict[Identity, _Target]) -> None:
        pidfd = identity.open_pidfd(member.identity)
        if pidfd is None:
            return
        service = by_name.get(member.service)
        name = service.stop_signal if service else "SIGTERM"
        if self._hurry.asked:
            name = "SIGKILL"
        now = time.monotonic()
        targets[member.identity] = _Target(member, pidfd, now, name, now)
        _signal(pidfd, name)

    def _collect(self, targets: dict[Identity, _Target]) -> None:
        """Take those that are gone off the list and onto the receipt."""
        poll = select.poll()
        for target in targets.values():
            poll.register(target.pidfd, select.POLLIN)
        gone = {handle for handle, _ in poll.poll(0)}
        for who, target in list(targets.items()):
            if target.pidfd in gone:
                ms = round((time.monotonic() - target.asked_at) * 1000, 1)
                name = target.member.service or "(unnamed)"
                row = {"name": name, "pid": who.pid, "signal": target.last_signal, "ms": ms, "gone": True}
                self._receipt.rows.append(row)
                os.close(target.pidfd)
                del targets[who]
                self._progress(Ended(name, who.pid, target.last_signal, ms))

    def _escalate(
        self,
        targets: dict[Identity, _Target],
        limits: dict[str, float],
        draining: Mapping[str, _Drain],
        waited: float,
    ) -> None:
        """Signal harder where the time is over, and say once a second who is still there."""
        clock = time.monotonic()
        for target in targets.values():
            name = target.member.service
            drains = name in draining
            over = waited - limits.get(name, HELPERS)
            if target.last_signal == "SIGKILL":
                pass
            elif self._hurry.asked or over >= (AFTER_DRAIN if drains else 0.0):
                target.last_signal = "SIGKILL"
                _signal(target.pidfd, "SIGKILL")
            elif drains and over >= 0.0 and not target.asked_again:
                target.asked_again = True
                _signal(target.pidfd, "SIGTERM")
            if clock - target.told_at >= 1.0:
                target.told_at = clock
                pid = target.member.identity.pid
                why = f"{target.last_signal} sent, {_doing(pid)}"
                self._progress(StillThere(name or "(unnamed)", pid, clock - target.asked_at, why))

    def _give_up(self, targets: dict[Identity, _Target]) -> None:
        for who, target in targets.items():
            name = target.member.service or "(unnamed)"
            self._receipt.rows.append(
                {"name": name, "pid": who.pid, "signal": "SIGKILL", "ms": None, "gone": False}
            )
            self._receipt.left.append(
                {"name": name, "pid": who.pid, "command": procfs.command(who.pid), "why": _doing(who.pid)}
            )


class _Drain:
    """The live calls of one stopping service, as far as it tells."""

    def __init__(self, service: Service, seconds: float) -> None:
        self.service, self.seconds = service, seconds
        self.first: Health | None = health(service.port) if service.port else None
        self._next = 0.0

    @property
    def live(self) -> int:
        return (self.first.live_calls or 0) if self.first else 0

    def tell(self, progress: Progress, waited: float) -> None:
        """Once a second, how many calls are left."""
        if not self.live or time.monotonic() < self._next or not self.service.port:
            return
        self._next = time.monotonic() + 1.0
        found = health(self.service.port, 0.5)
        if found and found.live_calls:
            left = max(0.0, self.seconds - waited)
            progress(Drains(self.service.name, found.live_calls, found.oldest_seconds, left))


def _limit(service: Service, drain: _Drain | None) -> float:
    """Seconds from the stop signal to the harder one."""
    return drain.seconds if drain and drain.live else service.grace


def _signal(pidfd: int, name: str) -> None:
    identity.send(pidfd, getattr(signal, name, signal.SIGTERM))
    if name != "SIGKILL":
        identity.send(pidfd, signal.SIGCONT)  # a suspended process hears nothing else


def _wait(targets: dict[Identity, _Target], seconds: float) -> None:
    poll = select.poll()
    for target in targets.values():
        poll.register(target.pidfd, select.POLLIN)
    poll.poll(max(1, int(seconds * 1000)))


def _doing(pid: int) -> str:
    state = procfs.stat(pid)
    words = {"D": "it waits for a disk or device and cannot be ended now", "T": "it is suspended"}
    return words.get(state.state, "it is still running") if state else "it is gone"
