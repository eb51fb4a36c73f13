"""The calls' own files: what must outlive this process for a call to go on after it.

`logs/run/calls/<CallSid>.jsonl`, its owner's alone to read: one line for each event of the call, never
one for a frame. A thread of its own writes and syncs them, so no call waits for the disk; a disk that
fails loses the way back, not the call.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ops.apps.dialogue import Entry, of_json
from ops.apps.past_calls import PastCalls
from ops.apps.tickets import Terms
from ops.journal.write import logger

KEPT = 86_400.0  # seconds
TIDY_EVERY = 3600.0
BIG = 4 * 1024 * 1024  # bytes of one file that are read at most

log = logger(__name__)


@dataclass(frozen=True)
class Page:
    """What is known of a call: its terms, what was said, how it ended (None: it has not), how often it came
    back, the time at which it began (None: nobody wrote it down), and the dollars that it took."""

    terms: Terms
    entries: tuple[Entry, ...]
    ended: str | None
    resumes: int
    turns: int = 0
    began: float | None = None
    dollars: float = 0.0


OVER = Page(Terms(), (), "it was on an earlier day", 0)


def page_of(lines: Iterable[str]) -> Page:
    """A call's file as a value; a torn line counts as nothing."""
    terms, ended, resumes, turns, said = Terms(), None, 0, 0, []
    began, dollars = None, 0.0
    for line in lines:
        try:
            row = json.loads(line)
            event = row["event"]
            if event == "began":
                terms = Terms.of_json(row)
                began = float(row["at"]) if began is None else began
            elif event == "said":
                said.append(row["entry"])
            elif event == "turn":
                turns = int(row["turn"]) + 1
            elif event == "resumed":
                resumes, ended = resumes + 1, None
                began = float(row["at"]) if began is None else began
            elif event == "spent":  # in all: one that is torn is made good by the next
                dollars = float(row["dollars"])
            elif event == "ended":
                ended = str(row["reason"])
        except (ValueError, KeyError, TypeError):
            continue
    return Page(terms, tuple(of_json(said)), ended, resumes, turns, began, dollars)


class Callbook:
    """Writes and reads the calls' files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.failing = False
        self._folder = folder
        self._past = PastCalls(folder / "past")
        self._rows: queue.SimpleQueue[tuple[str, str] | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="callbook", daemon=True)
        self._thread.start()

    def add(self, call_sid: str, event: str, fields: Mapping[str, Any]) -> None:
        """Append one row; returns at once."""
        self._rows.put((call_sid, json.dumps({"event": event, **fields})))

    def written(self) -> asyncio.Future[None]:
        """Done when everything added so far is on the disk, or could not be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rows.put(partial(_tell, done))
        return done

    async def read(self, call_sid: str) -> Page | None:
        """The call's page with everything added so far; None when there is none."""
        return await asyncio.to_thread(self._read, call_sid)

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._rows.put(None)
        self._thread.join(5.0)

    def _file(self, call_sid: str) -> str:
        """A Path would intern the name, and each leaves a dead place in the interpreter's table of them."""
        return f"{self._folder}/{call_sid}.jsonl"

    def _read(self, call_sid: str) -> Page | None:
        written = threading.Event()
        self._rows.put(written.set)
        written.wait(1.0)
        try:
            with open(self._file(call_sid), encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                return page_of(file.read(BIG).splitlines())
        except OSError:
            return OVER if call_sid in self._past else None

    def _write(self) -> None:
        going_on, tidied = True, -KEPT
        while going_on:
            if time.monotonic() - tidied > TIDY_EVERY:
                tidied = time.monotonic()
                self._tidy()
            batch: dict[str, list[str]] = {}
            waiting: list[Callable[[], None]] = []
            item = self._rows.get()
            while True:
                if item is None:
                    going_on = False
                elif isinstance(item, tuple):
                    batch.setdefault(item[0], []).append(item[1])
                else:
                    waiting.append(item)
                try:
                    item = self._rows.get_nowait()
                except queue.Empty:
                    break
            for call_sid, lines in batch.items():
                self._append(call_sid, lines)
            for tell in waiting:
                tell()

    def _append(self, call_sid: str, lines: list[str]) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(self._file(call_sid), flags, 0o600)
            try:
                os.write(handle, ("\n" + "\n".join(lines) + "\n").encode())  # the first: after a torn line
                os.fsync(handle)
            finally:
                os.close(handle)
            self.failing = False
        except OSError as problem:
            if not self.failing:
                log.warning(
                    "callbook.failing", f"Calls cannot be resumed: {self._folder}: {problem.strerror}."
                )
            self.failing = True

    def _tidy(self) -> None:
        """Make the folder, and forget the calls of the day before, but not that they were."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            before = time.time() - KEPT
            with os.scandir(self._folder) as files:  # one at a time: a day has many
                for file in files:
                    with suppress(FileNotFoundError):  # another worker was quicker
                        if file.name.endswith(".jsonl") and file.stat().st_mtime < before:
                            self._past.add(file.name.removesuffix(".jsonl"))
                            os.unlink(file.path)  # noqa: PTH108
        except OSError:
            pass  # the first row will tell


def _tell(done: asyncio.Future[None]) -> None:
    """Says so from another thread than its loop's."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        done.get_loop().call_soon_threadsafe(_settle, done)


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():  # who waited may have given up
        done.set_result(None)
