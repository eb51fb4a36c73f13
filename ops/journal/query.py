"""Query: which entries a reader asks for, and how people write it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ops.errors import OpsError
from ops.journal.entry import LEVELS, Entry, said

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?")


@dataclass(frozen=True)
class Query:
    """Entries of at least `level`, of any of `services`, of one call (its SID or the beginning of it),
    from `since` up to `until`, whose shown text has a match of `grep`. What is left out does not filter."""

    level: str = "DEBUG"
    services: tuple[str, ...] = ()
    call: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    grep: re.Pattern[str] | None = None

    def admits(self, entry: Entry) -> bool:
        return (
            LEVELS[entry.level] >= LEVELS[self.level]
            and (not self.services or entry.service in self.services)
            and (self.since is None or entry.ts >= self.since)
            and (self.until is None or entry.ts <= self.until)
            and (self.call is None or str(entry.fields.get("call_sid", "")).startswith(self.call))
            and (self.grep is None or self.grep.search(_shown(entry)) is not None)
        )


def _shown(entry: Entry) -> str:
    unseen = " ".join(str(entry.fields.get(name, "")) for name in ("call_sid", "stream_sid", "exc_stack"))
    return f"{entry.level} {entry.service} {said(entry)} {unseen}"


def query(
    *,
    now: datetime,
    run: datetime | None = None,
    level: str | None = None,
    service: str | None = None,
    call: str | None = None,
    since: str | None = None,
    until: str | None = None,
    grep: str | None = None,
) -> Query:
    """A Query from a command line's words; OpsError says what was expected.

    `service` is a comma list; `since`, `until` are "90s" "5m" "1h" "2d" ago, "14:05" or an ISO time
    (UTC unless it says otherwise), or "run": since `run`, when the running stack was started.
    """
    name = (level or "DEBUG").upper()
    name = {"WARN": "WARNING"}.get(name, name)
    if name not in LEVELS:
        raise OpsError(f"Expected a level, got {level!r}.", fix="use one of " + ", ".join(LEVELS))
    if call is not None and not re.fullmatch(r"CA[0-9a-f]{0,32}", call):
        raise OpsError(
            f"Expected a call SID or its beginning, got {call!r}.",
            fix="use CA and up to 32 hexadecimal digits; `inv logs` shows the calls",
        )
    try:
        pattern = re.compile(grep, re.IGNORECASE if grep.islower() else 0) if grep else None
    except re.error as problem:
        raise OpsError(
            f"Expected a regular expression, got {grep!r}: {problem}.", fix="write \\ before ( [ * + ?"
        ) from None
    services = tuple(part.strip() for part in (service or "").split(",") if part.strip())
    return Query(name, services, call, _moment(since, now, run), _moment(until, now, run), pattern)


def _moment(text: str | None, now: datetime, run: datetime | None) -> datetime | None:
    if text is None:
        return None
    if text == "run":
        if run is None:
            raise OpsError("No stack runs, so there is no run to start from.", fix="inv start, or --since 1h")
        return run
    try:
        if match := _AGO.fullmatch(text):
            return now - timedelta(seconds=float(match[1]) * _UNITS[match[2]])
        if _CLOCK.fullmatch(text):
            parts = [int(part) for part in text.split(":")]
            today = now.astimezone(UTC).replace(microsecond=0)
            at = today.replace(hour=parts[0], minute=parts[1], second=parts[2] if len(parts) > 2 else 0)
            return at if at <= now else at - timedelta(days=1)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise OpsError(
            f"Expected a time, got {text!r}.",
            fix='use "5m", "1h", "14:05", "run" or an ISO time like 2026-11-23T06:20:00Z',
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
