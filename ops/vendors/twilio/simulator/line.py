"""The 20 ms clock of an answered call: who speaks, who hears, what is recorded.

Every frame has an absolute deadline, counted from the moment of the answer, so lateness of one frame
never moves the next.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ops.speech import g711
from ops.vendors.twilio.simulator.caller import SILENT, Caller
from ops.vendors.twilio.simulator.clock import Alarm, Clock
from ops.vendors.twilio.simulator.playout import SILENT_FRAME, PlayOut
from ops.vendors.twilio.simulator.recording import Recording

SECONDS = 0.02
Tap = Callable[[int, bytes | None, bytes], None]  # frame number, what was said (None: lost), what was heard


@dataclass(frozen=True)
class Quality:
    """How bad the person's line is, repeatably: noise in dBFS, share of frames lost, frames that are
    held back and come in bursts every `late_ms`, everything dead without a goodbye after `half_open_ms`."""

    noise_dbfs: float | None = None
    loss: float = 0.0
    seed: int = 0
    late_ms: float | None = None
    half_open_ms: float | None = None


@dataclass
class Pacing:
    """How late frames were, in steps of half a millisecond."""

    frames: int = 0
    worst_ms: float = 0.0

    def __post_init__(self) -> None:
        self._steps = [0] * 101

    def add(self, seconds: float) -> None:
        self.frames += 1
        ms = max(0.0, seconds * 1000)
        self.worst_ms = max(self.worst_ms, ms)
        self._steps[min(100, int(ms * 2))] += 1

    def percentile(self, share: float) -> float:
        """The lateness in ms (upper edge of its step) that this share of the frames kept."""
        left = share * self.frames
        for step, count in enumerate(self._steps):
            left -= count
            if left <= 0:
                return (step + 1) / 2
        return self.worst_ms


class Line:
    """One phone's audio, from the answer to the end."""

    def __init__(
        self,
        caller: Caller,
        quality: Quality,
        clock: Clock,
        *,
        on_key: Callable[[str], None],
        on_hang_up: Callable[[], None],
        on_speech: Callable[[str, bool, int], None],
    ) -> None:
        self.caller = caller
        self.playout = PlayOut()
        self.recording = Recording()
        self.pacing = Pacing()
        self.taps: list[Tap] = []
        self.heard_power = 0.0  # sum of the mean squares of the frames with speech
        self._quality = quality
        self._chance = random.Random(quality.seed)
        self._on_key, self._on_hang_up, self._on_speech = on_key, on_hang_up, on_speech
        self.clock = clock
        self._began = monotonic()
        self._frame = 0
        self._next = SILENT
        self._agent_speaks = self._caller_speaks = False
        self._timer: Alarm | None = clock.call_at(self._began + SECONDS, self._tick)

    def sample_at(self) -> int:
        """The play-out clock: whole samples since the answer (a hair is added for floating point)."""
        return int((monotonic() - self._began) * 8000 + 0.001)

    def time_of(self, sample: int) -> float:
        """When a sample of the play-out clock is, in the clock's time."""
        return self._began + sample / 8000

    def play(self, audio: bytes) -> bool:
        """Let the phone's speaker play `audio` behind what it is playing."""
        return self.playout.media(audio, self.sample_at())

    def quiet(self) -> list[str]:
        """Forget what was not played yet; returns the marks that waited."""
        return self.playout.clear(self.sample_at())

    async def played(self) -> None:
        """Wait until everything that is queued now has been played."""
        await asyncio.sleep(self.playout.waiting(self.sample_at()) / 8000)

    def close(self) -> None:
        """Stop the clock."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.taps.clear()

    def _tick(self) -> None:
        number, self._frame = self._frame, self._frame + 1
        due = self._began + self._frame * SECONDS
        self.pacing.add(monotonic() - due)
        self._timer = self.clock.call_at(due + SECONDS, self._tick)
        heard = self.playout.frame()
        power = 0.0 if heard is SILENT_FRAME else g711.power(heard)
        said, reached = self._next, self._through(self._next)
        self.recording.write(said, heard)
        for tap in tuple(self.taps):
            tap(number, reached, heard)
        self._listen(power, self._frame * 20)

    def _listen(self, power: float, at_ms: int) -> None:
        frames = self.caller.ear.frames
        act = self.caller.tick(at_ms, g711.dbfs(power))
        if self.caller.ear.frames > frames:
            self.heard_power += power
        self._next = act.sound
        if self.caller.ear.speaking != self._agent_speaks:
            self._agent_speaks = self.caller.ear.speaking
            began, ended = self.caller.ear.onset_ms, self.caller.ear.last_ms
            self._on_speech("agent", self._agent_speaks, (began if self._agent_speaks else ended) or 0)
        if (act.sound is not SILENT) != self._caller_speaks:
            self._caller_speaks = act.sound is not SILENT
            self._on_speech("caller", self._caller_speaks, at_ms)
        if act.key:
            self._on_key(act.key)
        if act.hangs_up:
            self._on_hang_up()

    def _through(self, frame: bytes) -> bytes | None:
        """What of a spoken frame reaches the network."""
        if self._quality.loss and self._chance.random() < self._quality.loss:
            return None
        if self._quality.noise_dbfs is None:
            return frame
        amplitude = 32768 * 10 ** (self._quality.noise_dbfs / 20) * 3**0.5  # uniform noise of that RMS
        uniform = self._chance.uniform
        noisy = (value + int(uniform(-amplitude, amplitude)) for value in g711.decode(frame))
        return g711.encode(max(-32768, min(32767, value)) for value in noisy)
