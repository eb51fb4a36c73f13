"""Entries → what they say together: errors by kind, silences, slow hops, latencies. Pure.

Errors are counted in calls, not only in lines: one that hit seventeen callers matters more than one
that one call repeated a hundred times.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.findings import Finding, ok, warn
from ops.journal.entry import LEVELS, Entry, stamp
from ops.journal.hops import Hop

MOST_GROUPS = 1_000  # kinds of error kept apart; the rest is one kind
MOST_VALUES = 100_000  # latencies of one name that percentiles look at: the newest
MOST_CALLS = 20_000  # calls whose silences and hops are watched at once
DURATIONS = ("latency_ms", "took_ms", "handshake_ms", "duration_ms")  # other `…_ms` are places in a call
SILENCE = 3.0  # seconds without an answer after the caller stopped speaking
GAP = 30.0  # seconds without any record in a call

# A step of a call, and the seconds within which it should be taken.
BUDGETS: Mapping[tuple[Hop, Hop], float] = {
    (Hop.PLACED, Hop.WEBHOOK): 10.0,
    (Hop.WEBHOOK, Hop.TWIML): 1.0,
    (Hop.TWIML, Hop.UPGRADED): 5.0,
    (Hop.UPGRADED, Hop.STARTED): 2.0,
    (Hop.STARTED, Hop.MODEL_READY): 3.0,
    (Hop.MODEL_READY, Hop.FIRST_AUDIO): 3.0,
}

_VARIABLE = re.compile(
    r"\b[A-Z]{2}[0-9a-f]{32}\b|\b[a-z]+_[A-Za-z0-9]{8,}\b|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|0x[0-9a-fA-F]+|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|[+-]?\d+(?:[.,:]\d+)*|'[^']*'|\"[^\"]*\""
)


@dataclass
class Group:
    """One kind of warning or error: how often, in which calls, when, and one of them."""

    fingerprint: str
    example: Entry
    first: datetime
    last: datetime
    count: int = 0
    calls: set[str] = field(default_factory=set)

    def to_dict(self) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint,
            "level": self.example.level,
            "service": self.example.service,
            "event": self.example.event,
            "example": said_shortly(self.example),
            "count": self.count,
            "calls": len(self.calls),
            "first": stamp(self.first),
            "last": stamp(self.last),
        }


@dataclass
class _Call:
    """What is remembered of one call while its records go by."""

    at: datetime
    hops: dict[str, datetime] = field(default_factory=dict)
    silent_since: datetime | None = None


class Analysis:
    """Takes entries in order of time, one by one, in bounded memory; then tells."""

    def __init__(self) -> None:
        self.total = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.levels: Counter[str] = Counter()
        self.services: Counter[str] = Counter()
        self.calls: set[str] = set()
        self.groups: dict[str, Group] = {}
        self.latencies: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_VALUES))
        self.silences: list[dict[str, Any]] = []
        self.gaps: list[dict[str, Any]] = []
        self.slow: list[dict[str, Any]] = []
        self._live: dict[str, _Call] = {}

    def add(self, entry: Entry) -> None:
        self.total += 1
        self.first = self.first or entry.ts
        self.last = entry.ts
        self.levels[entry.level] += 1
        self.services[entry.service] += 1
        if LEVELS[entry.level] >= LEVELS["WARNING"]:
            self._count(entry)
        for name, value in entry.fields.items():
            if name.endswith(DURATIONS) and isinstance(value, (int, float)) and math.isfinite(value):
                key = f"{entry.event} {name}"
                if key in self.latencies or len(self.latencies) < MOST_GROUPS:
                    self.latencies[key].append(float(value))
        if sid := entry.call_sid:
            if len(self.calls) < MOST_CALLS * 10:
                self.calls.add(sid)
            self._follow(sid, entry)

    def _count(self, entry: Entry) -> None:
        key = fingerprint(entry)
        if key not in self.groups and len(self.groups) >= MOST_GROUPS:
            key = "other"
        group = self.groups.setdefault(key, Group(key, entry, entry.ts, entry.ts))
        group.count += 1
        group.last = entry.ts
        if (sid := entry.call_sid) and len(group.calls) < MOST_CALLS:
            group.calls.add(sid)

    def _follow(self, sid: str, entry: Entry) -> None:
        """Watch one call: its silences, its gaps, the steps that took too long."""
        if sid not in self._live and len(self._live) >= MOST_CALLS:
            self._live.pop(next(iter(self._live)))
        call = self._live.setdefault(sid, _Call(entry.ts))
        quiet = (entry.ts - call.at).total_seconds()
        if quiet > GAP and len(self.gaps) < MOST_GROUPS:
            self.gaps.append({"call_sid": sid, "from": stamp(call.at), "seconds": round(quiet, 3)})
        call.at = entry.ts
        if entry.event == Hop.CALLER_SILENT:
            call.silent_since = entry.ts
        elif (
            entry.event in (Hop.AGENT_SPEAKS, Hop.CALLER_SPEAKS, Hop.STOPPED, Hop.ENDED) and call.silent_since
        ):
            waited = (entry.ts - call.silent_since).total_seconds()
            if waited > SILENCE and len(self.silences) < MOST_GROUPS:
                row = {"call_sid": sid, "from": stamp(call.silent_since), "seconds": round(waited, 3)}
                self.silences.append(row | {"ended_by": entry.event})
            call.silent_since = None
        for (before, after), budget in BUDGETS.items():
            if entry.event == after and after not in call.hops and before in call.hops:
                took = (entry.ts - call.hops[before]).total_seconds()
                if took > budget and len(self.slow) < MOST_GROUPS:
                    step = {"call_sid": sid, "from": str(before), "to": str(after)}
                    self.slow.append(step | {"seconds": round(took, 3), "budget": budget})
        call.hops.setdefault(entry.event, entry.ts)
        if entry.event == Hop.ENDED:
            del self._live[sid]

    def findings(self) -> tuple[Finding, ...]:
        """Answers for people. Trouble in the logs is a `warn`: reading them did not fail."""
        if not self.total:
            return (ok("logs.read", "No records match."),)
        found = [
            ok(
                "logs.read",
                f"{self.total} records of {len(self.services)} services, {len(self.calls)} calls.",
            )
        ]
        for group in self._ranked()[:10]:
            if group.example.level == "ERROR":
                found.append(_error_finding(group))
        if self.silences:
            worst = max(self.silences, key=lambda row: float(row["seconds"]))
            found.append(
                warn(
                    "logs.silence",
                    f"{len(self.silences)} times a caller waited over {SILENCE:g} s for an answer; "
                    f"the longest heard nothing for {worst['seconds']:.1f} s.",
                    fix=f"look at that call: inv logs --call {worst['call_sid']}",
                    **worst,
                )
            )
        if self.slow:
            worst = max(self.slow, key=lambda row: float(row["seconds"]) / float(row["budget"]))
            found.append(
                warn(
                    "logs.slow-hop",
                    f"{len(self.slow)} steps of calls took too long; {worst['from']} → {worst['to']} took "
                    f"{worst['seconds']:.1f} s of {worst['budget']:g} s.",
                    fix=f"look at that call: inv logs --call {worst['call_sid']}",
                    **worst,
                )
            )
        return tuple(found)

    def data(self) -> dict[str, Any]:
        return {
            "records": self.total,
            "first": stamp(self.first) if self.first else None,
            "last": stamp(self.last) if self.last else None,
            "levels": {name: self.levels[name] for name in LEVELS},
            "services": dict(sorted(self.services.items())),
            "calls": len(self.calls),
            "errors": [group.to_dict() for group in self._ranked()],
            "latency": {name: percentiles(values) for name, values in sorted(self.latencies.items())},
            "silences": self.silences,
            "gaps": self.gaps,
            "slow_hops": self.slow,
        }

    def _ranked(self) -> list[Group]:
        """The worst first: by level, then calls hit, then records."""

        def weight(group: Group) -> tuple[int, int, int]:
            return LEVELS[group.example.level], len(group.calls), group.count

        return sorted(self.groups.values(), key=weight, reverse=True)


def analyse(entries: Iterable[Entry]) -> Analysis:
    """All that `entries`, in order of time, say together."""
    analysis = Analysis()
    for entry in entries:
        analysis.add(entry)
    return analysis


def fingerprint(entry: Entry) -> str:
    """Eight hexadecimal digits that are the same for records that differ only in numbers, ids and quotes."""
    said = _VARIABLE.sub("#", str(entry.fields.get("exc_msg") or entry.msg))
    kind = entry.fields.get("exc_type", "")
    parts = (entry.level, entry.service, entry.logger, entry.event, str(kind), said[:200])
    return hashlib.blake2s("\0".join(parts).encode("utf-8", "replace"), digest_size=4).hexdigest()


def percentiles(values: Sequence[float] | deque[float]) -> dict[str, float]:
    """Count, p50, p95, p99 (nearest rank: each is a value that occurred) and the greatest."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return {"count": len(ordered), "p50": rank(0.5), "p95": rank(0.95), "p99": rank(0.99), "max": rank(1.0)}


def said_shortly(entry: Entry) -> str:
    """A record's event and text in at most 200 characters."""
    kind = entry.fields.get("exc_type")
    text = " ".join(
        part for part in (entry.msg, f"({kind}: {entry.fields.get('exc_msg')})" if kind else "") if part
    )
    event = "" if entry.event == "log" else f"{entry.event} "
    return (event + text)[:200]


def _error_finding(group: Group) -> Finding:
    hit = f", {len(group.calls)} calls hit" if group.calls else ""
    times = "once" if group.count == 1 else f"{group.count} times"
    example = said_shortly(group.example)
    sid = group.example.call_sid
    look = f"inv logs --call {sid}" if sid else f"inv logs --level ERROR --service {group.example.service}"
    return warn(
        f"logs.error.{group.fingerprint}",
        f"{group.example.service}: {example} ({times}{hit}).",
        fix=f"see what led to it: {look}",
        **group.to_dict(),
    )
