"""Sounds that <Play> can play, and what <Say> sounds like."""

from __future__ import annotations

import io
import math
import struct
import wave
from array import array

import pytest

from ops.speech import g711, library
from ops.vendors.twilio.simulator import sound, voice


def wav(rate: int, channels: int, width: int = 2) -> bytes:
    """A second of a 400 Hz tone."""
    tone = [int(8000 * math.sin(2 * math.pi * 400 * t / rate)) for t in range(rate)]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        samples = [value for value in tone for _ in range(channels)]
        packed = array("h", samples).tobytes() if width == 2 else bytes((s >> 8) + 128 for s in samples)
        file.writeframes(packed)
    return out.getvalue()


@pytest.mark.parametrize(
    ("rate", "channels", "width"), [(8000, 1, 2), (24000, 1, 2), (44100, 2, 2), (16000, 1, 1)]
)
def test_a_wav_file_becomes_telephone_sound_of_the_same_length(rate: int, channels: int, width: int) -> None:
    """Any rate, one or two channels, 8 or 16 bit: a second stays a second, as loud as before."""
    audio = sound.mulaw(wav(rate, channels, width), "audio/wav")
    assert abs(len(audio) - 8000) <= 8
    assert g711.level(audio) == pytest.approx(-15.3, abs=1)


def test_mulaw_in_a_wav_file_and_without_one_is_taken_as_it_is() -> None:
    """G.711 bytes are not touched."""
    data = bytes(range(256))
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 292, b"WAVE", b"fmt ", 16, 7, 1, 8000, 8000, 1, 8, b"data", 256
    )
    assert g711.decode(sound.mulaw(header + data, "audio/x-wav")) == g711.decode(data)
    assert sound.mulaw(data, "audio/basic") == data


@pytest.mark.parametrize(
    ("body", "kind"), [(b"ID3....", "audio/mpeg"), (b"RIFF\0\0\0\0WAVE", "audio/wav"), (b"", "")]
)
def test_other_sounds_are_refused_with_a_reason(body: bytes, kind: str) -> None:
    """MP3 and broken files say what was expected."""
    with pytest.raises(sound.BadSound, match="expected"):
        sound.mulaw(body, kind)


def test_a_known_text_is_said_with_its_recording() -> None:
    """Case and punctuation do not matter."""
    assert voice.speak("hello, how can I help") == library.line("agent-greeting").audio


def test_another_text_is_a_murmur_of_the_right_length() -> None:
    """Nine words take three seconds, and can be heard."""
    audio = voice.speak("one two three four five six seven eight nine")
    assert len(audio) == 3 * 8000
    assert g711.level(audio) > -40
