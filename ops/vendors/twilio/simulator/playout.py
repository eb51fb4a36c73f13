"""When each sample that the server sent is played, and so when its marks come back. Pure.

Time is counted in samples of 8 kHz since the line was opened, so it is exact: 160 a frame. Audio
that meets an idle line begins at the moment of its arrival; otherwise it follows what is queued.
Source: Twilio, "Media Streams - WebSocket messages": a mark returns when the media before it has
been played; clear empties the buffer and returns the marks at once.
"""

from __future__ import annotations

from collections import deque

FRAME = 160
SILENT_FRAME = b"\xff" * FRAME
LIMIT = 10 * 60 * 8000  # samples that may wait: ten minutes, as the page of warning 31931 says


class PlayOut:
    """The buffer between what was received and what is heard."""

    def __init__(self) -> None:
        self.end = 0  # when the last queued sample has been played
        self._position = 0  # everything before it has been handed out by `frame`
        self._segments: deque[tuple[int, bytes]] = deque()
        self._marks: deque[tuple[int, str]] = deque()

    def media(self, audio: bytes, at: int) -> bool:
        """Queue `audio`, which arrived at sample `at`; False when the buffer is full."""
        if self.end - at > LIMIT:
            return False
        start = max(at, self.end, self._position)
        if audio:
            self._segments.append((start, audio))
            self.end = start + len(audio)
        return True

    def mark(self, name: str, at: int) -> None:
        """Remember a mark behind the audio that has arrived so far."""
        self._marks.append((max(at, self.end), name))

    def clear(self, at: int) -> list[str]:
        """Stop playing at `at` and forget the rest; returns the marks that were waiting."""
        while self._segments and self._segments[-1][0] >= at:
            self._segments.pop()
        if self._segments:
            start, audio = self._segments.pop()
            self._segments.append((start, audio[: max(0, at - start)]))
        self.end = min(self.end, at)
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def due(self, at: int) -> list[str]:
        """The marks whose audio has been played by `at`, in order."""
        names = []
        while self._marks and self._marks[0][0] <= at:
            names.append(self._marks.popleft()[1])
        return names

    @property
    def next_due(self) -> int | None:
        """When the next mark comes back, if one waits."""
        return self._marks[0][0] if self._marks else None

    def waiting(self, at: int) -> int:
        """Samples that are queued and not yet played at `at`."""
        return max(0, self.end - at)

    def frame(self) -> bytes:
        """The next 20 ms as the phone's speaker gives them, silence where nothing is queued."""
        begin, self._position = self._position, self._position + FRAME
        if not self._segments or self._segments[0][0] >= self._position:
            return SILENT_FRAME
        parts = bytearray()
        while self._segments and len(parts) < FRAME:
            start, audio = self._segments[0]
            here = begin + len(parts)
            if start >= self._position:
                break
            parts += b"\xff" * (start - here)
            taken = audio[max(0, here - start) : self._position - start]
            parts += taken
            if start + len(audio) <= self._position:
                self._segments.popleft()
            else:
                break
        return bytes(parts) + b"\xff" * (FRAME - len(parts))
