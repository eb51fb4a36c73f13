"""`inv call`: one test call from end to end, watched while it goes on."""

from __future__ import annotations

from ops.calls import run as calls
from ops.calls import webhook as strangers
from ops.calls.place import Progress
from ops.commands import simulate
from ops.config import Settings
from ops.errors import OpsError
from ops.findings import Report
from ops.journal import write as journal
from ops.report import Printer


def call(
    settings: Settings,
    printer: Printer,
    *,
    to: str | None,
    scenario: str | None,
    fault: str | None,
    webhook: str | None = None,
) -> Report:
    """Place the call, follow it, judge it; the report, the page and the recording stay in its folder.

    With `webhook` a scripted caller rings that address instead, at the simulators, which are started
    where they do not run.
    """
    if webhook:
        if to:
            raise OpsError("--to and --webhook exclude each other.", fix="choose one")
        strangers.checked(webhook)
        simulated = simulate.simulated_settings(settings)
        started, _ = simulate.bring_up(settings, simulated, printer, ("twilio", "openai"))
        if any(finding.status == "fail" for finding in started):
            return Report("call", simulated.vendors, started)
        settings = simulated
    journal.setup(
        "call", settings.logs, level=settings.log_level, secrets=settings.secrets, console=False
    )  # people get the progress instead

    def tell(seen: Progress) -> None:
        printer.progress(f"{seen.at_ms / 1000:6.2f} s  {seen.kind:<8} {seen.text}")

    try:
        options = {"scenario": scenario} if scenario else {}
        if webhook:
            outcome = strangers.run(settings, webhook=webhook, fault=fault, progress=tell, **options)
        else:
            outcome = calls.run(settings, to=to, fault=fault, progress=tell, **options)
    finally:
        journal.close()
    return Report("call", settings.vendors, (*settings.warnings, *outcome.findings), outcome.data)
