"""`inv -H a,b TASK…`: each task on all hosts at once, from the release in force there; then the next task."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from ops.config import Settings, no_color
from ops.errors import SettingsError
from ops.findings import Report
from ops.remote import forward, outcome
from ops.remote.abreast import Crew, Errand, together
from ops.remote.hosts import Host, choose
from ops.remote.screen import LINE
from ops.report import Printer, finding_lines

RECORD = 1 << 20  # bytes of one JSON line
Here = Callable[[Any, str], None]  # runs a task on this machine, telling it the hosts


def on_hosts(root: Path, text: str, tasks: tuple[Any, ...], *, here: Here) -> None:
    """Run the tasks on the hosts that `-H TEXT` names, and leave with the exit code of the first that fails.

    Deploy and its like run here and drive the hosts themselves.
    """
    printer = Printer(json=any(map(forward.wants_json, tasks)), no_color=no_color())
    try:
        hosts = chosen(root, text)
    except SettingsError as error:
        from ops.doctor.environment import unusable

        printer.report(Report(tasks[0].name, error.vendors, unusable(error), unusable=True))
        raise Exit(code=2) from None
    lines = tuple(forward.words(task) for task in tasks)
    with Crew(hosts) as crew:
        for index, task in enumerate(tasks):
            if task.name in forward.HERE:
                here(task, text)
                continue
            printer = Printer(json=forward.wants_json(task), no_color=no_color())
            code = _one(crew, task.name, lines[index:], printer)
            if code:
                raise Exit(code=code)


def chosen(root: Path, text: str) -> tuple[Host, ...]:
    """The hosts that a text names; raises SettingsError with every fault of the text and of ops.toml."""
    settings = Settings.load(root)
    hosts, faults = choose(text, settings.table)
    if faults:
        raise SettingsError(faults, settings.vendors)
    return hosts


def _one(crew: Crew, task: str, lines: Sequence[tuple[str, ...]], printer: Printer) -> int:
    """One task on all hosts; `lines` are its words and those of the tasks behind it."""
    word = secrets.token_hex(8)
    show = _show(printer, crew.hosts, records=task == "logs")
    collected = printer.json and task != "logs"
    cap = RECORD if printer.json else LINE
    errands = tuple(
        Errand(crew, host, forward.command(host.path, lines[0], word), word, None if collected else show, cap)
        for host in crew.hosts
    )
    interrupted = False
    try:
        together(errands, lambda name: printer.progress(f"sending SIG{name} to {task} on all hosts"))
    except KeyboardInterrupt:
        interrupted = True
    except BrokenPipeError:
        return 0  # the reader of our output has seen enough
    results = tuple(_result(errand, task, collected, interrupted) for errand in errands)
    retry = outcome.retry_command(results, lines)
    code = outcome.INTERRUPTED if interrupted else outcome.exit_code(results)
    findings = outcome.findings(results, retry)
    if collected:
        data = outcome.data(results, retry)
        printer.report(Report(task, outcome.vendors(results), findings, data, interrupted=interrupted))
    elif not printer.json:
        color = printer.color()
        for finding in findings:
            shown = replace(
                finding, evidence={}, fix=finding.fix and finding.fix.removesuffix(f"; then {retry}")
            )
            for line in finding_lines(shown, color):
                printer.line(line)
        _sum_up(printer, task, results, retry)
    return code


def _sum_up(printer: Printer, task: str, results: tuple[outcome.HostResult, ...], retry: str) -> None:
    told = outcome.data(results, retry)
    parts = [
        f"{kind}: {', '.join(told[kind])}" for kind in ("succeeded", "failed", "untouched") if told[kind]
    ]
    printer.line(f"{task} on {len(results)} host{'s' * (len(results) != 1)} – " + "; ".join(parts))
    if "retry" in told:
        printer.line(f"again: {retry}")


def _result(errand: Errand, task: str, collected: bool, interrupted: bool) -> outcome.HostResult:
    result = errand.result
    if interrupted and result.state == "skipped":
        result = replace(result, reason="interrupted before it began")
    if not collected or result.exit_code is None or result.state == "no-release":
        return result
    report = outcome.read_report(bytes(errand.document), task)
    if report is not None:
        return replace(result, report=report, last_lines=())
    if result.state != "ok":
        return result
    fix = f"see what `inv -H {result.name} {task}` says without --json"
    return replace(result, state="failed", reason="it wrote no report of ours", fix=fix)


def _show(printer: Printer, hosts: tuple[Host, ...], *, records: bool) -> Callable[[str, str, bool], None]:
    """Lines of several hosts, whole and one at a time; under --json records that name their host."""
    width = max(len(host.name) for host in hosts)
    lock = threading.Lock()

    def show(name: str, line: str, from_stderr: bool) -> None:
        with lock:
            if printer.json and not from_stderr:
                record = outcome.with_host(line, name) if records else None
                if record is not None:
                    printer.line(record)
            elif from_stderr:
                printer.progress(f"{name:<{width}} │ {line}")
            else:
                printer.line(f"{name:<{width}} │ {line}")

    return show
