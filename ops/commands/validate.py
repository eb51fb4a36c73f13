"""`inv validate`: all checks, or some of them; what can be mended, mended; what a rule means, explained."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

from ops import checks
from ops.config import Settings
from ops.doctor import book, fixes
from ops.errors import OpsError
from ops.findings import Check, Finding, Report
from ops.report import Printer
from ops.world import World


def validate(
    settings: Settings,
    printer: Printer,
    *,
    only: tuple[str, ...] = (),
    deep: bool = False,
    at: str = "",
    fix: bool = False,
    restore_webhook: bool = False,
    watch: bool = False,
) -> Report:
    """Ask every question and give every answer; with `fix`, mend what is safe and ask again.

    `deep` rings through the public URL with two seconds of speech; `watch` asks again every few seconds
    until Ctrl-C. `at` proves the bridge at that address alone, as if calls came there.
    """

    def ask() -> tuple[Finding, ...]:
        with printer.asking() as asking:

            def tell(check: Check[World], finding: Finding | None) -> None:
                asking.tell(check.id, check.question, finding)

            if at:
                return checks.at_door(_through(settings, at), progress=tell)
            return checks.run(settings, only=only, deep=deep, progress=tell)

    mended: tuple[Finding, ...] = ()
    if restore_webhook:
        mended = fixes.restore_webhook(settings, show=printer.progress)
    findings = ask()
    if fix and any(one.id == "webhook.drift" and one.status in ("warn", "fail") for one in findings):
        mended = fixes.mend_webhook(settings, show=printer.progress)
        findings = ask()
    while watch and not printer.json:
        printer.report(Report("validate", settings.vendors, findings))
        time.sleep(5.0)
        findings = ask()
    return Report("validate", settings.vendors, (*mended, *findings), {"checks": _rows(settings, findings)})


def _rows(settings: Settings, findings: tuple[Finding, ...]) -> list[dict[str, object]]:
    """Of each check that was asked: its question, what it needs, from where it asks, and of whom."""
    answered = {one.id for one in findings}
    return [_row(check, settings) for check in checks.catalogue(settings) if check.id in answered]


def _row(check: Check[World], settings: Settings) -> dict[str, object]:
    about = check.about
    return {
        "id": check.id,
        "question": check.question,
        "needs": list(check.needs),
        "vantage": about.vantage if about else None,
        "mode": settings.vendors.get(check.id.partition(".")[0]),
        "deadline": check.deadline,
    }


def _through(settings: Settings, at: str) -> Settings:
    parts = urlsplit(at)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise OpsError(
            f"--at: expected http://ADDRESS:PORT, got {at[:80]!r}.", fix="give the bridge's own address"
        )
    return replace(settings, door_at=at)


def explain(settings: Settings, printer: Printer, id: str) -> Report | None:
    """What a rule asks, what its failure means, and how it is mended."""
    check = checks.explain(id, settings)
    text = book.entry(check)
    if not printer.json:
        printer.line(text)
        return None
    about = asdict(check.about) if check.about else {}
    return Report("validate", settings.vendors, (), {**_row(check, settings), **about, "explanation": text})


def mend_files(root: Path, printer: Printer) -> tuple[Finding, ...]:
    """Mend the files that settings are read from, before they are read."""
    return fixes.mend_files(root, show=printer.progress)
