"""Both sides of a call on one time line, as a two-channel WAV: caller left, agent right. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import wave

from ops.speech import g711

RATE = 8000


class Recording:
    """Collects mu-law of both sides; times are milliseconds since the stream began."""

    def __init__(self, limit_ms: int = 3_600_000) -> None:
        self._caller = bytearray()
        self._agent = bytearray()
        self._limit = limit_ms * RATE // 1000

    def caller(self, payload: str, at_ms: float) -> None:
        """A frame from the phone."""
        _place(self._caller, payload, at_ms, self._limit)

    def agent(self, payload: str, at_ms: float) -> None:
        """A piece of an answer, at the time when it sounds."""
        _place(self._agent, payload, at_ms, self._limit)

    def cut_agent(self, at_ms: float) -> None:
        """The phone's buffer was emptied: nothing after this moment was heard."""
        del self._agent[max(0, int(at_ms * RATE / 1000)) :]

    def wav(self) -> bytes:
        """The whole recording: 8 kHz, 16 bit, two channels."""
        length = max(len(self._caller), len(self._agent))
        left, right = (
            g711.decode(bytes(side).ljust(length, g711.SILENCE)) for side in (self._caller, self._agent)
        )
        frames = left[:0]
        frames.frombytes(bytes(4 * length))
        frames[0::2], frames[1::2] = left, right
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(frames.tobytes())
        return out.getvalue()


def _place(side: bytearray, payload: str, at_ms: float, limit: int) -> None:
    try:
        audio = base64.b64decode(payload)
    except (binascii.Error, ValueError):
        return
    at = int(at_ms * RATE / 1000)
    if at + len(audio) > limit:
        return
    if abs(at - len(side)) <= 160 and len(side):
        at = len(side)  # jitter of less than a frame is not a gap
    if at > len(side):
        side.extend(g711.SILENCE * (at - len(side)))
    side[at : at + len(audio)] = audio
