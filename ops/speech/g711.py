"""G.711 mu-law and a-law, and the level of what is heard (ITU-T G.711). Pure.

Samples are 16-bit signed; one G.711 byte is one sample of 8 kHz telephone audio. The tables are
made on first use, so that importing costs nothing.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from functools import cache

SILENCE = b"\xff"  # mu-law: the smallest positive code, 0
ALAW_SILENCE = b"\xd5"
SAMPLE_RATE = 8000
FRAME = 160  # bytes in the 20 ms that telephony sends at a time
FLOOR_DBFS = -96.0


def decode(mulaw: bytes) -> array[int]:
    """The 16-bit samples of mu-law bytes."""
    return array("h", map(_mulaw_values().__getitem__, mulaw))


def encode(samples: Iterable[int]) -> bytes:
    """The mu-law bytes of 16-bit samples; louder than 32635 is clipped as the standard says."""
    return bytes(map(_mulaw_codes().__getitem__, samples))


def decode_alaw(alaw: bytes) -> array[int]:
    """The 16-bit samples of a-law bytes."""
    return array("h", map(_alaw_values().__getitem__, alaw))


def encode_alaw(samples: Iterable[int]) -> bytes:
    """The a-law bytes of 16-bit samples."""
    return bytes(map(_alaw_codes().__getitem__, samples))


def mulaw_to_alaw(mulaw: bytes) -> bytes:
    """The same sound in a-law, byte for byte."""
    return mulaw.translate(_mulaw_to_alaw())


def alaw_to_mulaw(alaw: bytes) -> bytes:
    """The same sound in mu-law, byte for byte."""
    return alaw.translate(_alaw_to_mulaw())


def level(mulaw: bytes) -> float:
    """How loud mu-law bytes are: RMS in dBFS (0 = full scale), never below -96; no bytes are silent."""
    if not mulaw:
        return FLOOR_DBFS
    return dbfs(sum(map(_mulaw_squares().__getitem__, mulaw)) / len(mulaw))


def power(mulaw: bytes) -> float:
    """The mean square of mu-law bytes, in squared sample units."""
    return sum(map(_mulaw_squares().__getitem__, mulaw)) / len(mulaw) if mulaw else 0.0


def dbfs(mean_square: float) -> float:
    """A mean square of 16-bit samples as dBFS, never below -96."""
    if mean_square <= 0:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, 10 * math.log10(mean_square / 32768**2))


@cache
def _mulaw_values() -> tuple[int, ...]:
    values = []
    for code in range(256):
        inverted = ~code & 0xFF
        exponent, mantissa = (inverted >> 4) & 7, inverted & 15
        magnitude = (((mantissa << 3) + 132) << exponent) - 132
        values.append(-magnitude if inverted & 0x80 else magnitude)
    return tuple(values)


@cache
def _mulaw_squares() -> tuple[int, ...]:
    return tuple(value * value for value in _mulaw_values())


@cache
def _mulaw_codes() -> bytes:
    """Indexed by the sample itself: a negative one counts from the end, as Python's index does."""
    positive = bytearray()
    for exponent in range(8):
        for mantissa in range(16):
            positive += bytes([~(exponent << 4 | mantissa) & 0xFF]) * (8 << exponent)
    del positive[:4]  # the bias of 132 begins four steps into the first interval
    positive += positive[-1:] * (32769 - len(positive))  # clipped
    negative = bytes(code & 0x7F for code in reversed(positive[1:]))
    return bytes(positive[:32768]) + negative


@cache
def _alaw_values() -> tuple[int, ...]:
    values = []
    for code in range(256):
        toggled = code ^ 0x55
        exponent, mantissa = (toggled >> 4) & 7, toggled & 15
        magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 264) << (exponent - 1)
        values.append(magnitude if toggled & 0x80 else -magnitude)
    return tuple(values)


@cache
def _alaw_codes() -> bytes:
    """Indexed by the sample itself, as `_mulaw_codes`."""
    positive = bytearray()
    for exponent in range(8):
        for mantissa in range(16):
            positive += bytes([(0x80 | exponent << 4 | mantissa) ^ 0x55]) * (16 << max(0, exponent - 1))
    negative = bytes(code ^ 0x80 for code in reversed(positive))
    return bytes(positive) + negative


@cache
def _mulaw_to_alaw() -> bytes:
    return encode_alaw(_mulaw_values())


@cache
def _alaw_to_mulaw() -> bytes:
    return encode(_alaw_values())
