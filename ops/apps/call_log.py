"""One call as the private page shows it, read from its journal while it goes on."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from ops.journal.collect import Source
from ops.journal.entry import Entry
from ops.journal.follow import Tail
from ops.journal.hops import Hop

LINES, TROUBLES = 200, 20  # at most so many are kept, the last ones
STILL = 15.0  # seconds without a record after which a call without an end counts as over
_HOPS = frozenset(hop.value for hop in Hop)


class CallLog:
    """One call as its journal tells it so far."""

    def __init__(self, sid: str, path: Path) -> None:
        self.sid = sid
        self.began = 0.0
        self._tail = Tail(Source(path, "call"))
        self._last = 0.0
        self._reason: str | None = None
        self._hops: deque[dict[str, Any]] = deque(maxlen=LINES)
        self._said: deque[dict[str, Any]] = deque(maxlen=LINES)
        self._turns: deque[dict[str, Any]] = deque(maxlen=LINES)
        self._troubles: deque[dict[str, Any]] = deque(maxlen=TROUBLES)

    def look(self) -> None:
        for entry in self._tail.new(last=False):
            self._take(entry)

    def close(self) -> None:
        self._tail.close()

    def to_dict(self, live: bool, now: float) -> dict[str, Any]:
        silent = now - self._last > STILL
        return {
            "call_sid": self.sid,
            "live": live or (self._reason is None and not silent),
            "began": self.began,
            "seconds": round(self._last - self.began, 1),
            "reason": self._reason,
            "hops": list(self._hops),
            "said": list(self._said),
            "turns": list(self._turns),
            "troubles": list(self._troubles),
        }

    def _take(self, entry: Entry) -> None:
        at = entry.ts.timestamp()
        self.began = self.began or at
        self._last = max(self._last, at)
        at_ms = round((at - self.began) * 1000)
        if entry.event in ("transcript.caller", "transcript.agent"):
            speaker = entry.event.removeprefix("transcript.")
            self._said.append({"at_ms": at_ms, "speaker": speaker, "text": str(entry.fields.get("text", ""))})
        if entry.event in _HOPS:
            self._hops.append({"at_ms": at_ms, "name": entry.event})
        if entry.event == Hop.ANSWERED:
            row = {name: entry.fields.get(name) for name in ("turn", "latency_ms", "barge_in")}
            self._turns.append({"at_ms": at_ms, **row})
        if entry.event == Hop.ENDED:
            self._reason = str(entry.fields.get("reason", "ended"))
        if entry.level in ("WARNING", "ERROR"):
            self._troubles.append({"at_ms": at_ms, "level": entry.level, "text": entry.msg or entry.event})
