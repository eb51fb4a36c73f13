"""Which line is heard, through what a telephone does to it."""

from __future__ import annotations

import random

import pytest

from ops.speech import g711, library
from ops.vendors.openai.simulator.recogniser import recognise

CALLER = library.lines("caller")


def _noisy(audio: bytes, chance: random.Random) -> bytes:
    return g711.encode(max(-32768, min(32767, s + round(chance.gauss(0, 150)))) for s in g711.decode(audio))


def _lossy(audio: bytes, chance: random.Random) -> bytes:
    frames = (audio[at : at + 160] for at in range(0, len(audio), 160))
    return b"".join(frame if chance.random() > 0.05 else b"\xff" * 160 for frame in frames)


def _quiet(audio: bytes, chance: random.Random) -> bytes:
    return g711.encode(sample // 3 for sample in g711.decode(audio))


@pytest.mark.parametrize("line", CALLER, ids=lambda line: line.name)
@pytest.mark.parametrize("spoil", [lambda audio, _: audio, _noisy, _lossy, _quiet])
def test_each_caller_line_is_recognised(line: library.Line, spoil: object) -> None:
    """Clean, noisy, with 5 % of frames lost, or 10 dB quieter, with silence around it."""
    audio = b"\xff" * 1234 + line.audio + b"\xff" * 4000
    assert callable(spoil)
    assert recognise(spoil(audio, random.Random(7))) == line


@pytest.mark.parametrize("line", library.lines("agent"), ids=lambda line: line.name)
def test_other_speech_is_not_recognised(line: library.Line) -> None:
    """What the agent says is none of the caller's lines."""
    assert recognise(line.audio) is None


def test_silence_and_noise_are_not_recognised() -> None:
    """Nothing, silence and white noise are no line."""
    chance = random.Random(3)
    noise = g711.encode(chance.randint(-6000, 6000) for _ in range(12000))
    assert recognise(b"") is recognise(b"\xff" * 8000) is recognise(noise) is None
