"""Entries as other programs read them: JSON lines, CSV, OpenTelemetry (OTLP/JSON lines).

Everything is scanned for secrets once more, on its way out; an export that would still hold one is
refused, and leaves no file.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.journal.entry import HEAD, Entry, plain
from ops.journal.redact import Redactor

FORMATS = ("json", "csv", "otlp")
SEVERITY = {"DEBUG": 5, "INFO": 9, "SUCCESS": 10, "WARNING": 13, "ERROR": 17}  # OTel SeverityNumber
_ATTRIBUTES = {
    "call_sid": "twilio.call_sid",
    "stream_sid": "twilio.stream_sid",
    "exc_type": "exception.type",
    "exc_msg": "exception.message",
    "exc_stack": "exception.stacktrace",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lines(entries: Iterable[Entry], format: str, secrets: Iterable[str] = ()) -> Iterator[str]:
    """The entries in `format`, a line (with its newline) each; OpsError before one that holds a secret."""
    if format not in FORMATS:
        raise OpsError(f"Expected a format, got {format!r}.", fix="use one of " + ", ".join(FORMATS))
    redactor = Redactor(secrets)
    if format == "csv":
        yield _csv_line([*HEAD, "call_sid", "fields"])
    for entry in entries:
        record = entry.to_dict()
        if redactor.clean_record(record) != record:
            raise OpsError(
                f"A record of {entry.service} ({record['ts']}) holds a secret; nothing is exported.",
                fix="remove that record from logs/, replace the credential, and export again",
            )
        if format == "json":
            yield _dumps(record)
        elif format == "csv":
            rest = {key: value for key, value in entry.fields.items() if key != "call_sid"}
            head = [record[name] for name in HEAD]
            yield _csv_line([*head, entry.fields.get("call_sid", ""), _dumps(rest).strip() if rest else ""])
        else:
            yield _dumps(otlp(entry))


def save(path: Path, entries: Iterable[Entry], format: str, secrets: Iterable[str] = ()) -> int:
    """Export to a file (0600) that appears when it is complete; the number of lines."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            for count, line in enumerate(lines(entries, format, secrets), 1):  # noqa: B007
                file.write(line)
        beside.rename(path)
    except OSError as problem:
        raise OpsError(
            f"{path} cannot be written: {problem.strerror or problem}.",
            fix="name a place that can be written",
        ) from None
    finally:
        beside.unlink(missing_ok=True)
    return count


def otlp(entry: Entry) -> dict[str, Any]:
    """One record as OTLP/JSON `resourceLogs` (OpenTelemetry protocol, logs data model)."""
    since = entry.ts - _EPOCH
    nanoseconds = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    record = {
        "timeUnixNano": str(nanoseconds),
        "severityNumber": SEVERITY[entry.level],
        "severityText": entry.level,
        "eventName": entry.event,
        "body": {"stringValue": entry.msg},
        "attributes": [
            {"key": _ATTRIBUTES.get(key, key), "value": _any_value(value)}
            for key, value in entry.fields.items()
        ],
    }
    resource = [
        {"key": "service.name", "value": {"stringValue": entry.service}},
        {"key": "process.pid", "value": {"intValue": str(entry.pid)}},
    ]
    scope = {"scope": {"name": entry.logger}, "logRecords": [record]}
    return {"resourceLogs": [{"resource": {"attributes": resource}, "scopeLogs": [scope]}]}


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)}


def _dumps(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n"


def _csv_line(row: list[Any]) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula gets a quote in front."""
    out = io.StringIO()
    csv.writer(out).writerow(
        [f"'{one}" if str(one)[:1] in ("=", "+", "-", "@", "\t") else one for one in row]
    )
    return out.getvalue()
