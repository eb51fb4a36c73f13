"""What happened in one call: (scenario, journal records) → hops, turns, transcript. Pure.

All times are milliseconds since the call was placed, by the records' own clock. Turn latency is
what the bridge measured: the caller's last voiced sample to the first agent frame due to play.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ops.calls.scenario import Expected, Scenario
from ops.journal.hops import Hop

Record = Mapping[str, Any]
HOPS = frozenset(hop.value for hop in Hop)


@dataclass(frozen=True)
class HopRow:
    """One expected hop: when it happened first, how long after its reference, and whether in time."""

    name: str
    at_ms: float | None
    status: Literal["ok", "late", "missing"]
    expected: Expected
    took_ms: float | None = None


@dataclass(frozen=True)
class Turn:
    index: int
    latency_ms: float
    barge_in: bool
    at_ms: float


@dataclass(frozen=True)
class Said:
    at_ms: float
    speaker: Literal["caller", "agent"]
    text: str


@dataclass(frozen=True)
class Mark:
    """One hop as it happened; a hop may happen in every turn."""

    at_ms: float
    name: str


@dataclass(frozen=True)
class Trouble:
    """The records of one event that were logged as ERROR or WARNING."""

    at_ms: float
    level: Literal["ERROR", "WARNING"]
    service: str
    event: str
    message: str
    count: int


@dataclass(frozen=True)
class Timeline:
    """`started` is the origin of all times in seconds since the epoch; `stops_ms` has one number for
    each interruption: from the caller's detected speech to the emptied phone buffer; `unmeasured`
    counts answers whose latency is not a number."""

    started: float
    hops: tuple[HopRow, ...]
    turns: tuple[Turn, ...]
    unmeasured: int
    said: tuple[Said, ...]
    marks: tuple[Mark, ...]
    stops_ms: tuple[float, ...]
    troubles: tuple[Trouble, ...]

    @property
    def length_ms(self) -> float:
        return max((mark.at_ms for mark in self.marks), default=0.0)

    def first(self, hop: Hop) -> float | None:
        """When a hop happened first."""
        return next((mark.at_ms for mark in self.marks if mark.name == hop), None)


def read(scenario: Scenario, records: Iterable[Record]) -> Timeline:
    """One call's timeline; records without a readable time are left out, order does not matter."""
    timed = [(at, record) for record in records if (at := moment(record)) is not None]
    timed.sort(key=lambda pair: pair[0])
    first = timed[0][0] if timed else 0.0
    origin = next((at for at, record in timed if record.get("event") == Hop.PLACED), first)
    events = [(round((at - origin) * 1000, 1), record) for at, record in timed]
    marks = tuple(Mark(at, str(record["event"])) for at, record in events if record.get("event") in HOPS)
    answered = [(at, record) for at, record in events if record.get("event") == Hop.ANSWERED]
    turns = tuple(
        Turn(
            _index(record, number), round(float(record["latency_ms"]), 1), record.get("barge_in") is True, at
        )
        for number, (at, record) in enumerate(answered)
        if _is_number(record.get("latency_ms"))
    )
    return Timeline(
        started=origin,
        hops=_hops(scenario, marks),
        turns=turns,
        unmeasured=len(answered) - len(turns),
        said=tuple(_said(events)),
        marks=marks,
        stops_ms=_stops(marks),
        troubles=_troubles(events),
    )


def moment(record: Record) -> float | None:
    """Seconds since the epoch from a record's `ts`; None when it has no readable one."""
    try:
        return datetime.fromisoformat(record["ts"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def percentile(values: Sequence[float], share: float) -> float:
    """The exact percentile by nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _index(record: Record, number: int) -> int:
    index = record.get("turn")
    return index if isinstance(index, int) else number


def _hops(scenario: Scenario, marks: Sequence[Mark]) -> tuple[HopRow, ...]:
    seen: dict[str, list[float]] = {}
    for mark in marks:
        seen.setdefault(mark.name, []).append(mark.at_ms)
    rows = []
    for expected in (Expected(Hop.PLACED, 0, Hop.PLACED), *scenario.hops):
        if expected.hop not in seen:
            rows.append(HopRow(expected.hop, None, "missing", expected))
            continue
        at = seen[expected.hop][0]
        before = seen.get(expected.after, [at])
        took = round(at - max((one for one in before if one <= at), default=before[0]), 1)
        rows.append(HopRow(expected.hop, at, "late" if took > expected.within_ms else "ok", expected, took))
    return tuple(rows)


def _said(events: Sequence[tuple[float, Record]]) -> Iterable[Said]:
    for at, record in events:
        if record.get("event") == "transcript.caller":
            yield Said(at, "caller", str(record.get("text", "")))
        elif record.get("event") == "transcript.agent":
            yield Said(at, "agent", str(record.get("text", "")))


def _stops(marks: Sequence[Mark]) -> tuple[float, ...]:
    onset: float | None = None
    stops = []
    for mark in marks:
        if mark.name == Hop.CALLER_SPEAKS:
            onset = mark.at_ms
        elif mark.name == Hop.CLEARED and onset is not None:
            stops.append(round(mark.at_ms - onset, 1))
    return tuple(stops)


def _troubles(events: Sequence[tuple[float, Record]]) -> tuple[Trouble, ...]:
    groups: dict[tuple[str, str], list[tuple[float, Record]]] = {}
    for at, record in events:
        if record.get("level") in ("ERROR", "WARNING"):
            groups.setdefault((record["level"], str(record.get("event", "?"))), []).append((at, record))
    return tuple(
        Trouble(
            at_ms=group[0][0],
            level="ERROR" if level == "ERROR" else "WARNING",
            service=str(group[0][1].get("service", "a service")),
            event=event,
            message=str(group[0][1].get("msg") or event),
            count=len(group),
        )
        for (level, event), group in groups.items()
    )
