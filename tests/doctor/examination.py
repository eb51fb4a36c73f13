"""Asks all checks of a stack that is well, or nearly: against one small server in place of all others."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ops import checks
from ops.findings import Finding
from ops.world import World
from tests.standin import StandIn

TODAY = date(2026, 11, 23)
# judged in their own tests, with real processes and repositories
OF_THIS_MACHINE = ("port.", "service.", "security.l", "security.h", "security.env", "security.command")


def examine(standin: StandIn, root: Path, **changes: str) -> dict[str, Finding]:
    """The answers of all checks by id; the stack counts as running."""
    settings = standin.settings(root, **changes)
    world = World.of(settings, today=TODAY, stack={"services": [], "vendors": dict(settings.vendors)})
    asked = [one for one in checks.every(world) if not one.id.startswith(OF_THIS_MACHINE)]
    return {finding.id: finding for finding in checks.ask(asked, world)}


def alarms(findings: dict[str, Finding]) -> dict[str, str]:
    """What is not well, by id."""
    return {id: one.status for id, one in findings.items() if one.status not in ("ok", "skip")}
