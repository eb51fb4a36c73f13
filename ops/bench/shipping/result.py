"""What the deploy bench measures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

PARTS = ("times", "calls", "cuts")
TASKS = 5  # of a chain
OURS = "Trunkline"
FIRST_PIP = "first deploy with pip, one host"
FIRST = "first deploy with uv, three hosts"
SAME = "nothing changed, one host"
SAME_ALL = "nothing changed, three hosts"
CHANGE = "one file changed, one host"
CHANGE_ALL = "one file changed, three hosts"
BACK = "rollback, one host"
DEPLOY, NEVER_WELL, BACK_ALL = "a rolling deploy", "a release that never becomes healthy", "a rollback"
BEHIND = ("host1", "host2", "host3")  # a proxy
SLOT_SAME = "nothing changed, one host with slots"
SLOT_CHANGE = "one file changed, one host with slots, proof included"
SLOT_BACK = "rollback, one host with slots"
SLOT_PIP = "first deploy with pip, one host with slots, proof included"
SLOT_PIP_CHANGE = "one file changed, one host with slots and pip, proof included"
WHAT = (
    FIRST_PIP, FIRST, SAME, SAME_ALL, CHANGE, CHANGE_ALL, BACK, SLOT_PIP, SLOT_SAME, SLOT_CHANGE,
    SLOT_PIP_CHANGE, SLOT_BACK,
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """A link cut during a deploy, what was in force then, and whether the same command mended it."""

    after: float  # seconds since the command began
    code: int  # 4 lost or unreachable, 0 the deploy was faster
    seconds: float  # until the command ended
    found: str  # old, new, or what was neither
    serves: bool  # HAProxy has somebody to give a call to, right after the cut
    converged: bool
    left: tuple[str, ...] = ()  # of the broken run, after the next one

    @property
    def well(self) -> bool:
        return self.serves and self.converged and self.found in ("old", "new") and not self.left


@dataclass
class Lived:
    """What became of calls: those that were on the line all the time, and those that came meanwhile."""

    calls: int = 0
    dropped: int = 0
    new: int = 0
    refused: list[str] = field(default_factory=list)  # why, for each
    silence: float = 0.0  # the longest time in which one of the first heard nothing, in seconds


@dataclass(frozen=True)
class Rolled:
    """A task on three hosts under calls: seconds, the calls, and the hosts where something came of it."""

    what: str
    seconds: float
    lived: Lived
    changed: tuple[str, ...]  # another release is in force
    failed: tuple[str, ...]
    untouched: tuple[str, ...]
    reason: str  # of those that failed

    @property
    def id(self) -> str:
        return {DEPLOY: "rolling", NEVER_WELL: "unwell", BACK_ALL: "back"}[self.what]


@dataclass
class Result:
    """Seconds of whole commands by tool and by what they did; what a chain adds; the cuts; under calls."""

    parts: tuple[str, ...] = ()
    times: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    chain: list[float] = field(default_factory=list)  # seconds added by each task behind the first
    deep: list[float] = field(default_factory=list)  # seconds of a slot's proof alone
    cuts: list[Cut] = field(default_factory=list)
    rolled: list[Rolled] = field(default_factory=list)

    def took(self, what: str, seconds: float, tool: str = OURS) -> None:
        self.times.setdefault(tool, {}).setdefault(what, []).append(seconds)

    def of(self, what: str, tool: str = OURS) -> list[float]:
        return self.times.get(tool, {}).get(what, [])
