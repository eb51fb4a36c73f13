"""Failing on request, for every simulator: a catalogue as data, and what is armed. Each fault happens a
number of times; all chance is seeded, so that a failure can be repeated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One thing that can fail: where it strikes, what it does, the numbers it takes and their defaults."""

    name: str
    where: str
    about: str
    defaults: dict[str, float]


@dataclass
class Armed:
    """A fault that will happen `times` more, with its numbers and a seed that makes it repeatable."""

    fault: Fault
    times: int
    numbers: dict[str, float]
    seed: int

    def shown(self) -> dict[str, Any]:
        return {"name": self.fault.name, "times": self.times, "seed": self.seed, **self.numbers}


class Faults:
    """Which faults are armed; `take` uses one up."""

    def __init__(self, catalogue: Mapping[str, Fault]) -> None:
        self._catalogue = catalogue
        self.armed: list[Armed] = []

    def arm(self, name: str, times: int = 1, seed: int = 0, **numbers: float) -> Armed:
        """Arm one fault by its name; ValueError says what is wrong with the request."""
        fault = self._catalogue.get(name)
        if fault is None:
            raise ValueError(f"no fault called {name!r}; there are {', '.join(self._catalogue)}")
        unknown = sorted(set(numbers) - set(fault.defaults))
        if unknown:
            raise ValueError(f"{name} takes {', '.join(fault.defaults) or 'no numbers'}, not {unknown[0]}")
        for key, value in {"times": times, "seed": seed, **numbers}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9:
                raise ValueError(f"{key} is a number from 0 to 1e9")
        armed = Armed(fault, int(times), {**fault.defaults, **numbers}, int(seed))
        self.armed.append(armed)
        return armed

    def take(self, where: str) -> Armed | None:
        """The first armed fault that strikes there, counted down; None in good times."""
        for armed in self.armed:
            if armed.fault.where == where and armed.times > 0:
                armed.times -= 1
                self.armed = [each for each in self.armed if each.times > 0]
                return armed
        return None

    def clear(self) -> None:
        self.armed = []


def read(path: Path) -> dict[str, Fault]:
    """A catalogue: a JSON list of objects with name, where, about and defaults."""
    return {row["name"]: Fault(**row) for row in json.loads(path.read_text("utf-8"))}
