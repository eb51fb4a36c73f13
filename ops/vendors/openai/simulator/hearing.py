"""The input audio buffer and the ear on it: what was appended, where in time it is, who speaks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.vendors.openai.simulator.codec import Decoder
from ops.vendors.openai.simulator.vad import Moment, Vad

EAGERNESS_MS = {"low": 8000, "medium": 4000, "auto": 4000, "high": 2000}
SPARE_MS = 1000  # kept beyond the prefix while nobody speaks; what is older is forgotten


class Hearing:
    """Audio as mu-law from `start_ms` on; positions count all audio of the session, in milliseconds."""

    def __init__(self, format: str, turns: Mapping[str, Any] | None) -> None:
        self.start_ms = 0
        self.buffer = bytearray()
        self._decoder = Decoder(format)
        self._vad = Vad(0.5, 500)
        self._listening = False
        self._kept_ms = 0
        self.configure(format, turns)

    def configure(self, format: str, turns: Mapping[str, Any] | None) -> None:
        """Follow a session's input format and turn detection; None leaves turns to the client."""
        if format != self._decoder.format:
            self._decoder = Decoder(format)
        self._listening = turns is not None
        self._kept_ms = SPARE_MS + (turns or {}).get("prefix_padding_ms", 300)
        if turns is None:
            self._vad.reset()
        elif turns["type"] == "server_vad":
            self._vad.threshold, self._vad.silence_ms = turns["threshold"], turns["silence_duration_ms"]
        else:
            self._vad.threshold, self._vad.silence_ms = 0.5, EAGERNESS_MS[turns["eagerness"]]

    @property
    def end_ms(self) -> int:
        return self.start_ms + len(self.buffer) // 8

    @property
    def buffered_ms(self) -> float:
        return len(self.buffer) / 8

    @property
    def speaking(self) -> bool:
        return self._vad.speaking

    def append(self, data: bytes) -> list[Moment]:
        """Take wire audio; the moments that voice activity detection found in it."""
        mulaw = self._decoder.feed(data)
        self.buffer += mulaw
        moments = self._vad.feed(mulaw)
        if not self._listening:
            self._vad.reset()
            return []
        if not self._vad.speaking and not moments and self.buffered_ms > self._kept_ms + SPARE_MS:
            self.drop_before(self.end_ms - self._kept_ms)
        return moments

    def drop_before(self, ms: int) -> None:
        """Forget audio before a position."""
        size = max(0, ms - self.start_ms) * 8
        del self.buffer[:size]
        self.start_ms += size // 8

    def take(self, until_ms: int) -> bytes:
        """The audio up to a position, which leaves the buffer."""
        size = max(0, until_ms - self.start_ms) * 8
        taken = bytes(self.buffer[:size])
        self.drop_before(until_ms)
        return taken

    def take_all(self) -> bytes:
        """Everything, as a client's commit or clear takes it; speech that goes on starts anew."""
        taken = bytes(self.buffer)
        self.start_ms = self.end_ms
        self.buffer.clear()
        self._vad.reset()
        return taken

    def stop_speech(self) -> None:
        """The turn is over although the silence was not waited for."""
        self._vad.reset()
