"""Keeps the folders of past calls, `logs/calls/CallSid`, from growing without end: by days, bytes and number.

A call that may still live keeps its folder, whatever the limits say. What was said in the calls whose folders
are gone stays in the services' own records and archives for as long as those.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

CALLS = "calls"  # the folder below logs/
LOOK = 600.0  # seconds between two looks: of ten thousand folders one takes a third of a second
QUIET = 3600.0  # seconds in which nothing was written to a call that is over
_CALL_SID = re.compile("CA[0-9a-f]{32}")
_LOOKED = ".looked"
_ENDED = b'"event": "ended"'
_GOES_ON = (b'"event": "began"', b'"event": "resumed"')


@dataclass(frozen=True)
class Limits:
    """How much of past calls is kept: days, bytes on the disk, calls."""

    days: float = 14.0
    bytes: int = 2 << 30
    calls: int = 10_000


@dataclass(frozen=True)
class Folder:
    """One call's folder: its bytes on the disk, and when anything in it was last written."""

    path: Path
    size: int
    changed: datetime


def surplus(folders: Iterable[Folder], now: datetime, limits: Limits) -> tuple[Path, ...]:
    """The folders beyond any of the limits; the newest stay, and none that was written to just now goes."""
    gone, total = [], 0
    for number, one in enumerate(sorted(folders, key=lambda one: one.changed, reverse=True)):
        total += one.size
        age = (now - one.changed).total_seconds()
        beyond = age > limits.days * 86_400 or total > limits.bytes or number >= limits.calls
        if beyond and age > QUIET:
            gone.append(one.path)
    return tuple(gone)


def to_remove(logs: Path, now: datetime, limits: Limits, *, force: bool = False) -> tuple[Path, ...]:
    """The folders to remove now; none before LOOK seconds since the last look, unless with `force`."""
    folder = logs / CALLS
    if not folder.is_dir() or not (force or _is_due(folder / _LOOKED)):
        return ()
    return tuple(path for path in surplus(_observe(folder), now, limits) if not may_live(logs, path.name))


def may_live(logs: Path, call_sid: str) -> bool:
    """Whether the bridge has begun this call and not yet told its end, by the call's own file
    (ops/apps/callbook, which removes it after a day: no call lasts longer)."""
    try:
        rows = (logs / "run/calls" / f"{call_sid}.jsonl").read_bytes()
    except OSError:
        return False
    return rows.rfind(_ENDED) <= max(map(rows.rfind, _GOES_ON))


def _is_due(looked: Path) -> bool:
    """Whether nobody has looked lately; several services may look after the same folder."""
    try:
        if 0 <= time.time() - looked.stat().st_mtime < LOOK:
            return False
    except OSError:
        pass
    try:
        looked.touch(mode=0o600)
    except OSError:
        return False  # who may not write here removes nothing, either
    return True


def _observe(folder: Path) -> list[Folder]:
    found = []
    for path in folder.iterdir():
        if not _CALL_SID.fullmatch(path.name) or path.is_symlink():
            continue
        try:
            stats = [path.stat(), *(one.lstat() for one in path.iterdir())]
        except OSError:
            continue  # another process was first
        changed = max(stat.st_mtime for stat in stats)
        size = sum(stat.st_blocks for stat in stats) * 512
        found.append(Folder(path, size, datetime.fromtimestamp(changed, UTC)))
    return found
