"""`inv debug`: the state as it is, the connections tried, then every log line as it is written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ops import checks
from ops.commands.inspection import inspect, rows
from ops.commands.logs import show, until_after
from ops.commands.progress import teller
from ops.config import Settings
from ops.findings import Report
from ops.journal import follow
from ops.journal.level import override_level
from ops.journal.query import query
from ops.processes import start, status, stop
from ops.report import Printer
from ops.services import table

CONNECTIONS = ("twilio", "openai", "ngrok", "websocket")


def debug(
    settings: Settings, printer: Printer, *, seconds: float | None, service: str | None
) -> Report | None:
    """Inspect, try the connections, follow. A running stack is left as it is, but for its log level,
    which goes back at the end; a stack that this started, this stops."""

    tell = teller(printer)
    running = status.status(settings).data
    ours = not any(one.get("pid") for one in running.get("services", ()))
    found = inspect(settings, table(settings), running)
    report = Report("debug", settings.vendors, settings.warnings, found)
    if printer.json:
        return report.plus(*(checks.run(settings, only=CONNECTIONS) if not ours else ()))
    for row in rows(found):
        printer.line(row)
    try:
        if ours:
            loud = replace(settings, log_level="DEBUG", debug=settings.debug or "*")
            outcome = start.start(loud, table(loud), progress=tell)
            report = report.plus(*outcome.findings)
            if outcome.failed:
                return replace(report, data={})
        override_level(settings.logs, "DEBUG")
        report = replace(report.plus(*checks.run(settings, only=CONNECTIONS)), data={})
        printer.report(report)
        printer.progress("following all logs at DEBUG; Ctrl-C ends this")
        asked = query(now=datetime.now(UTC), level="DEBUG", service=service)
        show(follow.follow(settings, asked, stopped=until_after(seconds)), printer)
        return None if report.ok else report
    finally:
        override_level(settings.logs, None)
        if ours:
            stop.stop(settings, drain_seconds=0, now=True, progress=tell)
