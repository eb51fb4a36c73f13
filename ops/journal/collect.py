"""Many files → one stream of entries, ordered by time. Reads only; memory is bounded.

Sources below `logs`: each service's records (`NAME.jsonl`, rotated `NAME-STAMP.jsonl`, packed
`….jsonl.gz`), and the raw output of services (`NAME.out`). A service that does not write the journal
itself has its output relayed into NAME.jsonl, line by line, with the logger `stdout`; so NAME.out is
read only if the first record of NAME's newest journal file that has any is not such a one.
"""

from __future__ import annotations

import gzip
import heapq
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

from ops.config import Settings
from ops.findings import Finding
from ops.journal import parse
from ops.journal.analyse import analyse
from ops.journal.entry import LEVELS, MAX_LINE, Entry
from ops.journal.query import Query
from ops.journal.redact import Redactor
from ops.journal.sinks import redacted

_FILE = re.compile(r"(?P<service>.+?)(?P<stamp>-\d{8}T\d{6}[\w.-]*)?\.(?P<kind>jsonl|out)(?P<packed>\.gz)?")
SLACK = timedelta(seconds=2)  # how far out of order a file's records may be
WINDOW = 512  # records of one file that are put in order before they are merged
LONGEST = 1 << 20  # bytes of one line that are read; the rest of it is skipped


@dataclass(frozen=True)
class Source:
    """One file of one service; `raw` is output that no sink has redacted."""

    path: Path
    service: str
    raw: bool = False
    packed: bool = False
    closed: bool = False  # rotated: nobody writes to it any more


def read(settings: Settings, query: Query) -> Iterator[Entry]:
    """All entries that `query` admits, in order of time (to within WINDOW records of one file)."""
    return merged(histories(sources(settings.logs, query), query, Redactor(settings.secrets)), query)


def summary(settings: Settings, query: Query) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """What the entries that `query` admits say together: findings for people, data for programs."""
    analysis = analyse(read(settings, query))
    return analysis.findings(), analysis.data()


def histories(
    found: Iterable[Source],
    query: Query,
    redactor: Redactor,
    stops: Mapping[Path, int] = MappingProxyType({}),
) -> list[Iterator[Entry]]:
    """One stream for each service's records and one for its output; a service's archives come first,
    one after the other, so that few files are open at a time. `stops` are the bytes to read up to."""
    return [
        chain.from_iterable(
            stream(source, query, redactor, stop=stops.get(source.path)) for source in list(group)
        )
        for _, group in groupby(found, key=lambda source: (source.service, source.raw))
    ]


def merged(streams: Iterable[Iterator[Entry]], query: Query) -> Iterator[Entry]:
    """One ordered stream of what `query` admits, from streams that are nearly ordered."""
    ordered = [_nearly_sorted(one) for one in streams]
    return (entry for entry in heapq.merge(*ordered, key=lambda entry: entry.ts) if query.admits(entry))


def sources(logs: Path, query: Query = Query()) -> list[Source]:  # noqa: B008 (frozen)
    """The files to read for a query. A call asked for by its full SID has a file of its own."""
    if query.call and len(query.call) == 34:
        own = logs / "calls" / query.call / "journal.jsonl"
        if own.is_file():
            return [Source(own, "")]
    found = []
    for path in (*logs.glob("*"), *(logs / "archive").glob("*")):
        match = _FILE.fullmatch(path.name)
        if match and path.is_file() and (not query.services or match["service"] in query.services):
            packed, closed = match["packed"] is not None, match["stamp"] is not None
            found.append(Source(path, match["service"], match["kind"] == "out", packed, closed or packed))
    relayed = {
        name for name in {source.service for source in found if source.raw} if _is_relayed(found, name)
    }
    return [
        source
        for source in found
        if not (source.raw and source.service in relayed) and _recent(source, query)
    ]


