"""Sounds of `<Play>`: WAV and raw mu-law or a-law, brought to what a phone plays. Pure."""

from __future__ import annotations

import struct

from ops.speech import g711

RAW = {"audio/basic", "audio/ulaw", "audio/mulaw", "audio/x-mulaw", "audio/pcmu"}
RAW_ALAW = {"audio/alaw", "audio/x-alaw", "audio/pcma"}
_PCM, _ALAW, _MULAW = 1, 6, 7


class BadSound(ValueError):
    """A sound that cannot be played: what was expected, what came."""


def mulaw(body: bytes, content_type: str) -> bytes:
    """The mu-law bytes of a sound file, 8 kHz, one channel; raises BadSound."""
    if body[:4] == b"RIFF" and body[8:12] == b"WAVE":
        return _wav(body)
    if content_type in RAW:
        return body
    if content_type in RAW_ALAW:
        return g711.alaw_to_mulaw(body)
    raise BadSound(
        f"expected WAV or raw mu-law (MP3 and others are not decoded), got {content_type or 'nothing'}"
    )


def _wav(body: bytes) -> bytes:
    layout: tuple[int, int, int, int] | None = None
    at = 12
    while at + 8 <= len(body):
        name, size = body[at : at + 4], struct.unpack_from("<I", body, at + 4)[0]
        chunk = body[at + 8 : at + 8 + size]
        if name == b"fmt " and len(chunk) >= 16:
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
            layout = (kind, channels, rate, bits)
        if name == b"data" and layout:
            return _telephone(chunk, *layout)
        at += 8 + size + size % 2
    raise BadSound("expected a WAV file with a format and data, got a broken one")


def _telephone(data: bytes, kind: int, channels: int, rate: int, bits: int) -> bytes:
    if not 1 <= channels <= 8 or not 4000 <= rate <= 192_000:
        raise BadSound(f"expected 1-8 channels and 4-192 kHz, got {channels} channels, {rate} Hz")
    if kind == _PCM and bits == 16:
        samples = [value for (value,) in struct.iter_unpack("<h", data[: len(data) // 2 * 2])]
    elif kind == _PCM and bits == 8:
        samples = [(value - 128) << 8 for value in data]
    elif kind in (_MULAW, _ALAW):
        samples = list(g711.decode(data) if kind == _MULAW else g711.decode_alaw(data))
    else:
        raise BadSound(
            f"expected PCM of 8 or 16 bit, mu-law or a-law in the WAV file, got format {kind}, {bits} bit"
        )
    if channels > 1:
        samples = [sum(samples[i : i + channels]) // channels for i in range(0, len(samples), channels)]
    return g711.encode(_resampled(samples, rate))


def _resampled(samples: list[int], rate: int) -> list[int]:
    """Linear interpolation, averaged over each output sample's span: enough for a phone."""
    if rate == 8000:
        return samples
    step = rate / 8000
    result = []
    for index in range(int(len(samples) / step)):
        begin, end = int(index * step), max(int(index * step) + 1, int((index + 1) * step))
        span = samples[begin:end]
        result.append(sum(span) // len(span))
    return result
