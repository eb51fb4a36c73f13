"""New entries as they are written, in order of time; survives rotation, truncation and new files."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ops.config import Settings
from ops.journal.collect import Source, histories, merged, sources
from ops.journal.entry import Entry
from ops.journal.parse import Grouper
from ops.journal.query import Query
from ops.journal.redact import Redactor
from ops.journal.sinks import redacted

POLL = 0.05  # seconds between two looks at the files: under what a person sees
WATERMARK = 0.25  # seconds an entry waits for earlier ones from other files
DISCOVER = 1.0  # seconds between two looks for new files
CHUNK = 1 << 20  # bytes read from one file at a time


def follow(
    settings: Settings, query: Query, *, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Entry]:
    """What `query` admits, as it is written, until `stopped()`; with `since` in it, the past comes first.

    An entry appears WATERMARK and up to three POLLs after it was written. What was read before
    `stopped()` is still given.
    """
    redactor = Redactor(settings.secrets)
    waiting: list[tuple[datetime, int, float, Entry]] = []
    count = 0
    ending = False
    with _Tails(settings, query) as tails:
        if query.since:
            past = replace(query, call=None)  # the services' files, which the tails go on with
            yield from merged(histories(sources(settings.logs, past), past, redactor, tails.offsets()), query)
        while not ending:
            ending = stopped()
            now = time.monotonic()
            for entry in tails.new(now, redactor, last=ending):
                if query.admits(entry):
                    heapq.heappush(waiting, (entry.ts, count := count + 1, now, entry))
            while waiting and (ending or waiting[0][2] <= now - WATERMARK):
                yield heapq.heappop(waiting)[3]
            if not ending:
                time.sleep(POLL)


class _Tails:
    """The tails of all files that are written to, as they come and go."""

    def __init__(self, settings: Settings, query: Query) -> None:
        self._settings, self._query = settings, query
        self._tails = {source.path: Tail(source, at_end=True) for source in self._live()}
        self._seen = set(self._tails)
        self._next_look = time.monotonic() + DISCOVER

    def __enter__(self) -> _Tails:
        return self

    def __exit__(self, *_: object) -> None:
        for tail in self._tails.values():
            tail.close()

    def offsets(self) -> dict[Path, int]:
        """Where each tail begins: what is before that is the past."""
        return {path: tail.offset for path, tail in self._tails.items()}

    def new(self, now: float, redactor: Redactor, *, last: bool) -> Iterator[Entry]:
        if now >= self._next_look:
            self._next_look = now + DISCOVER
            self._look()
        for tail in self._tails.values():
            for entry in tail.new(last=last):
                yield redacted(entry, redactor)[0] if tail.source.raw else entry

    def _look(self) -> None:
        live = {source.path: source for source in self._live()}
        for path, tail in list(self._tails.items()):
            if path not in live and tail.source.raw:  # now it is relayed: its lines come from there
                tail.close()
                del self._tails[path]
        for path, source in live.items():
            # A new raw output waits for one more look: by then its relay, if it has one, has shown.
            if path not in self._tails and (path in self._seen or not source.raw):
                self._tails[path] = Tail(source)
        self._seen |= set(live)

    def _live(self) -> list[Source]:
        everything = replace(self._query, call=None, since=None)
        return [source for source in sources(self._settings.logs, everything) if not source.closed]


class Tail:
    """One growing file: its new records at each look."""

    def __init__(self, source: Source, *, at_end: bool = False) -> None:
        self.source = source
        self._file: IO[bytes] | None = None
        self._torn = b""  # the beginning of a line that is not complete yet
        self._grouper = Grouper(source.service, datetime.now(UTC))
        self.offset = 0
        if at_end:
            self.offset = _end_of_lines(source.path)

    def new(self, *, last: bool = False) -> Iterator[Entry]:
        """Records that are complete: a later line began another, or nothing came since the last look."""
        lines = self._lines()
        for line in lines:
            if done := self._grouper.feed(line):
                yield done
        if (last or not lines) and (done := self._grouper.flush()):
            yield done

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self) -> list[bytes]:
        try:
            if self._file is None:
                self._file = self.source.path.open("rb")
                self._file.seek(self.offset)
            data = self._file.read(CHUNK)
            if not data:
                self._look_again()
                return []
        except OSError:
            return []
        *lines, self._torn = (self._torn + data).split(b"\n")
        if len(self._torn) > CHUNK:  # no line is that long: cut it
            lines, self._torn = [*lines, self._torn], b""
        return lines

    def _look_again(self) -> None:
        """At the end of the file: was it renamed and begun anew, or truncated?"""
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        if mine.st_size < self._file.tell():
            self._file.seek(0)
            self._torn = b""
        there = self.source.path.stat()
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            rest = self._file.read()  # written between the last read and the look
            if rest:
                self._file.seek(-len(rest), os.SEEK_CUR)
                return
            self._file.close()
            self._file, self._torn, self.offset = None, b"", 0


def _end_of_lines(path: Path) -> int:
    """The byte after a file's last newline."""
    try:
        with path.open("rb") as file:
            at = file.seek(0, os.SEEK_END)
            while at > 0:
                step = min(at, 1 << 16)
                file.seek(at - step)
                found = file.read(step).rfind(b"\n")
                if found >= 0:
                    return at - step + found + 1
                at -= step
    except OSError:
        pass
    return 0
