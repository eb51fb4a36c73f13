"""`inv test`: the project's own tests, run by pytest in a process of their own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from ops.config import Settings
from ops.findings import Report, fail, ok
from ops.report import Printer

WORKERS = "4"  # on two cores: the tests mostly wait for real time
LONG = 2400  # seconds until a test of the long modes counts as hung
Run = Callable[[list[str]], int]  # runs a command here and gives its exit code


def selftest(settings: Settings, printer: Printer, *, run: Run, arguments: tuple[str, ...]) -> Report:
    """Run the tests; their own output is pytest's, the report is their sum."""
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "junit.xml"
        workers = [
            "-n",
            WORKERS,
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
        ]  # as `tests/conftest.py` says
        patience = ["-o", f"faulthandler_timeout={LONG}"] if "--long" in arguments else []
        code = run([sys.executable, "-m", "pytest", *workers, *patience, f"--junitxml={xml}", *arguments])
        counts = _counts(xml)
    failed = counts["failures"] + counts["errors"]
    summary = f"{counts['tests']} tests, {failed} failed, {counts['skipped']} skipped."
    if code == 0:
        return Report("test", settings.vendors, (ok("test.suite", summary, **counts),))
    finding = fail("test.suite", f"{summary} pytest ended with {code}.", fix="see the output above", **counts)
    return Report("test", settings.vendors, (finding,), counts)


def _counts(xml: Path) -> dict[str, int]:
    names = ("tests", "failures", "errors", "skipped")
    try:
        suite = next(ElementTree.parse(xml).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError, StopIteration):
        return dict.fromkeys(names, 0)
    return {name: int(suite.get(name, 0)) for name in names}
