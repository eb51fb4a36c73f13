"""`inv call`: one test call from end to end, watched while it goes on."""

from __future__ import annotations

from ops.calls import run as calls
from ops.calls.place import Progress
from ops.config import Settings
from ops.findings import Report
from ops.journal import write as journal
from ops.report import Printer


def call(
    settings: Settings, printer: Printer, *, to: str | None, scenario: str | None, fault: str | None
) -> Report:
    """Place the call, follow it, judge it; the report, the page and the recording stay in its folder."""
    journal.setup(
        "call", settings.logs, level=settings.log_level, secrets=settings.secrets, console=False
    )  # people get the progress instead

    def tell(seen: Progress) -> None:
        printer.progress(f"{seen.at_ms / 1000:6.2f} s  {seen.kind:<8} {seen.text}")

    try:
        options = {"scenario": scenario} if scenario else {}
        outcome = calls.run(settings, to=to, fault=fault, progress=tell, **options)
    finally:
        journal.close()
    return Report("call", settings.vendors, (*settings.warnings, *outcome.findings), outcome.data)
