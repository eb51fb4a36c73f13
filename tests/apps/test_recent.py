"""The last names: each is found until so many newer ones have come, and the memory stays as large as it was."""

from __future__ import annotations

import sys

from ops.apps.recent import PLACE, Recent


def test_the_last_ones_are_remembered() -> None:
    """Of ten the last three, in whatever order one asks; a name that never came is none of them."""
    recent = Recent(3)
    assert "CA0" not in recent
    for number in range(10):
        recent.add(f"CA{number}")
    assert [number for number in range(11) if f"CA{number}" in recent] == [7, 8, 9]


def test_a_piece_of_two_neighbours_is_no_name() -> None:
    """Bytes that lie across two places stand for nothing."""
    recent = Recent(2)
    whole = recent._sign("CA1")
    recent._ring[:] = bytes(4) + whole + bytes(2 * PLACE - 4 - len(whole))
    assert "CA1" not in recent
    recent._ring[:] = bytes(4) + whole[:4] + whole
    assert "CA1" in recent


def test_it_does_not_grow() -> None:
    recent = Recent(100)
    size = sys.getsizeof(recent._ring)
    for number in range(1000):
        recent.add(f"CA{number}")
    assert sys.getsizeof(recent._ring) == size
