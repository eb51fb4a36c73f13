"""One call's entries as a story: seconds since it began, who tells what, and where it was quiet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from ops.journal.entry import Entry, said
from ops.journal.hops import Hop

QUIET = 2.0  # seconds without a record that are worth a line of their own


def story(entries: Iterable[Entry]) -> Iterator[str]:
    """A line for each entry, in order of time, and one for each time the caller heard nothing for long."""
    began: datetime | None = None
    before: datetime | None = None
    unanswered: datetime | None = None
    for entry in entries:
        began, before = began or entry.ts, before or entry.ts
        quiet = (entry.ts - before).total_seconds()
        if unanswered and entry.event in (Hop.AGENT_SPEAKS, Hop.STOPPED, Hop.ENDED):
            waited = (entry.ts - unanswered).total_seconds()
            if waited > QUIET:
                yield _aside(f"the caller heard nothing for {waited:.1f} s")
        elif quiet > QUIET:
            yield _aside(f"{quiet:.1f} s without a record")
        if entry.event == Hop.CALLER_SILENT:
            unanswered = entry.ts
        elif entry.event in (Hop.AGENT_SPEAKS, Hop.CALLER_SPEAKS, Hop.STOPPED, Hop.ENDED):
            unanswered = None
        before = entry.ts
        seconds = (entry.ts - began).total_seconds()
        yield f"{seconds:>9.3f}  {entry.level:<7} {entry.service:<16} {_told(entry)}"


def _told(entry: Entry) -> str:
    """What the record says, without the call that all of them are of."""
    ids = ("call_sid", "stream_sid")
    return said(replace(entry, fields={key: one for key, one in entry.fields.items() if key not in ids}))


def _aside(text: str) -> str:
    return f"{'':>9}  · {text}"
