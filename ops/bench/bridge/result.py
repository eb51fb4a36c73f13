"""What a run of the bridge's bench brings home, as values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, linear_regression, median

from ops.bench.bridge.book import Window
from ops.bench.figures import middle, percentile

OURS, FLOOR = "trunkline", "floor"
RARE_MARKS = "node-ws-rare-marks"  # the relay over Node, with as few marks as ours
CHURN = "churn"  # the name by which `--only` asks for that part alone, of ours
ADDED_MS = 20.0  # p99 beyond the floor from which on a level is not held
ON_PACE = 0.01  # share of the load's own frames that may be late
FULL = 0.95  # share of its core from which on the load can do no more


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Seconds, and calls at once."""

    rounds: int = 5
    seconds: float = 1.5  # of a window
    answer: float = 5.0  # of one in which processor time is compared: as long as an answer, and all its work
    warm_up: float = 1.0
    few: int = 5  # calls that are up when memory is read for the first time
    compared: int = 100  # calls at which the designs are compared, TLS to the model
    abreast: int = 50  # calls of ours and of one peer at once, on the same core; 0: none are
    plain: tuple[int, ...] = (10, 50, 100, 250)
    tls: tuple[int, ...] = (200, 300, 400, 500, 600, 700, 800)  # until one is not held
    churn: float = 45.0
    churning: int = 50  # calls at once, while they come and go
    outage: int = 20  # calls while something breaks; 0: nothing is broken


@dataclass(frozen=True)
class Run:
    """One window of one design."""

    design: str
    calls: int
    tls: bool
    window: Window
    cpu: float  # of one core, taken by the bridge
    waited: float  # share of the time that it was ready to run and had no core
    load_cpu: float
    load_waited: float

    @property
    def cpu_call_minute(self) -> float:
        """CPU seconds for a minute of one call."""
        return self.cpu * 60 / self.calls


@dataclass(frozen=True)
class Memory:
    """What calls cost a design."""

    design: str
    calls: int
    tls: bool
    kb: float  # for each call
    whole_mib: float  # with all of them up


@dataclass(frozen=True)
class HangUp:
    """What was still open at the model after everybody had hung up."""

    design: str
    calls: int
    left: int


@dataclass(frozen=True)
class Churn:
    """Calls that came and went for a while, and the bridge's memory meanwhile."""

    seconds: float
    at_once: int
    calls: int
    failed: int
    left: int  # sessions open at the model after the last hang-up
    own_kib: tuple[tuple[float, float], ...]  # made by itself, at so many seconds

    @property
    def settled(self) -> list[tuple[float, float]]:
        """The second half: until then caches and books fill up."""
        return [(at, kib) for at, kib in self.own_kib if at >= self.seconds / 2]

    @property
    def kb_an_hour(self) -> float | None:
        """The slope of the second half (least squares)."""
        points = self.settled
        if len(points) < 3:
            return None
        slope, _ = linear_regression(*zip(*points, strict=True))
        return slope * 3600 * 1.024

    @property
    def growth(self) -> float | None:
        """How much of itself memory grew in the second half, by that slope."""
        slope, points = self.kb_an_hour, self.settled
        if slope is None:
            return None
        return slope / 1.024 * (points[-1][0] - points[0][0]) / 3600 / fmean(kib for _, kib in points)


@dataclass(frozen=True)
class Outage:
    """Something broke under calls; for each that went on, the seconds until it was mended."""

    name: str
    calls: int
    lost: int
    seconds: tuple[float, ...]
    left: int = 0  # sessions open at the model afterwards, beyond those of live calls

    @property
    def p95(self) -> float | None:
        return percentile(self.seconds, 0.95) if self.seconds else None


@dataclass
class Result:
    """All that was measured."""

    sizes: Sizes
    versions: dict[str, str | None] = field(default_factory=dict)
    pinned: bool = True
    compared: list[list[Run]] = field(default_factory=list)  # one list a round
    abreast: dict[str, list[tuple[Run, Run]]] = field(default_factory=dict)  # by peer: ours and its, at once
    levels: list[list[Run]] = field(default_factory=list)  # one list a design and number of calls
    memory: list[Memory] = field(default_factory=list)
    hang_ups: list[HangUp] = field(default_factory=list)
    churn: Churn | None = None
    outages: list[Outage] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


def held(runs: Sequence[Run], floor: Sequence[Run]) -> bool:
    """Whether a level was carried, by a load on its pace: nothing lost, and the median p99 less than 20 ms
    above the floor's."""
    added_ms = added(runs, floor)
    if added_ms is None or not in_time(runs):
        return False
    return added_ms < ADDED_MS and not any(run.window.lost for run in runs)


def in_time(runs: Sequence[Run]) -> bool:
    """Whether the load kept its own clock in the median run: what it was too late for was not asked of the
    bridge."""
    return median(run.window.late for run in runs) <= ON_PACE


def on_pace(runs: Sequence[Run]) -> bool:
    """Likewise, and with some of its core to spare: else a bad time may be the load's own. A good one is not:
    a full core can only add to it."""
    return in_time(runs) and median(run.load_cpu for run in runs) <= FULL


def added(runs: Sequence[Run], floor: Sequence[Run]) -> float | None:
    """ms that the bridge adds at p99: median of the runs less median of the floor's."""
    ours, below = middle(run.window.p99 for run in runs), middle(run.window.p99 for run in floor)
    return None if ours is None or below is None else ours - below
