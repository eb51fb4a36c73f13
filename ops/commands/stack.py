"""`inv status` and `inv cleanup`: what runs, and its orderly end."""

from __future__ import annotations

import time
from contextlib import nullcontext

from ops.commands.progress import teller
from ops.config import Settings
from ops.findings import Report
from ops.processes import status as processes_status
from ops.processes import stop as processes_stop
from ops.report import Printer, lines


def status(settings: Settings, printer: Printer, *, watch: bool = False) -> Report:
    """What runs, once; or again every second until Ctrl-C, on a terminal in place."""
    report = _status(settings)
    if not watch or printer.json:
        return report
    live = printer.watch(lambda: lines(report, color=printer.color(), quiet_ok=True))
    with live or nullcontext():
        while True:
            if live:
                live.show()
            else:
                printer.line("\n".join(lines(report, color=printer.color(), quiet_ok=True)))
            time.sleep(1.0)
            report = _status(settings)


def _status(settings: Settings) -> Report:
    outcome = processes_status.status(settings)
    return Report("status", settings.vendors, outcome.findings, outcome.data)


def cleanup(settings: Settings, printer: Printer, *, drain: float, now: bool, reset: bool) -> Report:
    """Stop everything of this stack, and show the receipt."""

    outcome = processes_stop.stop(
        settings, drain_seconds=drain, now=now, reset=reset, progress=teller(printer)
    )
    return Report("cleanup", settings.vendors, outcome.findings, outcome.data)
