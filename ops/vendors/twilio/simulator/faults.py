"""How this stand-in can be asked to fail: the catalogue is `faults.json`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ops.vendors import faults
from ops.vendors.faults import Armed, Fault


@cache
def catalogue() -> dict[str, Fault]:
    """Every fault by its name."""
    return faults.read(Path(__file__).with_name("faults.json"))


class Faults(faults.Faults):
    """Which of them are armed; each place asks for its own by name."""

    def __init__(self) -> None:
        super().__init__(catalogue())

    def strike(self, name: str) -> Armed | None:
        """The fault if it happens now, counted down; None in good times."""
        for armed in self.armed:
            if armed.fault.name == name and armed.times > 0:
                armed.times -= 1
                self.armed = [each for each in self.armed if each.times > 0]
                return armed
        return None

    def strikes(self, name: str) -> bool:
        """Whether a fault without numbers happens now."""
        return self.strike(name) is not None
