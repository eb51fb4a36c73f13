"""Report → terminal, JSON, JUnit. The only file that prints, with `live` for what moves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ops.findings import Finding, Report
from ops.live import Live

MARKS = {"ok": ("✓", 32), "warn": ("!", 33), "fail": ("✗", 31), "skip": ("–", 90), "unknown": ("?", 35)}
SHOWN = 6  # questions that are on the screen at once
BADGES = {"live": 31, "simulated": 36, "error": 33}


class Printer:
    """Writes to the people or to the program that ran the task; progress goes to standard error."""

    def __init__(
        self, *, json: bool, no_color: bool, out: IO[str] | None = None, err: IO[str] | None = None
    ) -> None:
        self.json = json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._no_color = no_color

    def report(self, report: Report, *, junit: Path | None = None) -> None:
        """Show a whole report: one JSON document, or findings and tables for people."""
        if junit is not None:
            junit.write_text(to_junit(report), "utf-8")
        if self.json:
            print(json.dumps(report.to_dict(), default=str), file=self._out)
            return
        color = self._color(self._out)
        for line in lines(report, color=color):
            print(line, file=self._out)

    def progress(self, line: str) -> None:
        """One line of progress, on standard error; silent under --json."""
        if not self.json:
            print(line, file=self._err, flush=True)

    def asking(self) -> Asking:
        """The progress of checks, as a context manager; silent under --json."""
        return Asking(self)

    def live(self, draw: Callable[[], Iterable[str]]) -> Live | None:
        """Progress as lines that move; None under --json and where standard error is no terminal."""
        if self.json or not self._err.isatty():
            return None
        return Live(self._err, draw, no_color=self._no_color)

    def watch(self, draw: Callable[[], Iterable[str]]) -> Live | None:
        """The task's own output as lines that move; None where standard output is no terminal."""
        if not self._out.isatty():
            return None
        return Live(self._out, draw, no_color=self._no_color, transient=False)

    def line(self, text: str) -> None:
        """One line of the task's own output."""
        print(text, file=self._out, flush=True)

    def color(self) -> bool:
        """Whether standard output takes colour."""
        return self._color(self._out)

    def _color(self, stream: IO[str]) -> bool:
        return stream.isatty() and not self._no_color


class Asking:
    """Checks as they are asked and answered: on a terminal a few lines that change, elsewhere one line for
    each answer that is not well."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._asked: dict[str, str] = {}
        self._counts = dict.fromkeys(MARKS, 0)
        self._live = printer.live(self._drawn)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__()

    def tell(self, id: str, question: str, finding: Finding | None) -> None:
        """A check was asked (no finding yet), or has answered."""
        if finding is None:
            self._asked[id] = question
        else:
            self._asked.pop(id, None)
            self._counts[finding.status] += 1
            if self._live is None and finding.status not in ("ok", "skip"):
                self._printer.progress(f"{finding.status}: {finding.id}: {finding.summary}")
        if self._live is not None:
            self._live.show()

    def _drawn(self) -> Iterable[str]:
        done = " · ".join(f"{count} {status}" for status, count in self._counts.items() if count)
        yield f"{sum(self._counts.values())} answered ({done or 'none yet'}), {len(self._asked)} asked"
        for name, words in list(self._asked.items())[-SHOWN:]:
            yield f"  … {name}: {words}"


def paint(text: str, code: int, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text


def lines(report: Report, *, color: bool, quiet_ok: bool = False) -> Iterable[str]:
    """A report for people: who is live, what was found, what was made, and the verdict."""
    badges = (
        f"{name} {paint(mode.upper(), BADGES.get(mode, 0), color)}" for name, mode in report.vendors.items()
    )
    yield f"{report.task}: " + " · ".join(badges)
    for finding in report.findings:
        if not (quiet_ok and finding.status == "ok"):
            yield from finding_lines(finding, color)
    for title in ("services", "receipt", "hops", "turns"):
        rows = report.data.get(title)
        if isinstance(rows, Sequence) and rows:
            yield ""
            yield from table(_columns(title, rows), color)
    yield from _facts(report.data)
    counts = {status: sum(f.status == status for f in report.findings) for status in MARKS}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    verdict = paint("ok", 32, color) if report.ok else paint(f"failed (exit {report.exit_code})", 31, color)
    yield f"{report.task}: {verdict}" + (f" – {told}" if told else "")


def finding_lines(finding: Finding, color: bool) -> Iterable[str]:
    """One finding: mark, id, sentence; its fix below when there is something to do."""
    mark, code = MARKS[finding.status]
    yield f"{paint(mark, code, color)} {finding.id:<24} {finding.summary}"
    if finding.fix and finding.status in ("warn", "fail", "unknown"):
        yield f"  {'':<24} Fix: {finding.fix}"
    lines_of_output = finding.evidence.get("last_lines")
    if finding.status == "fail" and isinstance(lines_of_output, Sequence):
        for line in lines_of_output:
            yield f"  {'':<24} | {line}"


def table(rows: Sequence[Mapping[str, Any]], color: bool) -> Iterable[str]:
    """Rows of equal keys, as aligned columns."""
    names = list(rows[0])
    texts = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in texts)) for i, name in enumerate(names)]
    yield paint(
        "  ".join(name.upper().ljust(width) for name, width in zip(names, widths, strict=True)).rstrip(),
        1,
        color,
    )
    for row in texts:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


_SHOWN = {
    "services": ("name", "state", "pid", "port", "restarts", "since", "url", "reason"),
    "receipt": ("name", "pid", "signal", "ms", "gone"),
    "hops": ("name", "at_ms", "status"),
    "turns": ("index", "latency_ms", "barge_in"),
}


def _columns(title: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = [name for name in _SHOWN[title] if any(row.get(name) not in (None, "") for row in rows)]
    return [{name: row.get(name) for name in names} for row in rows]


def _facts(data: Mapping[str, Any]) -> Iterable[str]:
    for name in ("public_url", "live_calls", "call_sid", "verdict"):
        if data.get(name) is not None:
            yield f"{name.replace('_', ' ')}: {data[name]}"
    for path in dict(data.get("files") or {}).values():
        yield f"file: {path}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def to_junit(report: Report) -> str:
    """The findings as a JUnit test suite, for CI pages."""
    from xml.etree import ElementTree as xml

    statuses = [finding.status for finding in report.findings]
    suite = xml.Element(
        "testsuite",
        name=f"trunkline {report.task}",
        tests=str(len(statuses)),
        failures=str(statuses.count("fail")),
        errors=str(statuses.count("unknown")),
        skipped=str(statuses.count("skip")),
    )
    kinds = {"fail": "failure", "unknown": "error", "skip": "skipped"}
    for finding in report.findings:
        group, _, name = finding.id.partition(".")
        case = xml.SubElement(
            suite, "testcase", classname=group, name=name or group, time=f"{finding.seconds:.3f}"
        )
        if finding.status in kinds:
            xml.SubElement(case, kinds[finding.status], message=_xml_safe(finding.summary)).text = _xml_safe(
                finding.fix or ""
            )
    return xml.tostring(suite, encoding="unicode", xml_declaration=True)


def _xml_safe(text: str) -> str:
    return "".join(
        c if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000) else "�" for c in text
    )
