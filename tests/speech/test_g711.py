"""G.711: every code, both laws, and the levels."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.speech import g711

ALL = bytes(range(256))


def test_every_mulaw_code_survives_the_round_trip() -> None:
    """Decoding and encoding gives every code back; only negative zero becomes zero."""
    assert g711.encode(g711.decode(ALL)) == ALL.replace(b"\x7f", b"\xff")


def test_every_alaw_code_survives_the_round_trip() -> None:
    """A-law has no zero, so all 256 codes come back."""
    assert g711.encode_alaw(g711.decode_alaw(ALL)) == ALL


def test_known_values_of_the_standard() -> None:
    """The ends and the middle of both scales are those of ITU-T G.711."""
    assert list(g711.decode(b"\x80\x00\xff\x7f")) == [32124, -32124, 0, 0]
    assert list(g711.decode_alaw(b"\xaa\x2a\xd5\x55")) == [32256, -32256, 8, -8]
    assert g711.encode([0, 32767, -32768]) == b"\xff\x80\x00"


@settings(max_examples=200)
@given(st.lists(st.integers(-32768, 32767), max_size=200))
def test_no_sample_moves_further_than_its_interval(samples: list[int]) -> None:
    """No sample moves further than half a step of its interval, in either law."""
    for decoded in (g711.decode(g711.encode(samples)), g711.decode_alaw(g711.encode_alaw(samples))):
        for sample, back in zip(samples, decoded, strict=True):
            assert abs(sample - back) <= max(16, (abs(sample) + 132) // 32) or abs(sample) > 32124


def test_laws_translate_into_each_other() -> None:
    """Mu-law to a-law and back moves no sample by more than one a-law step."""
    there = g711.alaw_to_mulaw(g711.mulaw_to_alaw(ALL))
    for sample, back in zip(g711.decode(ALL), g711.decode(there), strict=True):
        assert abs(sample - back) <= max(16, abs(sample) // 16)


def test_level_of_a_sine() -> None:
    """A sine of half scale is -9 dBFS: -6 for the amplitude, -3 for its RMS."""
    sine = array("h", (round(16384 * math.sin(n * math.pi / 10)) for n in range(800)))
    assert g711.level(g711.encode(sine)) == pytest.approx(-9.03, abs=0.1)


def test_level_of_silence_and_of_nothing_is_the_floor() -> None:
    """Silence has a number, not minus infinity."""
    assert g711.level(g711.SILENCE * 160) == g711.level(b"") == g711.FLOOR_DBFS
