"""What to do next, from what is ordered and what was seen. Pure.

    Keep     it runs as ordered
    Stop     it must end: its settings changed, it is no longer ordered, or it has gone silent
    Start    everything it waits for is there
    Wait     until a time, or for something with a name
    Refuse   a stranger holds its port

`start` asks once and refuses as a whole; the supervisor asks again at every turn.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ops.processes.ports import Holder
from ops.processes.state import Life, unresponsive
from ops.services import Service


@dataclass(frozen=True)
class Order:
    """A service as a command ordered it. A higher `serial` asks for a new start of one that had
    failed or stopped; `held` means that a person has stopped it: do not start it again."""

    service: Service
    serial: int = 0
    held: bool = False


@dataclass(frozen=True)
class Seen:
    """What runs of a service: its life, whether its process lives and was started as now ordered."""

    life: Life = field(default_factory=Life)
    lives: bool = False
    same: bool = True
    changed: str = ""  # what differs, in words


@dataclass(frozen=True)
class Observed:
    """Everything that a plan looks at."""

    services: Mapping[str, Seen] = field(default_factory=dict)
    strangers: Mapping[int, Holder] = field(default_factory=dict)  # by the port they hold


@dataclass(frozen=True)
class Keep:
    """It runs as ordered."""

    name: str


@dataclass(frozen=True)
class Stop:
    """It must end."""

    name: str
    why: str


@dataclass(frozen=True)
class Start:
    """Everything it waits for is there."""

    name: str


@dataclass(frozen=True)
class Wait:
    """It is not its turn yet."""

    name: str
    why: str
    until: float | None = None  # monotonic; None: for an event


@dataclass(frozen=True)
class Refuse:
    """A stranger holds its port."""

    name: str
    holder: Holder


Step = Keep | Stop | Start | Wait | Refuse


def plan(orders: Sequence[Order], observed: Observed, now: float) -> list[Step]:
    """One step for each ordered service, and a Stop for each that runs without being ordered."""
    names = {order.service.name for order in orders}
    ready = {name for name, seen in observed.services.items() if seen.lives and seen.life.state == "ready"}
    steps = [_step(order, observed, ready, names, now) for order in orders]
    gone = (
        Stop(name, "it is no longer part of the stack")
        for name, seen in observed.services.items()
        if name not in names and seen.lives
    )
    return [*steps, *gone]


def _step(order: Order, observed: Observed, ready: set[str], names: set[str], now: float) -> Step:
    service = order.service
    seen = observed.services.get(service.name, Seen(same=False))
    life = seen.life
    if seen.lives:
        if order.held:
            return Keep(service.name)  # a command is ending it: it may drain for long
        if not seen.same:
            return Stop(service.name, f"its settings changed: {seen.changed}")
        if unresponsive(life, service.silence, now):
            return Stop(service.name, life.reason)
        return Keep(service.name)
    if order.held or life.state in ("failed", "stopped"):
        return Wait(service.name, life.reason)
    if life.retry_at is not None and now < life.retry_at:
        return Wait(service.name, life.reason, life.retry_at)
    stranger = next((observed.strangers[port] for port in service.ports if port in observed.strangers), None)
    if stranger:
        return Refuse(service.name, stranger)
    missing = [name for name in service.after if name in names and name not in ready]
    if missing and not life.deaths:
        return Wait(service.name, f"waits for {', '.join(missing)}")
    return Start(service.name)


def stop_waves(services: Sequence[Service]) -> list[tuple[str, ...]]:
    """The order of a stop: services in one wave end together, each wave waits for the one before.

    Dependents come before what they need. Whatever neither drains live calls nor depends on a
    service that does stays until those calls are over, since it may carry them (a tunnel, a vendor).
    """
    by_name = {service.name: service for service in services}
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter({name: set() for name in by_name})
    for service in services:
        for needed in service.after:
            if needed in by_name:
                sorter.add(needed, service.name)  # what is needed ends after its dependent
    early = {service.name for service in services if service.drains}
    while more := {s.name for s in services if s.name not in early and early & set(s.after)}:
        early |= more
    for name in by_name:
        if early and name not in early:
            for first in early:
                sorter.add(name, first)
    sorter.prepare()
    waves = []
    while sorter.is_active():
        wave = sorter.get_ready()
        waves.append(tuple(sorted(wave)))
        sorter.done(*wave)
    return waves


def start_depth(services: Sequence[Service]) -> int:
    """How many services wait for one another in the longest row."""
    by_name = {service.name: service for service in services}

    def depth(name: str, seen: tuple[str, ...] = ()) -> int:
        if name not in by_name or name in seen:
            return 0
        return 1 + max((depth(one, (*seen, name)) for one in by_name[name].after), default=0)

    return max((depth(name) for name in by_name), default=0)
