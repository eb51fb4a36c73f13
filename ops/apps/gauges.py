"""The bridge's numbers as Prometheus text: few series, few labels, no call's name in any. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

LATENCY = (0.3, 0.5, 0.8, 1.0, 1.3, 1.8, 2.5, 3.0, 5.0, 10.0)  # seconds
STOP = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)


@dataclass
class Histogram:
    """How many values were at most each bound; the sum and the count of all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        self.counts = [0] * len(self.bounds)

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1
        for index, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[index] += 1


class Pulse(Struct, frozen=True, tag=True):
    """A worker lives: how late its loop is, in seconds at the 95th percentile, and its tasks."""

    lag: float
    tasks: int


class Gauges:
    """Everything that `/metrics` shows."""

    def __init__(self) -> None:
        self.turn_latency = Histogram(LATENCY)
        self.barge_in_stop = Histogram(STOP)
        self.counters: dict[str, float] = dict.fromkeys(
            ("calls", "refused", "resumed", "reconnects", "underruns", "fillers", "given_up"), 0
        )
        self.tokens: dict[str, float] = {}  # by kind, as in `prices.KINDS`
        self.dollars: dict[str, float] = {}  # likewise
        self.lags: deque[float] = deque(maxlen=300)  # the last minute, five a second
        self.elsewhere: dict[int, Pulse] = {}  # the workers', by process

    def measure(self, series: str, value: float = 1.0, label: str = "") -> None:
        """Take one number."""
        if series == "turn_latency":
            self.turn_latency.add(value)
        elif series == "barge_in_stop":
            self.barge_in_stop.add(value)
        elif series == "tokens":
            self.tokens[label] = self.tokens.get(label, 0) + value
        elif series == "dollars":
            self.dollars[label] = self.dollars.get(label, 0) + value
        else:
            self.counters[series] = self.counters.get(series, 0) + value

    @property
    def lag_p95(self) -> float:
        """How late the event loop is, in seconds, at the 95th percentile of the last minute."""
        ordered = sorted(self.lags)
        return ordered[int(0.95 * (len(ordered) - 1))] if ordered else 0.0

    def text(self, now: Mapping[str, float]) -> str:
        """The metrics page; `now` holds what is true at this moment, such as live calls."""
        workers = self.elsewhere.values()
        lag = max(self.lag_p95, *(worker.lag for worker in workers), 0.0)
        tasks = now.get("tasks", 0) + sum(worker.tasks for worker in workers)
        here = {**now, "tasks": tasks, "workers": len(workers), "loop_lag_p95_seconds": round(lag, 6)}
        lines = [*_rows("gauge", here)]
        lines += _rows("counter", {f"{name}_total": value for name, value in self.counters.items()})
        lines += _histogram("turn_latency_seconds", self.turn_latency)
        lines += _histogram("barge_in_stop_seconds", self.barge_in_stop)
        lines += _by_kind("tokens_total", self.tokens)
        lines += _by_kind("dollars_total", self.dollars)
        fresh = sum(count for kind, count in self.tokens.items() if kind.endswith("_in"))
        cached = sum(count for kind, count in self.tokens.items() if kind.endswith("_cached"))
        lines += _rows(
            "gauge", {"cached_input_share": round(cached / (fresh + cached), 4) if fresh + cached else 0}
        )
        return "\n".join(lines) + "\n"


def _rows(kind: str, values: Mapping[str, float]) -> Iterable[str]:
    for name, value in values.items():
        yield f"# TYPE voice_{name} {kind}"
        yield f"voice_{name} {value:.10g}"


def _by_kind(name: str, values: Mapping[str, float]) -> Iterable[str]:
    yield f"# TYPE voice_{name} counter"
    for kind, value in sorted(values.items()):
        modality, _, how = kind.partition("_")
        yield f'voice_{name}{{modality="{modality}",kind="{how}"}} {value:.10g}'


def _histogram(name: str, histogram: Histogram) -> Iterable[str]:
    yield f"# TYPE voice_{name} histogram"
    for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
        yield f'voice_{name}_bucket{{le="{bound:g}"}} {count}'
    yield f'voice_{name}_bucket{{le="+Inf"}} {histogram.count}'
    yield f"voice_{name}_sum {histogram.total:.6f}"
    yield f"voice_{name}_count {histogram.count}"
