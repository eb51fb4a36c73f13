"""What the book of a load says of frames that come back, late, twice, elsewhere or never."""

from __future__ import annotations

import math

import pytest

from ops.bench.bridge.book import Calls
from ops.bench.bridge.frames import watermark


def test_each_direction_is_timed_and_the_lost_are_counted() -> None:
    """Two frames count: one is back after 3 ms, one never; those before and after do not count."""
    calls = Calls()
    page = calls.open()
    page.comes(watermark(0, page.leaves(1.0, 1.0)), 1.5)
    calls.begin()
    first, second = page.leaves(2.0, 2.0), page.leaves(2.02, 2.0)
    calls.end()
    after = page.leaves(2.04, 2.04)
    for number, there, back in ((first, 2.001, 2.003), (after, 2.041, 2.9)):
        calls.heard(watermark(0, number), there)
        page.comes(watermark(0, number), back)
    found = calls.window()
    assert (found.frames, found.lost, found.crossed) == (2, 1, 0)
    assert found.p99 == pytest.approx(3.0)
    assert found.up_p99 == pytest.approx(1.0)
    assert second == first + 1


def test_the_load_proves_its_own_pace() -> None:
    """A frame that leaves more than 10 ms after its time is the load's fault, and is told."""
    calls = Calls()
    page = calls.open()
    calls.begin()
    for late in (0.0, 0.001, 0.011, 0.002):
        page.leaves(5.0 + late, 5.0)
    found = calls.window()
    assert found.late == 0.25
    assert found.slip_p99 == pytest.approx(11.0)


def test_crossed_and_repeated_frames_are_told() -> None:
    """Another call's audio, and the same twice: both are outcomes, neither is a time."""
    calls = Calls()
    one, other = calls.open(), calls.open()
    calls.begin()
    number = one.leaves(1.0, 1.0)
    other.comes(watermark(one.call, number), 1.1)
    one.comes(watermark(one.call, number), 1.1)
    one.comes(watermark(one.call, number), 1.2)
    with pytest.raises(ValueError, match="invalid literal"):
        one.comes(b"AAAAAAAAAAAAAAAA", 1.3)
    found = calls.window()
    assert (found.crossed, found.lost) == (2, 0)


def test_nothing_came_back_is_no_good_time() -> None:
    """Without one frame there is no percentile that could pass a goal."""
    calls = Calls()
    page = calls.open()
    calls.begin()
    page.leaves(1.0, 1.0)
    assert math.isinf(calls.window().p99)
    calls.close(page)
    assert calls.expected == 0
