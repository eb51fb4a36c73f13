"""The catalogue of faults (`faults.json`), and those that are armed: each happens a number of times."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
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

    def __init__(self) -> None:
        self.armed: list[Armed] = []

    def arm(self, name: str, times: int = 1, seed: int = 0, **numbers: float) -> Armed:
        """Arm one fault by its name; ValueError says what is wrong with the request."""
        fault = catalogue().get(name)
        if fault is None:
            raise ValueError(f"no fault called {name!r}; there are {', '.join(catalogue())}")
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


@cache
def catalogue() -> dict[str, Fault]:
    rows = json.loads(Path(__file__).with_name("faults.json").read_text("utf-8"))
    return {row["name"]: Fault(**row) for row in rows}
