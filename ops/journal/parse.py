"""Lines of any program → entries: our own records, foreign JSON, logfmt, plain text, tracebacks. Pure.

A time counts only in a line's first 48 bytes, and is UTC unless it says otherwise; a line without one
has the time of the line before it. Lines of a traceback belong to the record above them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ops.journal.entry import HEAD, LEVELS, MAX_LINE, Entry, stamp

_TIMES = ("ts", "time", "timestamp", "@timestamp", "t", "date", "asctime")
_LEVELS = ("level", "lvl", "severity", "log.level", "levelname", "loglevel")
_TEXTS = ("msg", "message", "text", "body")
_NAMES = ("logger", "name", "module", "obj")
_LIKE = {
    "trace": "DEBUG", "verbose": "DEBUG", "debug": "DEBUG", "dbug": "DEBUG", "10": "DEBUG", "20": "DEBUG",
    "info": "INFO", "notice": "INFO", "log": "INFO", "30": "INFO",
    "success": "SUCCESS", "ok": "SUCCESS",
    "warn": "WARNING", "warning": "WARNING", "40": "WARNING",
    "error": "ERROR", "eror": "ERROR", "err": "ERROR", "critical": "ERROR", "crit": "ERROR",
    "fatal": "ERROR", "panic": "ERROR", "50": "ERROR", "60": "ERROR",
}  # fmt: skip
_ISO = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORD = re.compile(
    r"\b(?P<upper>TRACE|DEBUG|INFO|NOTICE|SUCCESS|WARN|WARNING|ERR|ERROR|CRITICAL|FATAL|PANIC)\b"
    r"|[\[<(](?P<boxed>(?i:trace|debug|info|notice|success|warn|warning|error|critical|fatal))[\])>]"
    r"|^(?P<first>(?i:trace|debug|info|notice|success|warn|warning|error|critical|fatal)):"
)
_PAIR = re.compile(r'([A-Za-z_@][\w.@-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$)')
_ERROR_LINE = re.compile(
    r"(?:Uncaught )?(?P<type>(?:[A-Za-z_][\w.]*)?(?:Error|Exception|Interrupt|Exit))(?:: (?P<said>.*))?$"
)
_TRACE_START = re.compile(
    r"Traceback \(most recent call last\):|Caused by: |During handling of |The above exc"
)
_SID = re.compile(r"(?<![A-Za-z0-9])CA[0-9a-f]{32}(?![A-Za-z0-9])")
_STACK_ROWS = 200
RELAYED = b'"logger":"stdout"'  # the mark of `relayed`


class Grouper:
    """Turns one program's lines into records, each given when the first line that is not its own comes.

    `start` is the time of lines before any that names one.
    """

    def __init__(self, service: str, start: datetime) -> None:
        self._service, self._start = service, start
        self._above: Entry | None = None
        self._rows: list[str] = []

    def feed(self, line: bytes) -> Entry | None:
        """Take one line; the record that is complete because of it, if there is one."""
        told = entry(line, self._service, self._start) if RELAYED in line[:200] else None
        text = told.msg if told else _text(line)
        if _continues(text, self._above, self._rows):
            again = text.startswith("Traceback (") and self._rows and _ERROR_LINE.match(self._rows[-1])
            done = self.flush() if again else None
            self._above = self._above or _trace(self._service, told.ts if told else self._start)
            if len(self._rows) < _STACK_ROWS:
                self._rows.append(text)
            return done
        if not text.strip():
            return None
        done = self.flush()
        self._above = told or entry(line, self._service, self._start)
        return done

    def flush(self) -> Entry | None:
        """The record that waits for lines of its own, as it is."""
        above, rows = self._above, self._rows
        self._above, self._rows = None, []
        if above is None:
            return None
        self._start = above.ts
        return _with_stack(above, rows)


def entries(lines: Iterable[bytes], service: str, start: datetime) -> Iterator[Entry]:
    """The records of one program's output, in its order."""
    grouper = Grouper(service, start)
    for line in lines:
        if done := grouper.feed(line):
            yield done
    if done := grouper.flush():
        yield done


def entry(line: bytes, service: str, start: datetime) -> Entry:
    """One line as an entry of its own; `start` is its time if it names none."""
    text = _text(line)
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return _own(found, start) if found.keys() >= set(HEAD) else _of_json(found, service, start)
    pairs = _pairs(text)
    if pairs:
        return _of_json(pairs, service, start)
    return _of_text(text, line, service, start)


def relayed(line: bytes, service: str, now: datetime, pid: int = 0) -> Entry:
    """One line of a program that does not write the journal, as its supervisor writes it there: level,
    text and fields from JSON, logfmt or plain text, the time of the relay, the logger `stdout`."""
    return replace(entry(line, service, now), ts=now, service=service, pid=pid, logger="stdout")


def head(line: bytes) -> tuple[bytes, str] | None:
    """The time and the level of one of our own records by its first bytes alone, or None."""
    if line[:7] == b'{"ts":"' and line[33:45] == b'Z","level":"':
        return line[7:33], line[45 : line.find(b'"', 45)].decode("ascii", "replace")
    return None


def bare(ts: datetime) -> bytes:
    """A time as it stands in the head of our own records, to be compared with `head`'s."""
    return stamp(ts)[:-1].encode()


def when(line: bytes) -> datetime | None:
    """The time in a line's first 48 bytes, if there is one."""
    match = _ISO.search(line[:48])
    return _time(match[0].decode()) if match else None


