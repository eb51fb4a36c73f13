"""How evenly frames came, and when marks should have: from arrival times alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from ops.bench.figures import percentile

RATE = 8000  # samples a second
AT_ENDS = 50  # frames at each end of a call that tell how its clock ran


@dataclass(frozen=True)
class Pacing:
    """Lateness of frames against an even 20 ms clock, in ms, and how far that clock ran away."""

    frames: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    drift_ms: float


def pacing(calls: Iterable[Sequence[float]]) -> Pacing | None:
    """From the offsets of each call's frames (arrival minus place in the stream, seconds).

    A call's clock is where its earliest frame puts it, so that every later one is late by what is
    left. Drift is the difference between the medians of the call's last and first second; the
    largest of all calls.
    """
    late: list[float] = []
    drifts: list[float] = []
    for offsets in calls:
        if not offsets:
            continue
        first = min(offsets)
        late += [(offset - first) * 1000 for offset in offsets]
        ends = min(AT_ENDS, len(offsets))
        drifts.append(abs(median(offsets[-ends:]) - median(offsets[:ends])) * 1000)
    if not late:
        return None
    return Pacing(len(late), percentile(late, 0.5), percentile(late, 0.99), max(late), max(drifts))


class PlayOut:
    """When marks should come back: audio follows audio, or begins when it is sent to an idle phone."""

    def __init__(self) -> None:
        self._end = 0.0
        self._due: dict[str, float] = {}

    def send(self, samples: int, mark: str, now: float) -> None:
        """Audio of so many samples, and a mark behind it, were sent now (seconds)."""
        self._end = max(now, self._end) + samples / RATE
        self._due[mark] = self._end

    def echoed(self, mark: str, now: float) -> float | None:
        """How many ms after its time a mark came back (before: negative), None for one never sent."""
        due = self._due.pop(mark, None)
        return None if due is None else (now - due) * 1000

    @property
    def waiting(self) -> int:
        """Marks that have not come back."""
        return len(self._due)
