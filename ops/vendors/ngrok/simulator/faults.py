"""How this stand-in can be asked to fail: the catalogue is `faults.json`."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from ops.vendors import faults
from ops.vendors.faults import Fault


@cache
def catalogue() -> dict[str, Fault]:
    """Every fault by its name."""
    return faults.read(Path(__file__).with_name("faults.json"))


class Faults(faults.Faults):
    """Which of them are armed."""

    def __init__(self) -> None:
        super().__init__(catalogue())


def pieces(data: bytes, most: int, chance: random.Random) -> list[bytes]:
    """`data` cut into uneven pieces of at most `most` bytes."""
    found = []
    while data:
        size = chance.randint(1, max(1, most))
        found.append(data[:size])
        data = data[size:]
    return found
