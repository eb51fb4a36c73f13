"""`inv logs`: all services' records as one stream: filtered, followed, summed up, exported, rotated."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.config import Settings
from ops.findings import Report, ok
from ops.journal import collect, export, follow, rotate
from ops.journal.analyse import Analysis
from ops.journal.entry import Entry, human, json_line
from ops.journal.query import Query, query
from ops.journal.story import story
from ops.report import Printer


@dataclass(frozen=True)
class LogOptions:
    """What a person asks of the logs; texts as they were typed."""

    level: str | None = None
    service: str | None = None
    call: str | None = None
    since: str | None = None
    until: str | None = None
    grep: str | None = None
    lines: int = 200
    follow: bool = False
    seconds: float | None = None
    export: str | None = None
    format: str = "json"
    rotate: bool = False
    story: bool = False


def logs(settings: Settings, printer: Printer, options: LogOptions) -> Report | None:
    """Show what was asked for. Under --json each record is a line of its own and there is no report."""
    now = datetime.now(UTC)
    if options.rotate:
        return Report("logs", settings.vendors, rotate.rotate(settings.logs, now=now, force=True))
    run = collect.run_started(settings)
    asked = query(
        now=now,
        run=run,
        level=options.level or "INFO",
        service=options.service,
        call=options.call,
        since=None if options.since == "all" else options.since or _usual(options, run),
        until=options.until,
        grep=options.grep,
    )
    if options.export:
        count = export.save(
            Path(options.export), collect.read(settings, asked), options.format, settings.secrets
        )
        found = ok(
            "logs.exported", f"{count} lines are in {options.export}.", path=options.export, lines=count
        )
        return Report("logs", settings.vendors, (found,))
    if options.follow:
        show(follow.follow(settings, asked, stopped=until_after(options.seconds)), printer)
        return None
    if options.story:
        for line in story(collect.read(settings, asked)):
            printer.line(line)
        return None
    return _past(settings, asked, options.lines, printer)


def show(entries: Iterable[Entry], printer: Printer) -> None:
    """One line an entry: JSON for programs, text for people."""
    color = printer.color()
    for entry in entries:
        printer.line(json_line(entry.to_dict()) if printer.json else human(entry, color, stack=True))


def _usual(options: LogOptions, run: datetime | None) -> str | None:
    """Without a word about time: a call whole, what is followed from now on, else the running stack's run."""
    return None if options.follow or options.call or run is None else "run"


def _past(settings: Settings, asked: Query, lines: int, printer: Printer) -> Report | None:
    """The last `lines` entries, and what all of them say together."""
    analysis = Analysis()
    last: deque[Entry] = deque(maxlen=None if printer.json else lines)
    count = 0
    for entry in collect.read(settings, asked):
        analysis.add(entry)
        last.append(entry)
        count += 1
    if not printer.json and count > len(last):
        printer.progress(f"({count - len(last)} earlier lines are left out; --lines {count} shows them)")
    show(last, printer)
    if printer.json:
        return None
    return Report("logs", settings.vendors, analysis.findings(), {**analysis.data(), "shown": len(last)})


def until_after(seconds: float | None) -> Callable[[], bool]:
    """A question that is true once so many seconds have passed; never, without a number."""
    if seconds is None:
        return lambda: False
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
