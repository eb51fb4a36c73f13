"""What came of a task on each host, and what that means for all of them together. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ops.errors import OpsError
from ops.findings import SCHEMA, VENDORS, Finding, fail, skip, unknown

State = Literal[
    "ok", "failed", "unknown", "refused", "no-release", "unreachable", "lost", "interrupted", "skipped"
]
INTERRUPTED = 130
UNTOUCHED = ("refused", "no-release", "unreachable", "skipped")


class Lost(OpsError):
    """The link broke while a host was at work: what it did last is not known."""

    exit_code = 4


@dataclass(frozen=True)
class HostResult:
    """One host's answer: its state, the task's exit code and report there, and why, where it is not ok.

    `refused`: its host key or our login was not accepted. `lost`: connected, then cut off. `skipped`: never
    begun. `last_lines` is the end of what the task wrote, where there is no report.
    """

    name: str
    state: State
    exit_code: int | None = None
    seconds: float = 0.0
    report: Mapping[str, Any] | None = None
    reason: str = ""
    fix: str = ""
    last_lines: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"state": self.state, "exit_code": self.exit_code, "report": self.report}
        row["seconds"] = round(self.seconds, 3)
        return row | (
            {"reason": self.reason, "last_lines": list(self.last_lines)} if self.state != "ok" else {}
        )


def ended(name: str, code: int, seconds: float) -> HostResult:
    """A task that ended by itself: 0 ok, 4 something could not be asked, everything else failed."""
    states: dict[int, State] = {0: "ok", 4: "unknown", INTERRUPTED: "interrupted"}
    return HostResult(name, states.get(code, "failed"), code, seconds, reason=f"exit {code}" if code else "")


def exit_code(results: Iterable[HostResult]) -> int:
    """Of all hosts: 130 interrupted, 3 failed, refused or without release, 4 unreachable, lost or unknown."""
    states = {result.state for result in results}
    if "interrupted" in states:
        return INTERRUPTED
    if states & {"failed", "refused", "no-release"}:
        return 3
    return 4 if states & {"unreachable", "lost", "unknown"} else 0


def vendors(results: Iterable[HostResult]) -> dict[str, str]:
    """Live where any host is live, so that nobody mistakes it; error where nobody said."""
    said = [dict(result.report.get("vendors") or {}) for result in results if result.report is not None]
    told: dict[str, str] = {}
    for name in VENDORS:
        modes = {one.get(name) for one in said}
        told[name] = next((mode for mode in ("live", "error", "simulated") if mode in modes), "error")
    return told


def findings(results: Sequence[HostResult], retry: str) -> tuple[Finding, ...]:
    """One finding a host; where not all is well, the command to try again."""
    return tuple(_finding(result, retry) for result in results)


def data(results: Sequence[HostResult], retry: str) -> dict[str, Any]:
    """The hosts in full, and their names by what came of them."""
    groups = {
        "succeeded": [one.name for one in results if one.state == "ok"],
        "untouched": [one.name for one in results if one.state in UNTOUCHED],
    }
    settled = {name for names in groups.values() for name in names}
    groups["failed"] = [one.name for one in results if one.name not in settled]
    again = {"retry": retry} if any(one.state != "ok" for one in results) else {}
    return {"hosts": {one.name: one.to_dict() for one in results}, **groups, **again}


def retry_command(results: Iterable[HostResult], rest: Iterable[Sequence[str]]) -> str:
    """What to type once the fault is mended: the hosts that did not succeed, this task and the next."""
    names = ",".join(one.name for one in results if one.state != "ok")
    return shlex.join(["inv", "-H", names, *(word for words in rest for word in words)])


def read_report(text: bytes, task: str) -> Mapping[str, Any] | None:
    """The one JSON document of a task, believed only where it is one: ours, of this task, a mapping."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or (document.get("schema"), document.get("task")) != (SCHEMA, task):
        return None
    shaped = isinstance(document.get("findings"), list) and isinstance(document.get("vendors"), dict)
    return document if shaped else None


def _finding(result: HostResult, retry: str) -> Finding:
    id = f"hosts.{result.name}"
    evidence: dict[str, Any] = {"state": result.state, "exit_code": result.exit_code}
    if result.last_lines:
        evidence["last_lines"] = list(result.last_lines)
    fix = f"{result.fix or 'see its output'}; then {retry}"
    if result.state == "ok":
        return Finding(id, "ok", f"{result.name}: ok in {result.seconds:.1f} s.", evidence)
    told = f"{result.name}: {result.state}" + (f", {result.reason}" if result.reason else "")
    told = told.rstrip(".") + "."
    if result.state == "skipped":
        return skip(id, told, **evidence)
    make = unknown if result.state in ("unreachable", "lost", "unknown") else fail
    return make(id, told, fix=fix, **evidence)


def with_host(line: str, host: str) -> str | None:
    """A JSON line with the host's name in front; None where it is no JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return json.dumps({**record, "host": host}) if isinstance(record, dict) else None
