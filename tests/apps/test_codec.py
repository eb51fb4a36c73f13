"""Which codec audio really is."""

from __future__ import annotations

import array
import base64

import pytest

from ops.apps.codec import Evidence
from ops.speech import g711, library


def foreign(audio: bytes, piece: int = 161) -> str | None:
    """The verdict on audio that came in pieces, of an odd size so that their places shift."""
    evidence = Evidence()
    for at in range(0, len(audio), piece):
        evidence.add(base64.b64encode(audio[at : at + piece]).decode())
    return evidence.foreign


@pytest.mark.parametrize("line", library.lines(), ids=lambda line: line.name)
def test_speech_is_told_apart(line: library.Line) -> None:
    """Every recorded line: right as mu-law, found out as 16-bit samples at 24 kHz and, with silence, as a-law."""
    samples = g711.decode(line.audio)
    assert foreign(line.audio) is None
    assert foreign(line.audio[:1600]) is None
    faster = array.array("h", (value for value in samples for _ in range(3)))
    assert foreign(faster.tobytes()[:14_400]) == "pcm16"
    still = array.array("h", [0]) * 4000
    assert foreign(bytes(g711.encode_alaw(still + samples[:8000]))) == "a-law"
    assert foreign(g711.encode(still + samples[:8000])) is None


def test_silence_and_too_little_prove_nothing() -> None:
    """No verdict on a constant, nor on less than 200 ms."""
    assert foreign(b"\xff" * 8000) is None
    assert foreign(b"\x55" * 8000) is None
    assert foreign(b"\x00\x01" * 100) is None


def test_what_is_no_base64_counts_as_nothing() -> None:
    """Garbage among the payloads is skipped."""
    evidence = Evidence()
    for payload in ("AAAA", "!", "\u00e9"):
        evidence.add(payload)
    assert (evidence.size, evidence.frames) == (3, 3)
