"""`inv validate`: all checks, or some of them; what can be mended, mended; what a rule means, explained."""

from __future__ import annotations

import time
from pathlib import Path

from ops import checks
from ops.config import Settings
from ops.doctor import book, fixes
from ops.findings import Check, Finding, Report
from ops.report import Printer
from ops.world import World


def validate(
    settings: Settings,
    printer: Printer,
    *,
    only: tuple[str, ...] = (),
    deep: bool = False,
    fix: bool = False,
    restore_webhook: bool = False,
    watch: bool = False,
) -> Report:
    """Ask every question and give every answer; with `fix`, mend what is safe and ask again.

    `deep` rings through the public URL with two seconds of speech; `watch` asks again every few
    seconds until Ctrl-C.
    """

    def tell(check: Check[World], finding: Finding | None) -> None:
        if finding is None:
            printer.progress(f"asking {check.id}: {check.question}")

    mended: tuple[Finding, ...] = ()
    if restore_webhook:
        mended = fixes.restore_webhook(settings, show=printer.progress)
    findings = checks.run(settings, only=only, deep=deep, progress=tell)
    if fix and any(one.id == "webhook.drift" and one.status in ("warn", "fail") for one in findings):
        mended = fixes.mend_webhook(settings, show=printer.progress)
        findings = checks.run(settings, only=only, deep=deep, progress=tell)
    while watch and not printer.json:
        printer.report(Report("validate", settings.vendors, findings))
        time.sleep(5.0)
        findings = checks.run(settings, only=only, deep=deep)
    return Report("validate", settings.vendors, (*mended, *findings))


def explain(settings: Settings, printer: Printer, id: str) -> Report | None:
    """What a rule asks, what its failure means, and how it is mended."""
    text = book.entry(checks.explain(id, settings))
    if not printer.json:
        printer.line(text)
        return None
    return Report("validate", settings.vendors, (), {"id": id, "explanation": text})


def mend_files(root: Path, printer: Printer) -> tuple[Finding, ...]:
    """Mend the files that settings are read from, before they are read."""
    return fixes.mend_files(root, show=printer.progress)
