"""Evenness of frames and the computed play-out, from arrival times alone."""

from __future__ import annotations

import pytest

from ops.bench.pacing import RATE, PlayOut, pacing


def test_even_frames_have_no_error() -> None:
    """Frames on their clock: nothing is late, nothing drifts, wherever the clock began."""
    found = pacing([[5.0] * 500, [7.25] * 500])
    assert found is not None
    assert (found.frames, found.p99_ms, found.worst_ms, found.drift_ms) == (1000, 0.0, 0.0, 0.0)


def test_one_late_frame_in_a_hundred_is_the_worst_and_not_the_p99() -> None:
    """A single hiccup shows as the worst; a clock is not moved by it."""
    found = pacing([[1.0] * 99 + [1.030] + [1.0] * 100])
    assert found is not None
    assert found.worst_ms == pytest.approx(30.0)
    assert (found.p99_ms, found.drift_ms) == (0.0, 0.0)


def test_a_slow_clock_drifts_and_is_late() -> None:
    """20.01 ms a frame: 10 ms after a thousand frames, in drift and in lateness."""
    found = pacing([[number * 0.00001 for number in range(1000)]])
    assert found is not None
    assert found.drift_ms == pytest.approx(9.5, abs=0.1)
    assert found.worst_ms == pytest.approx(10.0, abs=0.1)


def test_nothing_arrived_is_no_pacing() -> None:
    """Without a frame there is nothing to say."""
    assert pacing([[], []]) is None


def test_audio_follows_audio_and_begins_at_once_on_an_idle_phone() -> None:
    """Two pieces sent together end one after the other; a later one begins when it is sent."""
    phone = PlayOut()
    phone.send(RATE // 10, "first", 10.0)
    phone.send(RATE // 5, "second", 10.0)
    assert phone.echoed("first", 10.103) == pytest.approx(3.0)
    assert phone.echoed("second", 10.299) == pytest.approx(-1.0)
    phone.send(RATE // 10, "third", 20.0)
    assert phone.waiting == 1
    assert phone.echoed("third", 20.1) == pytest.approx(0.0)
    assert phone.echoed("third", 20.1) is None
    assert phone.waiting == 0
