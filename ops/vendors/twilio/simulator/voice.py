"""What `<Say>` sounds like without a synthesiser.

A text that is one of the recorded lines is played; any other is a murmur of the right length, cut
from the agent's recorded speech, about 180 words a minute.
"""

from __future__ import annotations

import re

from ops.speech import library

SECONDS_A_WORD = 60 / 180
PAUSE = b"\xff" * 800


def speak(text: str) -> bytes:
    """The mu-law audio of a text, in whole frames."""
    wanted = _plain(text)
    for line in library.lines():
        if _plain(line.text) == wanted:
            return line.audio
    return _murmur(max(1, len(wanted.split())))


def _murmur(words: int) -> bytes:
    length = int(words * SECONDS_A_WORD * 8000) // 160 * 160
    spoken = b"".join(line.audio + PAUSE for line in library.lines("agent"))
    return (spoken * (length // len(spoken) + 1))[:length]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))
