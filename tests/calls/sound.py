"""Two-channel recordings made at run time."""

from __future__ import annotations

import io
import math
import wave
from array import array
from pathlib import Path


def tone(seconds: float, amplitude: float = 0.3) -> array[int]:
    """A 440 Hz tone, 8 kHz, 16 bit."""
    count = int(seconds * 8000)
    return array("h", (int(32767 * amplitude * math.sin(math.tau * 440 * n / 8000)) for n in range(count)))


def silence(seconds: float) -> array[int]:
    return array("h", bytes(2 * int(seconds * 8000)))


def wav(caller: array[int], agent: array[int], *, channels: int = 2) -> bytes:
    """The caller left, the agent right, as a WAV file."""
    both = array("h", (sample for pair in zip(caller, agent, strict=True) for sample in pair))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(both.tobytes())
    return buffer.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
