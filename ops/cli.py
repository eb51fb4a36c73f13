"""The shape of every task: settings → one function → report → exit code. The only file beside
`tasks.py` that knows Invoke."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from invoke.exceptions import Exit

from ops.config import Mode, Settings, no_color
from ops.errors import OpsError, SettingsError
from ops.findings import Finding, Report, fail, unknown
from ops.report import Printer

INTERRUPTED = 130
First = Callable[[Path, Printer], tuple[Finding, ...]]  # what must happen before settings are read
Work = Callable[[Settings, Printer], Report | None]  # None: it has said all itself


def carry_out(
    task: str,
    work: Work,
    *,
    root: Path,
    as_json: bool = False,
    offline: bool = False,
    live: bool = False,
    junit: str = "",
    running: bool = True,
    first: First | None = None,
) -> None:
    """Run one task and leave with its exit code.

    `running` follows the stack that runs: what was started offline is validated and called offline.
    The findings of `first` stand before all others.
    """
    printer = Printer(json=as_json, no_color=no_color())
    try:
        before = first(root, printer) if first else ()
        report = _report(task, work, root, printer, _mode(offline, live), running)
        if report is not None:
            report = replace(report, findings=(*before, *report.findings))
            printer.report(report, junit=Path(junit) if junit else None)
    except KeyboardInterrupt:
        printer.progress(f"{task}: interrupted")
        _leave(INTERRUPTED)
    except BrokenPipeError:
        _leave(0)  # the reader of our output has seen enough
    if report is not None and report.exit_code:
        _leave(report.exit_code)


def _report(task: str, work: Work, root: Path, printer: Printer, mode: Mode, running: bool) -> Report | None:
    try:
        settings = Settings.load(root, mode=mode)
        if running and mode == "auto":
            settings = _as_running(settings)
    except SettingsError as error:
        return Report(task, error.vendors, _unusable(error), unusable=True)
    try:
        return work(settings, printer)
    except SettingsError as error:
        return Report(task, settings.vendors, (*settings.warnings, *_unusable(error)), unusable=True)
    except OpsError as error:
        make = unknown if error.exit_code == 4 else fail
        finding = make(f"{task}.failed", error.message, fix=error.fix)
        return Report(task, settings.vendors, (finding,), unusable=error.exit_code == 2)


def _unusable(error: SettingsError) -> tuple[Finding, ...]:
    from ops.doctor.environment import unusable

    return unusable(error)


def _mode(offline: bool, live: bool) -> Mode:
    if offline and live:
        raise Exit("--offline and --live exclude each other. Fix: choose one", code=2)
    return "offline" if offline else "live" if live else "auto"


def _as_running(settings: Settings) -> Settings:
    """The settings as the running stack was started with: offline if it is, and its public URL."""
    try:
        stack = json.loads((settings.run_dir / "stack.json").read_text("utf-8"))
        vendors, public_url = dict(stack["vendors"]), stack.get("public_url")
    except (OSError, ValueError, KeyError, TypeError):
        return settings
    if set(vendors.values()) == {"simulated"} and settings.vendors != vendors:
        settings = Settings.load(settings.root, mode="offline")
    if public_url and settings.public_url is None and stack.get("mode") == "basic":
        settings = replace(settings, public_url=str(public_url))
    return settings


def _leave(code: int) -> NoReturn:
    raise Exit(code=code)
