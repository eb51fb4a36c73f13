"""A host's bytes as lines that are safe to show: decoded, without escape sequences, capped. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE = 4096  # bytes shown of one line
TOTAL = 16 << 20  # bytes shown of one task on one host
UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS and the like: titles, clipboard
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]"
)


def safe(text: str) -> str:
    """The text without anything that moves a cursor, hides, or turns around what is read."""
    return UNSAFE.sub("", text.replace("\t", "    "))


@dataclass
class Lines:
    """Cuts a stream of bytes into safe lines; a line and the whole are capped, the rest is dropped."""

    line: int = LINE
    total: int = TOTAL
    _kept: bytearray = field(default_factory=bytearray)
    _cut: int = 0
    _seen: int = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete."""
        if self._seen > self.total:
            return []
        self._seen += len(data)
        *whole, rest = data.split(b"\n")
        lines = []
        for part in whole:
            self._keep(part)
            lines.append(self._take())
        self._keep(rest)
        if self._seen > self.total:
            lines.append(f"… output beyond {self.total} bytes is left out")
            self._kept.clear()
        return lines

    def end(self) -> list[str]:
        """The last line, where the stream ended without a line break."""
        return [self._take()] if self._kept and self._seen <= self.total else []

    def _keep(self, part: bytes) -> None:
        room = self.line - len(self._kept)
        self._kept += part[:room]
        self._cut += max(0, len(part) - room)

    def _take(self) -> str:
        text = safe(self._kept.decode("utf-8", "replace").replace("\r", " ").rstrip())
        if self._cut:
            text += f"… ({self._cut} more bytes)"
        self._kept.clear()
        self._cut = 0
        return text