def stream(source: Source, query: Query, redactor: Redactor, *, stop: int | None = None) -> Iterator[Entry]:
    """One file's entries that may matter to `query`, up to the byte `stop`."""
    try:
        with _opened(source) as file:
            changed = datetime.fromtimestamp(source.path.stat().st_mtime, UTC)
            if query.since and not source.packed:
                file.seek(offset_of(file, query.since - SLACK, source.path.stat().st_size))
            lines = _wanted(_lines(file, stop), query, source)
            for entry in parse.entries(lines, source.service, changed):
                yield redacted(entry, redactor)[0] if source.raw else entry
    except FileNotFoundError:
        return
    except (OSError, EOFError, zlib.error) as problem:  # an archive that was cut off: the rest is told
        text = f"{source.path.name} cannot be read to its end: {problem}"
        yield Entry(datetime.now(UTC), "WARNING", source.service, "journal.unreadable", text)


def offset_of(file: IO[bytes], ts: datetime, size: int) -> int:
    """The start of a line at or before the first line of a nearly ordered file that is not before `ts`.

    Bisects on byte offsets: some twenty small reads, whatever the size.
    """
    low, high = 0, size
    while high - low > 1 << 16:
        middle = (low + high) // 2
        found = _time_after(file, middle, high)
        if found is None or found >= ts:
            high = middle
        else:
            low = middle
    if low == 0:
        return 0
    file.seek(low)
    return low + len(file.readline(LONGEST))


def run_started(settings: Settings) -> datetime | None:
    """When the running stack was started, by its state file; None when there is none."""
    try:
        state = json.loads((settings.run_dir / "stack.json").read_text("utf-8"))
        found = datetime.fromisoformat(state["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _time_after(file: IO[bytes], offset: int, end: int) -> datetime | None:
    """The first time found in a line that begins after `offset`."""
    file.seek(offset)
    file.readline(LONGEST)
    while file.tell() < end and (line := file.readline(LONGEST)):
        if ts := parse.when(line):
            return ts
    return None


def _opened(source: Source) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(source.path, "rb") if source.packed else source.path.open("rb"))


def _lines(file: IO[bytes], stop: int | None) -> Iterator[bytes]:
    while stop is None or file.tell() < stop:
        line = file.readline(MAX_LINE * 2)
        if not line:
            return
        yield line
        while not line.endswith(b"\n") and len(line) == MAX_LINE * 2:
            line = file.readline(MAX_LINE * 2)


def _wanted(lines: Iterable[bytes], query: Query, source: Source) -> Iterator[bytes]:
    """Lines without those that are seen at a glance not to matter, so that they are never parsed."""
    if source.raw:
        yield from lines
        return
    lowest = LEVELS[query.level]
    since = parse.bare(query.since) if query.since else b""
    until = parse.bare(query.until) if query.until else b"~"
    call = query.call.encode() if query.call else b""
    for line in lines:
        known = None if parse.RELAYED in line[:200] else parse.head(line)
        if known and (
            LEVELS.get(known[1], 99) < lowest or not since <= known[0] <= until or call not in line
        ):
            continue
        yield line


def _nearly_sorted(entries: Iterator[Entry]) -> Iterator[Entry]:
    heap: list[tuple[datetime, int, Entry]] = []
    for number, entry in enumerate(entries):
        heapq.heappush(heap, (entry.ts, number, entry))
        if len(heap) > WINDOW:
            yield heapq.heappop(heap)[2]
    while heap:
        yield heapq.heappop(heap)[2]


def _recent(source: Source, query: Query) -> bool:
    """Whether a file was written to since the time that is asked for."""
    try:
        changed = source.path.stat().st_mtime
    except OSError:
        return False
    return query.since is None or changed >= (query.since - SLACK).timestamp()


def _is_relayed(found: list[Source], service: str) -> bool:
    """Whether this service's output is in its journal files already (see the module's docstring)."""
    own = [source for source in found if source.service == service and not source.raw]
    for source in sorted(own, key=lambda one: (one.path.name != f"{service}.jsonl", one.path.name)):
        try:
            with _opened(source) as file:
                for line in _lines(file, 1 << 16):
                    if parse.head(line):
                        return parse.RELAYED in line[:200]
        except (OSError, EOFError, zlib.error):
            continue
    return False
