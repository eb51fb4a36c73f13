from __future__ import annotations

from datetime import timedelta

from ops.journal.analyse import MOST_GROUPS, analyse, fingerprint, percentiles
from ops.journal.entry import Entry
from ops.journal.hops import Hop
from tests.journal.conftest import NOON, call_sid


def at(seconds: float, event: str = "e", level: str = "INFO", msg: str = "", **fields: object) -> Entry:
    return Entry(NOON + timedelta(seconds=seconds), level, "bridge", event, msg, fields=fields)


def test_errors_are_grouped_and_counted_in_calls() -> None:
    """Messages that differ in ids and numbers are one error; it tells how many calls it hit, first and last."""
    one, two = call_sid(), call_sid()
    found = analyse([
        at(0, "model.lost", "ERROR", f"call {one} lost after 3.2 s", call_sid=one),
        at(1, "model.lost", "ERROR", f"call {two} lost after 41 s", call_sid=two),
        at(2, "model.lost", "ERROR", f"call {two} lost after 7 s", call_sid=two),
        at(3, "disk.full", "ERROR", "no space"),
        at(4, "slow", "WARNING", "slow"),
        at(5),
    ])  # fmt: skip
    lost, full, slow = found.data()["errors"]
    assert (lost["event"], lost["count"], lost["calls"]) == ("model.lost", 3, 2)
    assert lost["first"] < lost["last"]
    assert (full["event"], full["count"], full["calls"], slow["level"]) == ("disk.full", 1, 0, "WARNING")
    errors = [finding for finding in found.findings() if finding.id.startswith("logs.error.")]
    assert [finding.status for finding in errors] == ["warn", "warn"]
    assert "(3 times, 2 calls hit)" in errors[0].summary
    assert one in (errors[0].fix or "")


def test_different_errors_stay_apart() -> None:
    """Another event, exception or wording is another error."""
    kinds = [
        at(0, "a", "ERROR", "x failed"),
        at(0, "b", "ERROR", "x failed"),
        at(0, "a", "ERROR", "y failed"),
        at(0, "a", "ERROR", "x failed", exc_type="KeyError", exc_msg="k"),
    ]
    assert len({fingerprint(entry) for entry in kinds}) == 4
    assert fingerprint(at(0, msg="port 8081 on '10.0.0.1'")) == fingerprint(at(9, msg="port 3000 on 'here'"))


def test_the_callers_silence_is_a_finding() -> None:
    """A caller who stopped speaking and heard nothing for seconds is told, with the call to look at."""
    sid = call_sid()
    found = analyse([
        at(0, Hop.CALLER_SILENT, call_sid=sid), at(1, Hop.AGENT_SPEAKS, call_sid=sid),
        at(10, Hop.CALLER_SILENT, call_sid=sid), at(14.5, Hop.AGENT_SPEAKS, call_sid=sid),
        at(20, Hop.CALLER_SILENT, call_sid=sid), at(26, Hop.ENDED, call_sid=sid),
    ])  # fmt: skip
    assert [row["seconds"] for row in found.data()["silences"]] == [4.5, 6.0]
    (finding,) = [finding for finding in found.findings() if finding.id == "logs.silence"]
    assert "heard nothing for 6.0 s" in finding.summary


def test_slow_steps_and_gaps_of_a_call() -> None:
    """A hop over its budget and a call without records for long are named; other calls do not hide them."""
    sid, other = call_sid(), call_sid()
    found = analyse([
        at(0, Hop.WEBHOOK, call_sid=sid), at(0.1, Hop.WEBHOOK, call_sid=other), at(0.2, Hop.TWIML, call_sid=other),
        at(4, Hop.TWIML, call_sid=sid), at(5, Hop.UPGRADED, call_sid=sid), at(50, Hop.STARTED, call_sid=sid),
    ])  # fmt: skip
    assert [(row["to"], row["seconds"], row["call_sid"]) for row in found.data()["slow_hops"]] == [
        (Hop.TWIML, 4.0, sid), (Hop.STARTED, 45.0, sid),
    ]  # fmt: skip
    assert [(row["call_sid"], row["seconds"]) for row in found.data()["gaps"]] == [(sid, 45.0)]


def test_latencies_are_percentiles_of_what_occurred() -> None:
    """Each percentile is a value that was measured; names keep apart what was measured."""
    assert percentiles([5.0]) == {"count": 1, "p50": 5.0, "p95": 5.0, "p99": 5.0, "max": 5.0}
    found = analyse(
        at(n, Hop.ANSWERED, latency_ms=n, at_ms=n, took_ms="text", duration_ms=float("nan"))
        for n in range(1, 101)
    )
    assert found.data()["latency"] == {
        "turn.answered latency_ms": {"count": 100, "p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    }


def test_memory_is_bounded_by_kinds_not_by_records() -> None:
    """However many different errors come, only so many are kept apart; all are counted."""
    words = (
        f"{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}{'uvwxyzabcd'[n // 100 % 10]}{'efghi'[n // 1000]}"
        for n in range(3000)
    )
    found = analyse(at(n, "e", "ERROR", word) for n, word in enumerate(words))
    assert len(found.groups) == MOST_GROUPS + 1
    assert sum(group.count for group in found.groups.values()) == 3000
