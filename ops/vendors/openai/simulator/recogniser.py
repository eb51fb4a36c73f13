"""Which line of the speech library was heard: correlation of loudness over time. Pure.

Each line is an envelope of 10 ms levels. What was heard is slid over every caller's line, and the best
normalised correlation wins where it is good enough. Codecs, levels, some noise and loss do not matter;
words that are not in the library are not recognised.
"""

from __future__ import annotations

import math
from functools import cache
from operator import mul

from ops.speech import g711
from ops.speech.library import Line, lines

STEP = 80  # bytes: 10 ms
QUIET_DBFS = -45.0
ENOUGH = 0.7  # of a perfect match
SLIDE = 12  # steps by which the beginnings may differ


def recognise(mulaw: bytes) -> Line | None:
    """The caller's line in this audio, or None when it is none of them."""
    heard = _trimmed(_envelope(mulaw))
    if len(heard) < 20:
        return None
    scored = [(_likeness(heard, envelope), line) for line, envelope in _known()]
    score, line = max(scored, key=lambda each: each[0])
    return line if score >= ENOUGH else None


def _envelope(mulaw: bytes) -> list[float]:
    """Levels in dB over QUIET_DBFS, one each 10 ms, never negative."""
    return [
        max(0.0, g711.level(mulaw[at : at + STEP]) - QUIET_DBFS)
        for at in range(0, len(mulaw) - STEP + 1, STEP)
    ]


def _trimmed(envelope: list[float]) -> list[float]:
    loud = [index for index, level in enumerate(envelope) if level > 5.0]
    return envelope[loud[0] : loud[-1] + 1] if loud else []


def _likeness(heard: list[float], known: list[float]) -> float:
    """The best correlation (-1 to 1) over all ways to lay one envelope on the other."""
    if not 0.6 < len(heard) / len(known) < 1.7:
        return 0.0
    best = 0.0
    for shift in range(-SLIDE, len(heard) - len(known) + SLIDE + 1):
        before, after = max(0, -shift), max(0, shift)
        a = [0.0] * before + heard
        b = [0.0] * after + known
        size = max(len(a), len(b))
        a += [0.0] * (size - len(a))
        b += [0.0] * (size - len(b))
        best = max(best, _correlation(a, b))
    return best


def _correlation(a: list[float], b: list[float]) -> float:
    size = len(a)
    mean_a, mean_b = sum(a) / size, sum(b) / size
    covariance = sum(map(mul, a, b)) - size * mean_a * mean_b
    variance_a = sum(map(mul, a, a)) - size * mean_a * mean_a
    variance_b = sum(map(mul, b, b)) - size * mean_b * mean_b
    return covariance / math.sqrt(variance_a * variance_b) if variance_a > 0 and variance_b > 0 else 0.0


@cache
def _known() -> tuple[tuple[Line, list[float]], ...]:
    return tuple((line, _trimmed(_envelope(line.audio))) for line in lines("caller"))
