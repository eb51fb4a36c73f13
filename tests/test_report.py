"""What people and programs get to see of a report."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

from ops.findings import Report, fail, ok, skip, unknown, warn
from ops.report import Printer, lines, to_junit

REPORT = Report(
    "validate",
    {"twilio": "live", "openai": "simulated", "ngrok": "error"},
    (
        ok("a.ok", "fine"),
        warn("a.warn", "odd", fix="look"),
        fail("a.fail", "bad", fix="mend it", last_lines=["Traceback", "KeyError"]),
        skip("a.skip", "later"),
        unknown("a.unknown", "no answer"),
    ),
    {"services": [{"name": "webapp", "state": "ready", "pid": 7, "port": None}]},
)


def test_people_see_every_finding_its_fix_and_who_was_live() -> None:
    """Vendor badges, one line a finding, fixes below complaints, last lines of what died, the verdict."""
    text = "\n".join(lines(REPORT, color=False))
    assert "twilio LIVE · openai SIMULATED · ngrok ERROR" in text
    assert "Fix: mend it" in text
    assert "| KeyError" in text
    assert "validate: failed (exit 3) – 1 ok, 1 warn, 1 fail, 1 skip, 1 unknown" in text
    assert "\x1b" not in text
    assert "\x1b[31m" in "\n".join(lines(REPORT, color=True))


def test_json_is_exactly_one_document_and_progress_goes_elsewhere() -> None:
    """Under --json standard output holds one document and nothing else; progress is silent."""
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(json=True, no_color=False, out=out, err=err)
    printer.progress("working")
    printer.report(REPORT)
    assert json.loads(out.getvalue()) == json.loads(json.dumps(REPORT.to_dict()))
    assert err.getvalue() == ""


def test_colour_only_on_a_terminal() -> None:
    """A pipe gets no escape sequences, and NO_COLOR wins on a terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for out, no_color, colored in (
        (io.StringIO(), False, False),
        (Terminal(), True, False),
        (Terminal(), False, True),
    ):
        Printer(json=False, no_color=no_color, out=out, err=io.StringIO()).report(REPORT)
        assert ("\x1b" in out.getvalue()) is colored


def test_junit_counts_and_escapes() -> None:
    """Failures, errors and skips are what CI pages expect; hostile text stays text."""
    report = Report("validate", {}, (*REPORT.findings, fail("b.x", "<&\x00\ud800>", fix="]]>")))
    suite = ElementTree.fromstring(to_junit(report))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "6",
        "2",
        "1",
        "1",
    )
    assert suite.findall("testcase")[-1].find("failure").get("message") == "<&��>"  # type: ignore[union-attr]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_asking_is_shown_live_on_a_terminal() -> None:
    """What is asked now and how much has answered; nothing of it stays when all is answered."""
    screen = _Terminal()
    printer = Printer(json=False, no_color=True, out=io.StringIO(), err=screen)
    with printer.asking() as asking:
        asking.tell("a.one", "Is it well?", None)
        asking.tell("a.two", "And this?", None)
        asking.tell("a.two", "And this?", warn("a.two", "not quite", fix="mend it"))
    shown = screen.getvalue()
    assert "a.one: Is it well?" in shown
    assert "1 warn" in shown


def test_asking_elsewhere_tells_what_is_not_well() -> None:
    """In a log or a pipe: one line for each answer that is not well; under --json nothing."""
    for as_json, told in ((False, "warn: a.two: not quite\n"), (True, "")):
        err = io.StringIO()
        with Printer(json=as_json, no_color=True, out=io.StringIO(), err=err).asking() as asking:
            asking.tell("a.one", "?", None)
            asking.tell("a.one", "?", ok("a.one", "fine"))
            asking.tell("a.two", "?", warn("a.two", "not quite", fix="mend it"))
        assert err.getvalue() == told
