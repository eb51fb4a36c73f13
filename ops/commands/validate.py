"""`inv validate`: all checks, or some of them; and what can be mended, mended."""

from __future__ import annotations

from pathlib import Path

from ops import checks
from ops.config import Settings
from ops.doctor import fixes
from ops.findings import Check, Finding, Report
from ops.report import Printer
from ops.world import World


def validate(
    settings: Settings, printer: Printer, *, only: tuple[str, ...] = (), fix: bool = False
) -> Report:
    """Ask every question and give every answer; with `fix`, mend what is safe and ask again."""

    def tell(check: Check[World], finding: Finding | None) -> None:
        if finding is None:
            printer.progress(f"asking {check.id}: {check.question}")

    findings = checks.run(settings, only=only, progress=tell)
    mended: tuple[Finding, ...] = ()
    if fix and any(one.id == "webhook.drift" and one.status in ("warn", "fail") for one in findings):
        mended = fixes.mend_webhook(settings, show=printer.progress)
        findings = checks.run(settings, only=only, progress=tell)
    return Report("validate", settings.vendors, (*mended, *settings.warnings, *findings))


def mend_files(root: Path, printer: Printer) -> tuple[Finding, ...]:
    """Mend the files that settings are read from, before they are read."""
    return fixes.mend_files(root, show=printer.progress)
