"""The last frames of a sound, in one piece of memory: a text for each would take a third more. Pure."""

from __future__ import annotations

from base64 import b64encode
from binascii import a2b_base64

FRAME = 160  # bytes: 20 ms of mu-law
PLACE = 216  # letters of base64 for them
SILENCE = b"\xff"


class FrameRing:
    """Frames of 20 ms in base64, as they come; without room, the newest takes the place of the oldest."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = 0  # frames, ever
        self._text = bytearray(room * PLACE)
        self._at = 0  # where the next one goes

    def add(self, payload: str) -> None:
        at = self._at
        end = at + PLACE
        self._text[at:end] = payload.encode() if len(payload) == PLACE else _of_20_ms(payload)
        self._at = end if end < len(self._text) else 0
        self.taken += 1

    @property
    def passing(self) -> tuple[bytearray, int, int]:
        """Its memory, where in it the next frame goes, and the size of one: for who adds without asking."""
        return self._text, self._at, PLACE

    def passed(self, count: int) -> None:
        """So many frames have been added to its memory."""
        self._at = (self._at + count * PLACE) % len(self._text)
        self.taken += count

    @property
    def held(self) -> int:
        """How many frames there are."""
        return min(self.taken, self.room)

    def last(self, count: int) -> list[str]:
        """So many of them, or all that there are, the oldest first."""
        text = (self._text[self._at :] + self._text[: self._at]).decode()
        first = len(text) - min(count, self.held) * PLACE
        return [text[place : place + PLACE] for place in range(first, len(text), PLACE)]

    def moved(self, count: int, room: int) -> FrameRing:
        """So many of them, in a ring with another room."""
        ring = FrameRing(room)
        for payload in self.last(count):
            ring.add(payload)
        return ring


def _of_20_ms(payload: str) -> bytes:
    """A frame of another length, cut or filled up with silence; garbage is silence."""
    try:
        sound = a2b_base64(payload)
    except ValueError:
        sound = b""
    return b64encode(sound[:FRAME].ljust(FRAME, SILENCE))
