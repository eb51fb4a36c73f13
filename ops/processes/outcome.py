"""What the process tasks give back, and what they tell while they work. Values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.findings import Finding
from ops.processes.ports import Holder


@dataclass(frozen=True)
class Outcome:
    """Findings, and the data of the report."""

    findings: tuple[Finding, ...]
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return any(finding.status == "fail" for finding in self.findings)


@dataclass(frozen=True)
class ServiceSeen:
    """A service changed while we wait for it: `seconds` since the wait began, and what it waits for."""

    name: str
    state: str
    seconds: float
    reason: str = ""
    pid: int | None = None
    port: int | None = None


@dataclass(frozen=True)
class WaitsForLock:
    """Another command works on this stack, and we wait for it."""

    seconds: float


@dataclass(frozen=True)
class TakesOver:
    """This holder of a port is about to be ended."""

    holder: Holder


@dataclass(frozen=True)
class Replaces:
    """A running service is ended to be started anew."""

    name: str
    why: str


@dataclass(frozen=True)
class Drains:
    """Live calls that a stopping service still holds; `left` are the seconds until it is ended anyway."""

    name: str
    live_calls: int
    oldest_seconds: float | None
    left: float


@dataclass(frozen=True)
class StillThere:
    """A process that has been asked to end and has not yet; told once a second."""

    name: str
    pid: int
    seconds: float
    why: str


@dataclass(frozen=True)
class Ended:
    """A process is gone."""

    name: str
    pid: int
    signal: str
    ms: float


Event = ServiceSeen | WaitsForLock | TakesOver | Replaces | Drains | StillThere | Ended
Progress = Callable[[Event], None]


def silent(_: Event) -> None:
    """The progress of a caller that does not want to know."""
