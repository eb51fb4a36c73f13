"""Voice activity on real speech and on what is not speech."""

from __future__ import annotations

import pytest

from ops.speech import g711, library
from ops.vendors.openai.simulator.vad import Moment, Vad

SILENCE = b"\xff" * 160


def _moments(audio: bytes, threshold: float = 0.5, silence_ms: int = 500) -> list[Moment]:
    return Vad(threshold, silence_ms).feed(audio)


@pytest.mark.parametrize("line", library.lines("caller"), ids=lambda line: line.name)
def test_a_line_is_one_turn(line: library.Line) -> None:
    """Speech starts where the line starts, within 60 ms, and stops 500 ms after its end."""
    audio = SILENCE * 50 + line.audio + SILENCE * 40
    started, stopped = (each for each in _moments(audio) if each.what != "paused")
    assert started.what == "started"
    assert started.ms == pytest.approx(1000, abs=60)
    assert stopped.ms == pytest.approx(1000 + len(line.audio) / 8 + 500, abs=80)


def test_a_click_is_not_speech() -> None:
    """40 ms of noise in silence start nothing."""
    assert _moments(SILENCE * 20 + b"\x00\x80" * 160 + SILENCE * 20) == []


def test_a_higher_threshold_needs_louder_speech() -> None:
    """Speech at -38 dBFS is heard at threshold 0.3 and not at 0.9."""
    loud = g711.decode(library.line("caller-hours").audio)
    quiet = g711.encode(sample // 10 for sample in loud)
    assert _moments(quiet, threshold=0.3)
    assert not _moments(quiet, threshold=0.9)


@pytest.mark.parametrize("silence_ms", [200, 500, 1000])
def test_silence_duration_is_what_it_says(silence_ms: int) -> None:
    """The stop comes exactly `silence_ms` after the last loud frame."""
    tone = b"\x10\x90" * 80
    stopped = _moments(tone * 20 + SILENCE * 100, silence_ms=silence_ms)[-1]
    assert stopped == Moment("stopped", 400 + silence_ms)


def test_chunks_do_not_matter() -> None:
    """The same bytes in odd pieces give the same moments."""
    audio = SILENCE * 10 + library.line("caller-price").audio + SILENCE * 40
    vad = Vad(0.5, 500)
    pieces = [each for at in range(0, len(audio), 37) for each in vad.feed(audio[at : at + 37])]
    assert pieces == _moments(audio)
