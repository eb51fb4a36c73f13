"""The input buffer: positions in time, and how much of silence it keeps."""

from __future__ import annotations

from ops.vendors.openai.simulator.hearing import Hearing
from ops.vendors.openai.simulator.settings import TURN_DEFAULTS

VAD = TURN_DEFAULTS["server_vad"]


def test_minutes_of_silence_is_not_kept() -> None:
    """While nobody speaks, memory stays small and positions go on."""
    hearing = Hearing("audio/pcmu", VAD)
    for _ in range(300):
        hearing.append(b"\xff" * 8000)
    assert len(hearing.buffer) < 25_000
    assert hearing.end_ms == 300_000


def test_without_turn_detection_everything_is_kept() -> None:
    """The client decides what is committed."""
    hearing = Hearing("audio/pcmu", None)
    for _ in range(60):
        hearing.append(b"\xff" * 8000)
    assert hearing.take_all() == b"\xff" * 480_000
    assert (hearing.start_ms, hearing.end_ms, hearing.buffered_ms) == (60_000, 60_000, 0)


def test_taking_a_part_leaves_the_rest() -> None:
    """A turn's audio leaves, what came after it stays."""
    hearing = Hearing("audio/pcmu", None)
    hearing.append(b"\x01" * 800 + b"\x02" * 800)
    assert hearing.take(100) == b"\x01" * 800
    assert (hearing.start_ms, bytes(hearing.buffer)) == (100, b"\x02" * 800)
