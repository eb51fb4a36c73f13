"""Behind the journal: a bounded queue, and the one thread that redacts and writes what is in it."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ops.journal.entry import LEVELS, Entry, level_name, plain, said
from ops.journal.level import level_file
from ops.journal.redact import Redactor
from ops.journal.sinks import Sinks

LIMIT = 20_000  # records in the queue; DEBUG is refused at half of it
BATCH = 256  # records written at once
LINGER = 0.01  # seconds in which more records may join a batch, for each record of the batch before
LINGER_MOST = 0.1
WAIT = 0.02  # seconds that an ERROR may hold its caller: one frame of audio
LOOK = 1.0  # seconds between two looks at the level file
OURS = logging.getLogger("ops")


class Record(logging.LogRecord):
    """What waits in the queue: a finished message, no reference to frames or arguments."""

    event: str = "log"
    fields: Mapping[str, Any] = MappingProxyType({})


class Writer:
    """The queue, the thread behind it, and what it writes to."""

    def __init__(self, service: str, logs: Path, level: str, redactor: Redactor, console: bool) -> None:
        self._service, self._logs = service, logs
        self._sinks = Sinks(logs, redactor)
        self._console = _console() if console else None
        self._pid = os.getpid()
        self._configured = level
        self._queue: queue.SimpleQueue[Record | threading.Event | None] = queue.SimpleQueue()
        self._urgent = threading.Event()
        self._stalled = False  # an ERROR waited in vain: do not wait again until a batch is through
        self._dropped = 0
        self._next_look = 0.0
        self._linger = linger(0)
        self._look()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # What callers do.

    def put(self, record: Record) -> None:
        waiting = self._queue.qsize()
        if waiting >= LIMIT or (waiting >= LIMIT // 2 and record.levelno <= logging.DEBUG):
            self._dropped += 1
            return
        self._queue.put(record)
        if record.levelno >= logging.ERROR and not self._stalled:
            self._stalled = not self.flush(WAIT)

    def flush(self, timeout: float) -> bool:
        """Wait until all that is in the queue is written, at most `timeout` seconds."""
        if threading.current_thread() is self._thread:
            return True
        done = threading.Event()
        self._queue.put(done)
        self._urgent.set()
        return done.wait(timeout)

    def close(self) -> None:
        """Write what is in the queue, at most 5 seconds, and end the thread."""
        self._queue.put(None)
        self._urgent.set()
        self._thread.join(5.0)

    # What the thread does.

    def _run(self) -> None:
        going = True
        while going:
            records, barriers, going = self._collect()
            self._linger = linger(len(records))
            with suppress(Exception):  # a record that cannot be written must not end the thread
                self._write(records)
            self._stalled = False
            for barrier in barriers:
                barrier.set()
            if time.monotonic() >= self._next_look:
                self._look()

    def _collect(self) -> tuple[list[Record], list[threading.Event], bool]:
        """The next batch, the flushes that wait for it, and whether to go on after it."""
        records: list[Record] = []
        barriers: list[threading.Event] = []
        with suppress(queue.Empty):
            item = self._queue.get(timeout=LOOK)
            if isinstance(item, Record) and item.levelno < logging.ERROR:
                self._urgent.wait(self._linger)
            self._urgent.clear()
            while item is not None:
                if isinstance(item, Record):
                    records.append(item)
                else:
                    barriers.append(item)
                if len(records) >= BATCH:
                    return records, barriers, True
                item = self._queue.get_nowait()
            return records, barriers, False
        return records, barriers, True

    def _write(self, records: list[Record]) -> None:
        entries = [self._entry(record) for record in records]
        if self._dropped and self._queue.qsize() < LIMIT // 2:  # once, when it is over
            dropped, self._dropped = self._dropped, 0
            text = f"dropped {dropped} records: the queue was full"
            entries.append(
                Entry(
                    datetime.now(UTC), "WARNING", self._service, "journal.dropped", text, self._pid, OURS.name
                )
            )
        for entry in self._sinks.write(entries):
            if self._console:
                _show(self._console, entry)

    def _entry(self, record: Record) -> Entry:
        return Entry(
            ts=datetime.fromtimestamp(record.created, UTC),
            level=level_name(record.levelno),
            service=self._service,
            event=str(record.event),
            msg=str(record.msg),
            pid=self._pid,
            logger=record.name,
            fields=_plain_fields(record.fields),
        )

    def _look(self) -> None:
        """Set the level: the one in the level file, when it is there and a level, or the configured one."""
        self._next_look = time.monotonic() + LOOK
        level = self._configured
        with suppress(OSError, ValueError):
            with level_file(self._logs).open(encoding="ascii") as file:
                asked = file.read(16).strip().upper()
            level = asked if asked in LEVELS else level
        if OURS.level != LEVELS[level]:
            OURS.setLevel(LEVELS[level])
        logging.getLogger().setLevel(max(logging.WARNING, LEVELS[level]))


def linger(before: int) -> float:
    """Seconds in which more records may join the next batch, after one of `before`: the busier it is, the
    less often files are opened and the other threads of the process disturbed."""
    return min(LINGER * max(1, before), LINGER_MOST)


def _plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return plain(fields)  # type: ignore[no-any-return]
    except Exception as problem:  # a field whose str() fails, or that changes while it is read
        return {"fields_lost": repr(problem)}


def _console() -> logging.Formatter:
    import colorlog

    formatter = colorlog.ColoredFormatter(
        "%(asctime)s %(log_color)s%(levelname)-7s%(reset)s %(message)s",
        datefmt="%H:%M:%S",
        log_colors={"DEBUG": "cyan", "SUCCESS": "green", "WARNING": "yellow", "ERROR": "red"},
        reset=False,
        stream=sys.stderr,
    )
    formatter.converter = time.gmtime  # like the files
    return formatter


def _show(formatter: logging.Formatter, entry: Entry) -> None:
    record = logging.LogRecord(entry.logger, LEVELS[entry.level], "", 0, said(entry), (), None)
    record.created = entry.ts.timestamp()
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{formatter.format(record)}\n")
        sys.stderr.flush()
