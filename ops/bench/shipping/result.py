"""What the deploy bench measures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

OURS = "Trunkline"
FIRST_PIP = "first deploy with pip, one host"
FIRST = "first deploy with uv, three hosts"
SAME = "nothing changed, one host"
SAME_ALL = "nothing changed, three hosts"
CHANGE = "one file changed, one host"
CHANGE_ALL = "one file changed, three hosts"
BACK = "rollback, one host"
WHAT = (FIRST_PIP, FIRST, SAME, SAME_ALL, CHANGE, CHANGE_ALL, BACK)


@dataclass(frozen=True)
class Cut:
    """A link cut during a deploy, what was in force then, and whether the same command mended it."""

    after: float  # seconds since the command began
    code: int  # 4 lost or unreachable, 0 the deploy was faster
    seconds: float  # until the command ended
    found: str  # old, new, or what was neither
    converged: bool
    left: tuple[str, ...] = ()  # of the broken run, after the next one

    @property
    def well(self) -> bool:
        return self.converged and self.found in ("old", "new") and not self.left


@dataclass
class Lived:
    """What became of calls: those that were on the line all the time, and those that came meanwhile."""

    calls: int = 0
    dropped: int = 0
    new: int = 0
    refused: list[str] = field(default_factory=list)  # why, for each
    silence: float = 0.0  # the longest time in which one of the first heard nothing, in seconds


@dataclass
class Result:
    """Seconds of whole commands by tool and by what they did; what a chain adds; the cuts."""

    times: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    chain: list[float] = field(default_factory=list)  # seconds added by each task behind the first
    tasks: int = 0  # of that chain
    cuts: list[Cut] = field(default_factory=list)

    def took(self, what: str, seconds: float, tool: str = OURS) -> None:
        self.times.setdefault(tool, {}).setdefault(what, []).append(seconds)

    def of(self, what: str, tool: str = OURS) -> list[float]:
        return self.times.get(tool, {}).get(what, [])
