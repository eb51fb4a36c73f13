"""From what each host said to one exit code, one document and one command to try again."""

from __future__ import annotations

import json

import pytest

from ops.findings import Report
from ops.remote import outcome
from ops.remote.outcome import HostResult


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["ok", "ok"], 0), (["ok", "failed"], 3), (["refused", "unreachable"], 3), (["no-release", "ok"], 3),
        (["unreachable", "ok"], 4), (["lost"], 4), (["unknown", "ok"], 4), (["lost", "failed"], 3),
        (["failed", "interrupted"], 130),
    ],
)  # fmt: skip
def test_exit_codes(states: list[outcome.State], code: int) -> None:
    """3 failed, refused or without release; else 4 unreachable, lost or unknown; 130 interrupted."""
    results = [HostResult(f"h{i}", state) for i, state in enumerate(states)]
    assert outcome.exit_code(results) == code
    report = Report("start", {}, outcome.findings(results, "inv -H h1 start"))
    assert report.exit_code == (3 if code == 130 else code)


def test_a_tasks_own_code_becomes_a_state() -> None:
    """4 means that something could not be asked, there as here; every other number but 0 and 130 failed."""
    states = {code: outcome.ended("h", code, 0.0).state for code in (0, 1, 2, 3, 4, 130, 127, -1)}
    assert states == {
        0: "ok", 1: "failed", 2: "failed", 3: "failed", 4: "unknown", 130: "interrupted", 127: "failed", -1: "failed",
    }  # fmt: skip


def test_the_command_to_try_again() -> None:
    """It names the hosts that did not succeed, the task with its arguments, and the tasks behind it."""
    results = [HostResult("a", "ok"), HostResult("b", "failed", 3), HostResult("c", "lost")]
    line = outcome.retry_command(results, [("call", "--to=+1 x"), ("logs",)])
    assert line == "inv -H b,c call '--to=+1 x' logs"
    told = outcome.data(results, line)
    assert (told["succeeded"], told["failed"], told["untouched"], told["retry"]) == (
        ["a"],
        ["b", "c"],
        [],
        line,
    )


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"schema": "trunkline/report@1", "task": "other"}',
        b'{"schema": "trunkline/report@1", "task": "status", "findings": 1, "vendors": {}}',
        b'{"schema": "trunkline/report@1", "task": "status", "findings": [], "vendors": []}', b"\xff\xfe", b"prose {}",
    ],
)  # fmt: skip
def test_what_is_no_report_of_ours_is_not_believed(text: bytes) -> None:
    """Fake, broken and bottomless documents are no report."""
    assert outcome.read_report(text, "status") is None


def test_a_report_is_read_and_its_vendors_are_joined() -> None:
    """Live anywhere is live, so that nobody mistakes it; who said nothing is in error."""
    mode = {"twilio": "simulated", "openai": "simulated", "ngrok": "simulated"}
    reports = [Report("status", mode | more).to_dict() for more in ({}, {"openai": "live"})]
    read = [outcome.read_report(json.dumps(report).encode(), "status") for report in reports]
    results = [HostResult("a", "ok", 0, report=read[0]), HostResult("b", "ok", 0, report=read[1])]
    assert outcome.vendors(results) == mode | {"openai": "live"}
    assert set(outcome.vendors([HostResult("a", "lost")]).values()) == {"error"}


def test_records_name_their_host() -> None:
    """A host cannot pass its records off as another's, and prose is no record."""
    assert json.loads(outcome.with_host('{"host": "b", "x": 1}', "a") or "") == {"host": "a", "x": 1}
    assert outcome.with_host("prose", "a") is None
    assert outcome.with_host("[1]", "a") is None
