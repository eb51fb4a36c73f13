"""What the private page shows, read from `logs/`: the stack, calls as they happen, reports, errors.

Reads only. Every look gives all sections as plain values for JSON; nothing secret is among them:
each field is named here, one by one.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.apps.call_log import CallLog
from ops.config import Settings
from ops.findings import VENDORS
from ops.journal.collect import sources
from ops.journal.follow import Tail
from ops.journal.query import Query

CALL_SID = re.compile(r"CA[0-9a-f]{32}")
CALLS, REPORTS, ERRORS = 8, 10, 20  # at most so many are shown
SCAN = 1.0  # seconds between two looks for new files
BACK = 256 * 1024  # bytes of each log that are read at first
BIG = 4 * 1024 * 1024  # bytes of one run file or report that are read at most
_SERVICE = ("name", "state", "pid", "port", "restarts", "since", "url", "reason")


class Overview:
    """Looks again and again at the same folder, reading only what is new."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._calls: dict[str, CallLog] = {}
        self._reports: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._errors = Errors(settings.logs)
        self._names: list[str] = []
        self._next_scan = 0.0

    def look(self, health: Mapping[int, Mapping[str, Any]], now: float) -> dict[str, Any]:
        """All sections; `health` has what each port answered last, `now` is seconds since the epoch."""
        stack = read_stack(self._settings, health)
        if now >= self._next_scan:
            self._next_scan = now + SCAN
            self._names = newest(self._settings.logs / "calls", CALLS + REPORTS)
        live = {
            str(call.get("call_sid"))
            for call in health.get(self._settings.websocket_port, {}).get("calls", ())
        }
        reports = self._read_reports(self._names)
        return {
            "stack": stack,
            "calls": self._read_calls(self._names, live, now),
            "reports": reports,
            "errors": self._errors.look(now),
            "agent": agent(self._settings),
            "steps": steps(self._settings, stack, reports),
        }

    def close(self) -> None:
        for call in self._calls.values():
            call.close()
        self._errors.close()

    def _read_calls(self, names: Iterable[str], live: set[str], now: float) -> list[dict[str, Any]]:
        shown = list(dict.fromkeys([*(sid for sid in sorted(live) if CALL_SID.fullmatch(sid)), *names]))[
            :CALLS
        ]
        for sid in self._calls.keys() - set(shown):
            self._calls.pop(sid).close()
        for sid in shown:
            if sid not in self._calls:
                self._calls[sid] = CallLog(sid, self._settings.logs / "calls" / sid / "journal.jsonl")
            self._calls[sid].look()
        told = [self._calls[sid].to_dict(sid in live, now) for sid in shown if self._calls[sid].began]
        return sorted(told, key=lambda call: (not call["live"], -call["began"]))

    def _read_reports(self, names: Iterable[str]) -> list[dict[str, Any]]:
        found: dict[Path, tuple[int, dict[str, Any]]] = {}
        for sid in names:
            path = self._settings.logs / "calls" / sid / "report.json"
            try:
                changed = path.stat().st_mtime_ns
            except OSError:
                continue
            known = self._reports.get(path)
            found[path] = known if known and known[0] == changed else (changed, _report(sid, path))
        self._reports = found
        return [report for _, report in found.values()][:REPORTS]


