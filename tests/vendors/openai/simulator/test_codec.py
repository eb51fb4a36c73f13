"""The three wire formats against each other."""

from __future__ import annotations

import pytest

from ops.speech import g711, library
from ops.vendors.openai.simulator import codec

LINE = library.line("caller-hours").audio


@pytest.mark.parametrize(
    ("format", "bytes_per_ms"), [("audio/pcmu", 8), ("audio/pcma", 8), ("audio/pcm", 48)]
)
def test_there_and_back(format: str, bytes_per_ms: int) -> None:
    """A line keeps its length and, within 1.5 dB in every 100 ms, its loudness."""
    wire = codec.encode(format, LINE)
    assert len(wire) == len(LINE) // 8 * bytes_per_ms
    back = codec.Decoder(format).feed(wire)
    assert len(back) == len(LINE)
    for at in range(0, len(LINE), 800):
        ours, theirs = g711.level(back[at : at + 800]), g711.level(LINE[at : at + 800])
        assert ours == pytest.approx(theirs, abs=1.5) or theirs < -40


def test_pcm_may_arrive_in_any_pieces() -> None:
    """Odd pieces give the same sound as the whole."""
    wire = codec.encode("audio/pcm", LINE[:1600])
    decoder = codec.Decoder("audio/pcm")
    pieces = b"".join(decoder.feed(wire[at : at + 7]) for at in range(0, len(wire), 7))
    assert pieces == codec.Decoder("audio/pcm").feed(wire)
