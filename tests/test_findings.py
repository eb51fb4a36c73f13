"""Findings and reports: what can be built, and which exit code follows."""

from __future__ import annotations

import itertools

import pytest

from ops.findings import Finding, Report, Status, fail, ok, skip, unknown, warn


@pytest.mark.parametrize("status", ["warn", "fail"])
def test_a_complaint_without_a_fix_cannot_be_built(status: Status) -> None:
    """A warn or fail without a fix raises where it is made."""
    with pytest.raises(ValueError, match="without a fix"):
        Finding("x.y", status, "bad")


def test_exit_codes() -> None:
    """0 ok or warn or skip; 3 when something failed, also beside an unknown; 4 unknown; 2 unusable."""
    made = {
        "ok": ok("a", "fine"), "warn": warn("b", "hm", fix="do"), "skip": skip("c", "later"),
        "fail": fail("d", "bad", fix="do"), "unknown": unknown("e", "no answer"),
    }  # fmt: skip
    for chosen in itertools.chain.from_iterable(itertools.combinations(made, n) for n in range(6)):
        report = Report("t", {}, tuple(made[name] for name in chosen))
        assert report.exit_code == (3 if "fail" in chosen else 4 if "unknown" in chosen else 0)
        assert report.ok is (report.exit_code == 0)
    assert Report("t", {}, (made["fail"],), unusable=True).exit_code == 2


def test_the_document_has_the_promised_shape() -> None:
    """to_dict is the contract's JSON: schema, task, ok, exit_code, all three vendors, findings, data."""
    report = Report("validate", {"twilio": "live"}, (ok("a.b", "fine", asked="x"),)).plus(extra=1)
    assert report.to_dict() == {
        "schema": "trunkline/report@1", "task": "validate", "ok": True, "exit_code": 0,
        "vendors": {"twilio": "live", "openai": "error", "ngrok": "error"},
        "findings": [
            {"id": "a.b", "status": "ok", "summary": "fine", "evidence": {"asked": "x"}, "fix": None,
             "seconds": 0.0},
        ],
        "data": {"extra": 1},
    }  # fmt: skip
