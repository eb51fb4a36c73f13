"""Entry: one journal record; a record as a JSON line, and as a line for people. Pure.

    {"ts":"2026-11-23T06:20:00.123456Z","level":"INFO","service":"websocket-server","pid":1,
     "logger":"ops.apps.bridge","event":"call.started","msg":"…", …fields}

The head's order is fixed, so that a reader may look at a line's first bytes alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LEVELS = {"DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40}
HEAD = ("ts", "level", "service", "pid", "logger", "event", "msg")
MAX_LINE = 64 * 1024  # bytes of one record with its newline
_CALL_SID = re.compile(r"CA[0-9a-f]{32}")
_COLOURS = {"DEBUG": "36", "INFO": "", "SUCCESS": "32", "WARNING": "33", "ERROR": "31"}  # SGR, as colorlog

# Made once: `json.dumps` makes an encoder for each text.
_AS_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_AS_WORD = json.JSONEncoder(ensure_ascii=False, default=str).encode

# What a terminal would obey or hide: C0 and C1 controls, zero-width and bidirectional marks, line
# and paragraph separators, the byte order mark, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record: when (aware, UTC), how bad, who wrote it, what happened, and its fields."""

    ts: datetime
    level: str
    service: str
    event: str = "log"
    msg: str = ""
    pid: int = 0
    logger: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def call_sid(self) -> str | None:
        """The call this record belongs to, if it names a well-formed one."""
        sid = self.fields.get("call_sid")
        return sid if isinstance(sid, str) and _CALL_SID.fullmatch(sid) else None

    def to_dict(self) -> dict[str, Any]:
        """The record as it stands in the file, head first; a field never replaces the head."""
        head = {
            "ts": stamp(self.ts),
            "level": self.level,
            "service": self.service,
            "pid": self.pid,
            "logger": self.logger,
            "event": self.event,
            "msg": self.msg,
        }
        return head | {f"{key}_" if key in head else key: value for key, value in self.fields.items()}


def stamp(ts: datetime) -> str:
    """A time as the journal writes it: UTC, six decimals, `Z`."""
    return ts.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def level_name(number: int) -> str:
    """The journal's level for a `logging` number: the nearest one that is not above it."""
    return max((n, name) for name, n in LEVELS.items() if n <= max(number, 10))[1]


def visible(text: str) -> str:
    r"""`text` with everything a terminal would obey or hide written out, as `\x1b` or `\u202e`."""
    return _UNSEEN.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(match[0])
    return short.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def plain(value: Any, depth: int = 6) -> Any:
    """`value` as JSON can hold it: numbers, texts, lists and dicts; anything else as its `str`."""
    if value is None or isinstance(value, (bool, int)):
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping) and depth:
        return {str(key): plain(one, depth - 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth:
        return [plain(one, depth - 1) for one in value]
    return str(value)


def json_line(record: Mapping[str, Any]) -> str:
    """A record of plain values as one JSON text without a newline, at most MAX_LINE bytes with it.

    A longer one is cut, its longest texts first, and says so in `cut`: the bytes it had.
    """
    line = json_text(record)
    size = len(line.encode()) + 1 if len(line) * 4 >= MAX_LINE else 0
    for limit in (16_384, 4_096, 1_024, 256):
        if size < MAX_LINE:
            return line
        shorter = {key: _shortened(value, limit) for key, value in record.items()}
        line = json_text({**shorter, "cut": size})
        if len(line.encode()) < MAX_LINE:
            return line
    return json_text({**{key: _shortened(record.get(key, ""), 256) for key in HEAD}, "cut": size})


def json_text(value: Any) -> str:
    """A plain value as JSON without any character that a terminal would obey."""
    text = _AS_JSON(value)
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _shortened(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + "…"
    if isinstance(value, (dict, list)):
        text = json.dumps(value, ensure_ascii=False)
        return value if len(text) <= limit else text[:limit] + "…"
    return value


def human(entry: Entry, colour: bool = False, *, stack: bool = False) -> str:
    """One record as one line for people, without a newline: time (UTC), level, service, event, text, fields.

    `colour` adds terminal colours; `stack` adds an exception's traceback as indented lines.
    """
    time = entry.ts.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds") + "Z"
    line = visible(f"{time} {entry.level:<7} {entry.service:<16} {said(entry)}")
    if len(line) * 4 >= MAX_LINE and len(line.encode()) >= MAX_LINE:
        line = line[: MAX_LINE // 4 - 1] + "…"
    if colour and (code := _COLOURS.get(entry.level)):
        line = line.replace(f" {entry.level:<7} ", f" \x1b[{code}m{entry.level:<7}\x1b[0m ", 1)
    if stack and isinstance(text := entry.fields.get("exc_stack"), str):
        line += "".join(f"\n    | {visible(row)}" for row in text.splitlines())
    return line


def said(entry: Entry) -> str:
    """What a record says beside its time, level and service: event, text, fields, its call."""
    hidden = ("call_sid", "stream_sid", "exc_stack") if "call_sid" in entry.fields else ("exc_stack",)
    shown = {key: value for key, value in entry.fields.items() if key not in hidden}
    fields = " ".join(f"{key}={_word(value)}" for key, value in shown.items())
    call = f"[{str(entry.fields['call_sid'])[:10]}]" if "call_sid" in entry.fields else ""
    event = "" if entry.event == "log" else entry.event
    return visible(" ".join(part for part in (event, entry.msg, fields, call) if part))


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else _AS_WORD(value)
    return _AS_WORD(text) if not text or any(c in text for c in ' ="') else text
