"""Wire audio to 8 kHz mu-law and back, for the three formats of the Realtime API. Pure.

Inside the simulator all sound is mu-law: it is what the speech library holds and what a phone carries.
24 kHz PCM is 16-bit little endian, mono.
"""

from __future__ import annotations

import sys
from array import array
from itertools import chain

from ops.speech import g711

SAID = {"audio/pcm": "mono PCM16 at 24kHz", "audio/pcmu": "G.711 u-law", "audio/pcma": "G.711 a-law"}


class Decoder:
    """Turns appended bytes of one format into mu-law; keeps what does not fill a sample yet."""

    def __init__(self, format: str) -> None:
        self.format = format
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        if self.format == "audio/pcmu":
            return data
        if self.format == "audio/pcma":
            return g711.alaw_to_mulaw(data)
        data = self._rest + data
        whole = len(data) - len(data) % 6  # three samples of 24 kHz are one of 8 kHz
        self._rest = data[whole:]
        samples = _samples(data[:whole])
        return g711.encode(
            (a + b + c) // 3 for a, b, c in zip(samples[0::3], samples[1::3], samples[2::3], strict=True)
        )


def encode(format: str, mulaw: bytes) -> bytes:
    """Mu-law as the wire format wants it; PCM is interpolated to 24 kHz."""
    if format == "audio/pcmu":
        return mulaw
    if format == "audio/pcma":
        return g711.mulaw_to_alaw(mulaw)
    samples = g711.decode(mulaw)
    following = chain(samples[1:], samples[-1:])
    tripled = array(
        "h",
        chain.from_iterable(
            (a, (2 * a + b) // 3, (a + 2 * b) // 3) for a, b in zip(samples, following, strict=True)
        ),
    )
    return _little(tripled).tobytes()


def _samples(data: bytes) -> array[int]:
    samples = array("h")
    samples.frombytes(data)
    return _little(samples)


def _little(samples: array[int]) -> array[int]:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
