"""The recorded lines that callers and agents speak: text and 8 kHz mu-law audio, read when asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

Speaker = Literal["caller", "agent"]
HERE = Path(__file__).parent
INDEX = HERE / "lines.json"
FOLDER = HERE / "lines"


@dataclass(frozen=True)
class Line:
    """One sentence as data; `audio` is mu-law, 8 kHz, no header, whole 20 ms frames, read on first use."""

    name: str
    speaker: Speaker
    text: str

    @cached_property
    def audio(self) -> bytes:
        return (FOLDER / f"{self.name}.ulaw").read_bytes()

    @property
    def seconds(self) -> float:
        return len(self.audio) / 8000


def line(name: str) -> Line:
    """The line of that name; KeyError names the ones that exist."""
    try:
        return _index()[name]
    except KeyError:
        raise KeyError(f"no line called {name!r}; there are {', '.join(_index())}") from None


def lines(speaker: Speaker | None = None) -> tuple[Line, ...]:
    """All lines in the order of `lines.json`, or one speaker's."""
    return tuple(each for each in _index().values() if speaker in (None, each.speaker))


@cache
def _index() -> dict[str, Line]:
    return {row["name"]: Line(**row) for row in json.loads(INDEX.read_text("utf-8"))}
