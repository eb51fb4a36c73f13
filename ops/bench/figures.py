"""Figures beside their goals, and the statistics they are made of. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ops.findings import Finding, fail, ok, skip, warn


@dataclass(frozen=True)
class Figure:
    """One measured value and the most that it may be; with `at_least`, the least.

    `value` is None where it could not be measured; `note` then says why. An `outcome` (something
    left behind, an extra start) is wrong on any machine; a time or a size may also miss its goal
    because the machine is slow or busy.
    """

    id: str
    what: str
    value: float | None
    goal: float
    unit: str = ""
    note: str = ""
    outcome: bool = False
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def text(self) -> str:
        """The value with its unit."""
        return "not measured" if self.value is None else shown(self.value, self.unit)

    @property
    def goal_text(self) -> str:
        limit = "at least " if self.at_least else "" if self.goal == 0 else "at most "
        return limit + shown(self.goal, self.unit)

    @property
    def verdict(self) -> str:
        return {True: "met", False: "missed", None: "–"}[self.met]

    def finding(self) -> Finding:
        """What the report says of it."""
        evidence: dict[str, Any] = {"value": self.value, "goal": self.goal, "unit": self.unit}
        if self.value is None:
            return skip(self.id, f"{self.what}: not measured, {self.note}.", **evidence)
        said = f"{self.what}: {self.text}; goal {self.goal_text}" + (f" ({self.note})" if self.note else "")
        if self.met:
            return ok(self.id, f"{said}: met.", **evidence)
        if self.outcome:
            return fail(
                self.id, f"{said}: missed.", fix="this is a fault on any machine: report it", **evidence
            )
        return warn(self.id, f"{said}: missed.", fix="measure again on a quiet machine", **evidence)


def shown(value: float, unit: str) -> str:
    """A value as people read it: three digits that matter."""
    digits = 0 if value == int(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{' ' if unit and unit != '×' else ''}{unit}"


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was measured, None where nothing was."""
    found = [value for value in values if value is not None]
    return median(found) if found else None


def spread(values: Iterable[float | None]) -> str:
    """`median (least-most)` in whole numbers, `–` where nothing was measured."""
    found = [value for value in values if value is not None]
    if not found:
        return "–"
    return f"{median(found):.0f} ({min(found):.0f}-{max(found):.0f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("expected at least one value, got none")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
