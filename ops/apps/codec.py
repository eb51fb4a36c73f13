"""Which codec a piece of audio really is, by its statistics, whatever was announced. Pure.

Noise in the caller's ear is worse than a call that ends with a reason, so both sides are looked at
once, at their first second.
"""

from __future__ import annotations

import base64
import binascii

ENOUGH = 1600  # bytes that are needed for a verdict: 200 ms of G.711
ALL = 25  # frames, the first ones; of those that come later one in five tells as much


class Evidence:
    """What one side has sent so far, as counts: frames come and go, the verdict needs none of them."""

    def __init__(self) -> None:
        self.frames = 0
        self.size = 0
        self._small = [0, 0]  # octets at even and odd places that as a signed high byte mean a quiet sample
        self._rest = 0  # octets that mean silence in a-law
        self._still = 0  # and in mu-law

    def add(self, payload: str) -> None:
        """A base64 text; what is none counts as nothing."""
        self.frames += 1
        if self.frames > ALL and self.frames % 5:
            return
        try:
            audio = base64.b64decode(payload)
        except (binascii.Error, ValueError):
            return
        first = self.size % 2
        self._small[first] += _count(audio[0::2], _QUIET)
        self._small[1 - first] += _count(audio[1::2], _QUIET)
        self._rest += _count(audio, b"\xd5\x55\xd4\x54")
        self._still += _count(audio, b"\xff\x7f\xfe\x7e")
        self.size += len(audio)

    @property
    def foreign(self) -> str | None:
        """What audio announced as mu-law really is: `pcm16` or `a-law`; None when it may well be mu-law.

        16-bit samples show in every second byte, the high one, which for speech is close to 0 or 255.
        Silence around speech shows a-law: it rests at 0xD5 or 0x55, mu-law at 0xFF or 0x7F.
        """
        size = self.size
        if size < ENOUGH:
            return None
        even, odd = self._small
        if abs(even - odd) > 0.12 * size / 2:
            return "pcm16"
        if 0.3 * size < self._rest < 0.97 * size and self._still < 0.1 * self._rest:
            return "a-law"
        return None


def _count(audio: bytes, octets: bytes) -> int:
    return len(audio) - len(audio.translate(None, octets))


_QUIET = bytes((*range(8), *range(248, 256)))
