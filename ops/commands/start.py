"""`inv start` and `inv basic`: bring the stack up, and prove that a caller would get through."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from ops.commands.progress import board, teller
from ops.config import Settings
from ops.findings import Finding, Report
from ops.journal.level import override_level
from ops.journal.rotate import begin_latest
from ops.processes import start as processes
from ops.processes.standby import Standby
from ops.processes.status import anything_runs, status
from ops.report import Printer
from ops.services import table

LINE = ("websocket", "webhook")  # checks that go through the public URL, opening nothing upstream
LINE_WITHIN = 3.0  # seconds: a tunnel that has just come up may need a moment


def start(
    settings: Settings,
    printer: Printer,
    *,
    only: tuple[str, ...] = (),
    take_over: bool = False,
    attach: bool = False,
    standby: Standby | None = None,
) -> Report:
    """The production start: environment, ports, services in order, readiness, then the whole line."""
    fresh_logs(settings)
    with board(printer) as progress:
        outcome = processes.start(
            settings,
            table(settings),
            only=only,
            take_over=take_over,
            standby=standby,
            progress=progress,
        )
    report = Report("start", settings.vendors, (*settings.warnings, *outcome.findings), outcome.data)
    if not outcome.failed and _has_bridge(settings, only):
        report = report.plus(*_line(settings, printer), **status(settings).data)
    if not attach or not report.ok:
        return report
    if not printer.json:
        printer.report(report)
    from ops.processes.attach import attach as stay

    ended = stay(settings, progress=teller(printer))
    return Report("start", settings.vendors, (*settings.warnings, *ended.findings), ended.data)


def basic(
    settings: Settings, printer: Printer, *, only: tuple[str, ...] = (), standby: Standby | None = None
) -> Report:
    """The quick start for development: no tunnel, nobody outside is asked, restart on code change."""
    if settings.public_url is None:
        settings = replace(settings, public_url=f"http://127.0.0.1:{settings.websocket_port}")
    fresh_logs(settings)
    with board(printer) as progress:
        outcome = processes.start(
            settings,
            table(settings),
            only=only,
            mode="basic",
            watch=True,
            standby=standby,
            progress=progress,
        )
    return Report("basic", settings.vendors, (*settings.warnings, *outcome.findings), outcome.data)


def fresh_logs(settings: Settings) -> None:
    """A new run begins with logs of its own, at the configured level; a running one keeps its logs."""
    if not anything_runs(settings):
        override_level(settings.logs, None)
        begin_latest(settings.logs, now=datetime.now(UTC))


def _line(settings: Settings, printer: Printer) -> tuple[Finding, ...]:
    """The proof of the line; a question that could not be asked is told, but fails no start."""
    from ops import checks  # only a stack with a bridge pays for them

    printer.progress("proving the line: a signed webhook and a media stream through the public URL")
    until = time.monotonic() + LINE_WITHIN
    findings = checks.run(settings, only=LINE)
    while any(one.status == "fail" for one in findings) and time.monotonic() < until:
        time.sleep(settings.retry_interval / 4)
        findings = checks.run(settings, only=LINE)
    return tuple(_soft(one) if one.status == "unknown" else one for one in findings)


def _soft(finding: Finding) -> Finding:
    return replace(finding, status="warn", fix=finding.fix or "inv validate asks again")


def _has_bridge(settings: Settings, only: tuple[str, ...]) -> bool:
    names = {service.name for service in table(settings)}
    return "websocket-server" in names and (not only or "websocket-server" in only)
