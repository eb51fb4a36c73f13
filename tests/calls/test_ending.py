from __future__ import annotations

import pytest

from ops.calls.ending import phone, status


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("completed", "ok"),
        ("busy", "fail"),
        ("no-answer", "fail"),
        ("failed", "fail"),
        ("canceled", "fail"),
        ("in-progress", "unknown"),
    ],
)
def test_a_calls_last_status_is_judged(last: str, expected: str) -> None:
    """Only a completed call is good; one that Twilio never called over is unknown."""
    assert status(last, cut_short=False, seconds=40).status == expected


def test_a_call_that_had_to_be_hung_up_fails() -> None:
    """Also when Twilio calls it completed."""
    assert status("completed", cut_short=True, seconds=40).status == "fail"


def test_the_phones_first_undone_step_is_told() -> None:
    """Later steps could not be done either; the first one is the cause."""
    steps = [
        {"do": "listen", "done": True},
        {"do": "hear", "ms": 1000, "done": False},
        {"do": "say", "line": "caller-book", "done": False},
    ]
    (finding,) = phone(steps, [])
    assert finding.status == "fail"
    assert "step 2" in finding.summary
    assert "1000 ms" in finding.summary


def test_a_script_that_was_done_says_nothing() -> None:
    """No finding without a reason."""
    assert phone([{"do": "listen", "done": True}, {"do": "hang-up", "done": True}], []) == []


def test_twilios_error_numbers_are_explained() -> None:
    """A known number gets its meaning and fix, an unknown one its page."""
    known, unknown = phone(
        [], [{"code": 12100, "message": "Document parse failure"}, {"code": 9, "message": "x"}]
    )
    assert "Document parse failure (" in known.summary
    assert unknown.fix == "see https://www.twilio.com/docs/api/errors/9"


def test_a_warning_of_twilios_does_not_fail_a_call() -> None:
    """The message counted all the same."""
    (found,) = phone([], [{"code": 31951, "message": "unexpected field", "level": "warning"}])
    assert (found.id, found.status) == ("call.twilio-31951", "warn")


def test_a_call_that_came_in_and_was_never_answered() -> None:
    """Then it was the TwiML that would not take it, not the person."""
    assert "TwiML" in status("no-answer", cut_short=False, seconds=40, inbound=True).summary
