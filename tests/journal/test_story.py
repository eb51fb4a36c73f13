from __future__ import annotations

from datetime import timedelta

from ops.journal.entry import Entry
from ops.journal.hops import Hop
from ops.journal.story import story
from tests.journal.conftest import NOON, call_sid

SID = call_sid()


def at(seconds: float, event: str, msg: str = "") -> Entry:
    return Entry(NOON + timedelta(seconds=seconds), "INFO", "bridge", event, msg, fields={"call_sid": SID})


def test_a_call_is_told_in_seconds_since_it_began() -> None:
    """Each record with its time in the call, and without the call's own SID on every line."""
    first, second = story([at(0, Hop.WEBHOOK, "rightly signed"), at(1.25, Hop.STARTED)])
    assert first.split() == ["0.000", "INFO", "bridge", "webhook.received", "rightly", "signed"]
    assert second.split() == ["1.250", "INFO", "bridge", "stream.started"]


def test_the_time_a_caller_heard_nothing_has_a_line() -> None:
    """Silence after the caller stopped speaking is named as what it is; other quiet as quiet."""
    lines = list(
        story([at(0, Hop.STARTED), at(5, Hop.CALLER_SILENT), at(9.5, Hop.AGENT_SPEAKS), at(10, Hop.ENDED)])
    )
    asides = [line.split("· ")[1] for line in lines if "·" in line]
    assert asides == ["5.0 s without a record", "the caller heard nothing for 4.5 s"]
    assert len(lines) == 6


def test_a_caller_who_goes_on_speaking_waits_for_no_answer() -> None:
    """A pause within the caller's own words is no silence of the agent."""
    lines = story([at(0, Hop.CALLER_SILENT), at(1, Hop.CALLER_SPEAKS), at(9, Hop.AGENT_SPEAKS)])
    assert not [line for line in lines if "heard nothing" in line]
