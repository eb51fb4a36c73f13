"""How this stand-in can be asked to fail: a catalogue as data (`faults.json`), and what is armed.

A fault is armed by name (`POST /_sim/faults`, `--fault NAME`) for a number of times, and the place
where it strikes takes it. All chance is seeded, so a failure can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One way to fail: where it strikes, what it does, the numbers it takes and their defaults."""

    name: str
    where: str
    about: str
    defaults: Mapping[str, float] = field(default_factory=dict)


@cache
def catalogue() -> dict[str, Fault]:
    """Every fault by its name."""
    rows = json.loads(Path(__file__).with_name("faults.json").read_text("utf-8"))
    return {row["name"]: Fault(**row) for row in rows}


class UnknownFault(ValueError):
    """Asked for something that is not in the catalogue."""


class Faults:
    """The faults that are armed, each with its numbers and how often it may still strike."""

    def __init__(self) -> None:
        self._armed: dict[str, tuple[dict[str, float], int]] = {}

    def arm(self, name: str, times: int = 1, **numbers: Any) -> None:
        """Let a fault strike the next `times` times; 0 disarms it. Raises UnknownFault."""
        fault = catalogue().get(name)
        if fault is None:
            known = ", ".join(catalogue())
            raise UnknownFault(f"expected a fault of the catalogue ({known}), got {str(name)[:40]!r}")
        if not isinstance(times, int) or isinstance(times, bool) or times < 0:
            raise UnknownFault(f"{name}: expected times as a whole number from 0, got {times!r}")
        if unknown := numbers.keys() - fault.defaults.keys():
            raise UnknownFault(f"{name}: expected numbers {sorted(fault.defaults)}, got {sorted(unknown)}")
        for key, value in numbers.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not -200 <= value <= 1e9:
                raise UnknownFault(f"{name}: expected {key} as a number, got {value!r}")
        self._armed[name] = ({**fault.defaults, **numbers}, times)

    def take(self, name: str) -> dict[str, float] | None:
        """The numbers of a fault that strikes now, or None."""
        numbers, times = self._armed.get(name, ({}, 0))
        if times <= 0:
            return None
        self._armed[name] = (numbers, times - 1)
        return numbers

    def strikes(self, name: str) -> bool:
        """Whether a fault without numbers strikes now."""
        return self.take(name) is not None

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def armed(self) -> list[dict[str, Any]]:
        """What is still to come."""
        return [
            {"name": name, "times": times, **numbers}
            for name, (numbers, times) in self._armed.items()
            if times > 0
        ]
