"""What can go wrong, as a tree.

    OpsError                 expected, came, fix; leaves with exit code 3
    ├── SettingsError        settings unusable; all faults at once; exit code 2
    ├── Unreachable          the question could not be asked; exit code 4
    └── Refused              the other side answered no; exit code 3

An error is raised at an edge (a socket, a file, a process) and turned into a finding or an
exit code in one place, `tasks.py`. Pure code returns values instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class OpsError(Exception):
    """Something failed that the reader can mend: a statement of fact and what to do."""

    exit_code = 3

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} Fix: {self.fix}"


class Unreachable(OpsError):
    """The other side could not be asked: no address, no connection, no answer in time."""

    exit_code = 4


class Refused(OpsError):
    """The other side was reached and said no; `code` is its own number, where it gave one."""

    def __init__(self, message: str, *, fix: str, code: int | str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.code = code


@dataclass(frozen=True)
class Fault:
    """One bad setting: which, where it was read, what is wrong with it and what to do."""

    variable: str
    message: str
    fix: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.message} Fix: {self.fix}"


@dataclass
class SettingsError(OpsError):
    """Settings are unusable; every fault found is here, so one edit can mend them all."""

    faults: tuple[Fault, ...]
    vendors: Mapping[str, str] = field(default_factory=dict)
    exit_code = 2

    def __post_init__(self) -> None:
        super().__init__(
            "; ".join(fault.message for fault in self.faults),
            fix=self.faults[0].fix if self.faults else "check .env",
        )

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)