def _text(line: bytes) -> str:
    cut = line[:MAX_LINE].strip(b"\x00\r\n").decode("utf-8", "backslashreplace")
    text = _ANSI.sub("", cut).rstrip() if "\x1b" in cut else cut.rstrip()
    return text + "…" if len(line) > MAX_LINE else text


def _own(found: dict[str, Any], start: datetime) -> Entry:
    head = {name: found.pop(name) for name in HEAD}
    return Entry(
        ts=_time(head["ts"]) or start,
        level=_level(head["level"]),
        service=str(head["service"]),
        event=str(head["event"]),
        msg=str(head["msg"]),
        pid=head["pid"] if isinstance(head["pid"], int) else 0,
        logger=str(head["logger"]),
        fields=found,
    )


def _of_json(found: Mapping[str, Any], service: str, start: datetime) -> Entry:
    rest = dict(found)

    def taken(names: tuple[str, ...]) -> Any:
        return next((rest.pop(name) for name in names if rest.get(name) not in (None, "")), None)

    ts, level, text, logger = taken(_TIMES), taken(_LEVELS), taken(_TEXTS), taken(_NAMES)
    own, pid, event = rest.pop("service", None), rest.pop("pid", 0), rest.pop("event", None)
    for name in ("ts", "level", "msg", "logger"):
        rest.pop(name, None)  # there, but empty
    return Entry(
        ts=_time(ts) or start,
        level=_level(level),
        service=own if isinstance(own, str) and own else service,
        event=event if isinstance(event, str) and event else "log",
        msg=text if isinstance(text, str) else "" if text is None else json.dumps(text, ensure_ascii=False),
        pid=pid if isinstance(pid, int) else 0,
        logger=logger if isinstance(logger, str) else "",
        fields=_with_call(rest, text),
    )


def _pairs(text: str) -> dict[str, str] | None:
    """A line that is logfmt from its first byte to its last, with a level or a text among its pairs."""
    pairs: dict[str, str] = {}
    at = 0
    while match := _PAIR.match(text, at):
        value = match[2]
        try:
            pairs[match[1]] = json.loads(value) if value.startswith('"') else value
        except ValueError:
            pairs[match[1]] = value[1:-1]
        at = match.end()
    known = set(pairs) & {*_LEVELS, *_TEXTS}
    return pairs if at == len(text) and known and len(pairs) > 1 else None


def _of_text(text: str, line: bytes, service: str, start: datetime) -> Entry:
    stamp = _ISO.search(line[:48])
    ts = _time(stamp[0].decode()) if stamp else None
    said = text
    if ts and stamp and line.lstrip(b"[").startswith(stamp[0]):
        said = text[text.index(stamp[0].decode()) + len(stamp[0]) :].lstrip("] ,:-")
    word = _WORD.search(said[:96])
    level = _LIKE[(word["upper"] or word["boxed"] or word["first"]).lower()] if word else "INFO"
    fields: dict[str, Any] = {}
    if error := _ERROR_LINE.match(said):
        level, fields = "ERROR", {"exc_type": error["type"], "exc_msg": error["said"] or ""}
    return Entry(ts or start, level, service, msg=said, fields=_with_call(fields, text))


def _with_call(fields: dict[str, Any], text: Any) -> dict[str, Any]:
    """`fields`, with the call that the text names, if it names exactly one."""
    if "call_sid" not in fields and isinstance(text, str) and "CA" in text:
        named = set(_SID.findall(text))
        if len(named) == 1:
            fields["call_sid"] = named.pop()
    return fields


def _time(value: Any) -> datetime | None:
    """ISO text, or seconds, milliseconds, micro- or nanoseconds since 1970."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            text = (
                value.strip().replace(",", ".", 1).replace(" UTC", "Z").replace(" +", "+").replace(" -", "-")
            )
            text = re.sub(r"(\.\d{6})\d+", r"\1", text)
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if isinstance(value, bool) or value is None:
            return None
        seconds = float(value)
        while seconds > 1e11:
            seconds /= 1000
        return datetime.fromtimestamp(seconds, UTC) if seconds > 1e8 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _level(value: Any) -> str:
    if isinstance(value, str) and value in LEVELS:
        return value
    return _LIKE.get(str(value).lower(), "INFO")


def _continues(text: str, above: Entry | None, rows: list[str]) -> bool:
    """Whether a line belongs to the record above it."""
    if not text:
        return bool(rows)
    if text[0] in " \t}" or _TRACE_START.match(text):
        return text[0] not in " \t}" or above is not None
    # The last line of a traceback: the exception itself, after its frames.
    return bool(rows) and rows[-1][:1] in (" ", "\t") and _ERROR_LINE.match(text) is not None


def _trace(service: str, start: datetime) -> Entry:
    return Entry(start, "ERROR", service, "process.traceback")


def _with_stack(above: Entry, rows: list[str]) -> Entry:
    """A record with the lines below it; a traceback makes it an ERROR unless it said worse than INFO."""
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        return above
    fields = {**above.fields, "exc_stack": "\n".join(rows)}
    last = next((m for row in reversed(rows) if (m := _ERROR_LINE.match(row))), None)
    trace = any(row.startswith("Traceback (") or row.lstrip().startswith("at ") for row in rows)
    if last:
        fields = {"exc_type": last["type"], "exc_msg": last["said"] or ""} | fields
    bad = trace and LEVELS[above.level] < LEVELS["WARNING"]
    text = above.msg or (rows[-1] if trace else "")
    return replace(above, level="ERROR" if bad else above.level, msg=text, fields=fields)
