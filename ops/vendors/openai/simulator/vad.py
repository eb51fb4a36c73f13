"""When somebody speaks: voice activity on 20 ms frames of mu-law, as server_vad describes it. Pure.

A frame is loud from -55 dBFS at threshold 0 to -25 dBFS at threshold 1 (-40 at the default 0.5). Speech
starts when three of four frames in a row are loud, so a click is not speech, and stops after
`silence_ms` of quiet. Positions are milliseconds of all audio heard so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ops.speech import g711

FRAME_MS = 20
NEEDED, OF = 3, 4
HYSTERESIS_DB = 4.0  # once speaking, quieter frames still count as speech
PAUSE_MS = 400  # a pause that semantic_vad looks at


@dataclass(frozen=True)
class Moment:
    """Something that happened in the audio, at `ms` from its beginning."""

    what: Literal["started", "paused", "stopped"]
    ms: int


class Vad:
    """Watches a stream of mu-law; `silence_ms` and `threshold` may change while it runs."""

    def __init__(self, threshold: float, silence_ms: int) -> None:
        self.threshold = threshold
        self.silence_ms = silence_ms
        self.speaking = False
        self.position_ms = 0
        self._rest = b""
        self._recent = [False] * OF
        self._quiet_ms = 0

    def feed(self, mulaw: bytes) -> list[Moment]:
        """The moments in these bytes, in order; bytes that do not fill a frame wait for the next."""
        data = self._rest + mulaw
        whole = len(data) - len(data) % g711.FRAME
        self._rest = data[whole:]
        moments: list[Moment] = []
        for at in range(0, whole, g711.FRAME):
            self.position_ms += FRAME_MS
            self._hear(g711.level(data[at : at + g711.FRAME]), moments)
        return moments

    def reset(self) -> None:
        """Forget that somebody speaks: the buffer was committed or cleared."""
        self.speaking = False
        self._recent = [False] * OF
        self._quiet_ms = 0

    def _hear(self, level: float, moments: list[Moment]) -> None:
        floor = -55.0 + 30.0 * self.threshold
        loud = level >= (floor - HYSTERESIS_DB if self.speaking else floor)
        self._recent = [*self._recent[1:], loud]
        if not self.speaking:
            if sum(self._recent) >= NEEDED:
                self.speaking = True
                self._quiet_ms = 0
                onset = self.position_ms - FRAME_MS * (OF - self._recent.index(True))
                moments.append(Moment("started", onset))
            return
        if loud and self._recent[-2]:
            self._quiet_ms = 0
            return
        self._quiet_ms += FRAME_MS
        if self._quiet_ms >= max(self.silence_ms, FRAME_MS):
            self.reset()
            moments.append(Moment("stopped", self.position_ms))
        elif self._quiet_ms == PAUSE_MS:
            moments.append(Moment("paused", self.position_ms))