class Errors:
    """The last errors of all services' logs."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._tails: dict[Path, Tail] = {}
        self._last: deque[dict[str, Any]] = deque(maxlen=ERRORS)
        self._next_scan = 0.0

    def look(self, now: float) -> list[dict[str, Any]]:
        """Newest first."""
        if now >= self._next_scan:
            self._next_scan = now + SCAN
            self._discover()
        new = [
            entry for tail in self._tails.values() for entry in tail.new(last=False) if entry.level == "ERROR"
        ]
        for entry in sorted(new, key=lambda entry: entry.ts):
            self._last.append(
                {
                    "at": entry.ts.timestamp(),
                    "service": entry.service,
                    "event": entry.event,
                    "text": entry.msg,
                    "call_sid": entry.call_sid,
                }
            )
        return list(reversed(self._last))

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()

    def _discover(self) -> None:
        found = {one.path: one for one in sources(self._logs, Query()) if not one.raw and not one.closed}
        for path in self._tails.keys() - found.keys():
            self._tails.pop(path).close()
        for path, source in found.items():
            if path not in self._tails:
                self._tails[path] = Tail(source)
                self._tails[path].offset = _recent(path)


def newest(folder: Path, most: int) -> list[str]:
    """The SIDs of the calls whose folders changed last, the newest first."""
    try:
        found = [
            (one.stat().st_mtime_ns, one.name) for one in folder.iterdir() if CALL_SID.fullmatch(one.name)
        ]
    except OSError:
        return []
    return [name for _, name in sorted(found, reverse=True)[:most]]


def read_stack(settings: Settings, health: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The running stack by its state file, and what each service's port answers."""
    found = _document(settings.run_dir / "stack.json")
    rows = _rows(found, "services") or [
        {"name": "websocket-server", "port": settings.websocket_port},
        {"name": "webapp", "port": settings.webapp_port},
    ]
    services = [
        {name: row.get(name) for name in _SERVICE} | {"health": _health(row.get("port"), health)}
        for row in rows
    ]
    return {
        "mode": found.get("mode"),
        "started": found.get("started"),
        "public_url": health.get(settings.websocket_port, {}).get("public_url") or found.get("public_url"),
        "vendors": _vendors(found),
        "services": services,
    }


def agent(settings: Settings) -> dict[str, Any]:
    """What the agent is told and how it sounds."""
    return {
        "model": settings.openai_model,
        "voice": settings.openai_voice,
        "instructions": settings.openai_instructions,
    }


def steps(
    settings: Settings, stack: Mapping[str, Any], reports: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The set-up checklist: what is done, and the next thing to do for each that is not."""
    services, vendors = stack["services"], stack["vendors"]
    running = bool(services) and all(one["state"] == "ready" for one in services)
    passed = any(report["verdict"] == "ok" for report in reports)
    url = str(stack["public_url"] or "")
    return [
        {"done": running, "what": "All services are ready", "how": "./inv start"},
        {"done": passed, "what": "A test call has passed", "how": "./inv call"},
        {
            "done": vendors["twilio"] == "live",
            "what": "Twilio is live",
            "how": "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER in .env",
        },
        {"done": vendors["openai"] == "live", "what": "OpenAI is live", "how": "OPENAI_API_KEY in .env"},
        {
            "done": url.startswith("https://"),
            "what": "The public URL can be reached from outside",
            "how": "NGROK_AUTH_TOKEN or PUBLIC_URL in .env",
        },
    ]


def _health(port: object, health: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    known = health.get(port, {}) if isinstance(port, int) else {}
    return {name: known.get(name) for name in ("answers", "status", "live_calls")}


def _report(sid: str, path: Path) -> dict[str, Any]:
    found = _document(path)
    turns, findings = _rows(found, "turns"), _rows(found, "findings")
    latencies = [turn["latency_ms"] for turn in turns if isinstance(turn.get("latency_ms"), (int, float))]
    return {
        "call_sid": sid,
        "verdict": str(found.get("verdict", "unreadable")),
        "scenario": str(found.get("scenario", "")),
        "started": str(found.get("started", "")),
        "seconds": found.get("seconds"),
        "turns": len(turns),
        "slowest_ms": max(latencies, default=None),
        "failed": [str(one.get("summary", "")) for one in findings if one.get("status") == "fail"][:3],
        "vendors": _vendors(found),
        "files": [name for name in ("report.html", "call.wav") if (path.parent / name).is_file()],
    }


def _rows(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = found.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _vendors(found: Mapping[str, Any]) -> dict[str, str]:
    known = found.get("vendors")
    return {
        name: str(known.get(name, "unknown") if isinstance(known, dict) else "unknown") for name in VENDORS
    }


def _document(path: Path) -> dict[str, Any]:
    """A JSON object of a file; empty when there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(BIG))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _recent(path: Path) -> int:
    """The start of the first whole line among a file's last bytes."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) <= BACK:
                return 0
            file.seek(-BACK, 2)
            file.readline()
            return file.tell()
    except OSError:
        return 0


def now() -> float:
    return datetime.now(UTC).timestamp()
