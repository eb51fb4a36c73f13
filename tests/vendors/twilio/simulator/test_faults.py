"""The catalogue of faults, and each of them armed by name."""

from __future__ import annotations

from pathlib import Path

import ops.vendors.twilio.simulator as package
from ops.vendors.twilio.simulator.faults import Faults, catalogue


def test_a_fault_strikes_as_often_as_it_was_armed() -> None:
    """Twice means twice, with its numbers, and no other fault with it."""
    faults = Faults()
    faults.arm("rest-slow", 2, ms=10)
    struck = [faults.strike("rest-slow") for _ in range(3)]
    assert [armed and armed.numbers for armed in struck] == [{"ms": 10}, {"ms": 10}, None]
    faults.arm("rest-error")
    assert not faults.strikes("rest-limit")
    assert faults.strikes("rest-error")
    assert faults.armed == []


def test_every_fault_is_taken_somewhere() -> None:
    """Each name of the catalogue stands in the code that lets it strike."""
    folder = Path(str(package.__file__)).parent
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    assert [name for name in catalogue() if f'"{name}"' not in code] == []
    assert all(fault.about and fault.where for fault in catalogue().values())
