"""What the deploy bench measures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


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
class Result:
    """Seconds of whole commands from a fresh interpreter, by what they did."""

    first: dict[str, float] = field(default_factory=dict)  # by installer
    repeat: list[float] = field(default_factory=list)
    repeat_all: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)
    change_all: list[float] = field(default_factory=list)
    rollback: list[float] = field(default_factory=list)
    chain: list[float] = field(default_factory=list)  # added by each task behind the first
    tasks: int = 0  # of that chain
    cuts: list[Cut] = field(default_factory=list)
