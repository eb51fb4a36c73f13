from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from ops.calls.judge import Vantage, judge
from ops.calls.scenario import REPAIR_SHOP, Expected
from ops.calls.timeline import read
from ops.findings import Finding
from ops.journal.hops import Hop
from tests.calls import histories


def judged(records: histories.Records, *, scripted: bool = True) -> dict[str, Finding]:
    return {one.id: one for one in judge(REPAIR_SHOP, read(REPAIR_SHOP, records), scripted=scripted)}


def test_a_healthy_call_has_nothing_but_good_findings() -> None:
    """Hops, turns, latency and the interruption are each answered with ok."""
    found = judged(histories.good())
    assert {one.status for one in found.values()} == {"ok"}
    assert set(found) == {"call.hops", "call.turns", "call.latency", "call.barge-in"}
    assert found["call.latency"].evidence == {"n": 3, "p50_ms": 652.0, "p95_ms": 655.5, "max_ms": 655.5}


@pytest.mark.parametrize("hop", [expected.hop for expected in REPAIR_SHOP.hops] + [Hop.PLACED])
def test_a_missing_hop_is_a_failure_that_names_it(hop: Hop) -> None:
    """Each hop alone: its name, what its absence means and what to do; the other hops stay good."""
    found = judged(histories.without(hop))
    finding = found[f"call.hop.{hop}"]
    assert finding.status == "fail"
    assert hop.value in finding.summary
    assert finding.fix
    assert [id for id in found if id.startswith("call.hop.")] == [f"call.hop.{hop}"]


def test_only_the_first_cause_of_a_broken_chain_is_a_failure() -> None:
    """A call that never reached the bridge lacks everything after the webhook; the finding says so."""
    placed = [record for record in histories.good() if record["event"] == Hop.PLACED]
    hops = {id: one for id, one in judged(placed).items() if id.startswith("call.hop")}
    assert list(hops) == ["call.hop.webhook.received"]
    therefore = hops["call.hop.webhook.received"].evidence["therefore"]
    assert therefore[0] == "webhook.answered"
    assert len(therefore) == len(REPAIR_SHOP.hops) - 1
    assert judged(placed)["call.turns"].status == "skip"


def test_an_interruption_is_not_missed_in_a_call_that_broke_off_before_it() -> None:
    """Without an answer there is nothing to interrupt: one cause, its consequences named with it."""
    broken = histories.without("turn.answered", "barge-in.cleared", "barge-in.truncated")
    hops = {id: one for id, one in judged(broken).items() if id.startswith("call.hop")}
    assert list(hops) == ["call.hop.turn.answered"]
    assert hops["call.hop.turn.answered"].evidence["therefore"] == ["barge-in.cleared", "barge-in.truncated"]


def test_hops_that_wait_for_each_other_are_not_excused() -> None:
    """In a scenario of one's own a circle is possible; what is missing stays a failure."""
    circle = (
        Expected(Hop.CLEARED, 100, Hop.TRUNCATED),
        Expected(Hop.TRUNCATED, 100, Hop.CLEARED),
    )
    scenario = replace(REPAIR_SHOP, hops=circle)
    timeline = read(scenario, histories.without(Hop.CLEARED, Hop.TRUNCATED))
    failed = [one.id for one in judge(scenario, timeline) if one.status == "fail"]
    assert failed == ["call.hop.barge-in.cleared", "call.hop.barge-in.truncated"]


def test_a_late_hop_is_a_failure_with_its_numbers() -> None:
    """The finding tells how long it took and how long it may take."""
    late = histories.changed(Hop.CLEARED, lambda one: {**one, "ts": "2026-11-23T06:20:09.900000Z"})
    finding = judged(late)["call.hop.barge-in.cleared"]
    assert finding.status == "fail"
    assert (finding.evidence["took_ms"], finding.evidence["within_ms"]) == (1409.0, 1000)


@pytest.mark.parametrize(
    ("latency", "status"), [(1800, "ok"), (1801, "warn"), (3000, "warn"), (3001, "fail")]
)
def test_turn_latency_has_two_gates(latency: int, status: str) -> None:
    """Above 1.8 s is a warning, above 3 s a failure."""
    slow = histories.changed(Hop.ANSWERED, lambda one: {**one, "latency_ms": latency})
    assert judged(slow)["call.latency"].status == status


@pytest.mark.parametrize(("ms", "status"), [(690, "ok"), (692, "warn"), (900, "warn")])
def test_falling_silent_has_a_gate(ms: int, status: str) -> None:
    """More than 200 ms from the caller's detected speech (here at 8,491 ms) is a warning."""
    late = histories.changed(Hop.CLEARED, lambda one: {**one, "ts": f"2026-11-23T06:20:08.{ms}000Z"})
    assert judged(late)["call.barge-in"].status == status


@pytest.mark.parametrize(("ms", "status"), [(400.0, "ok"), (401.0, "warn"), (1501.0, "fail")])
def test_falling_silent_is_measured_from_the_callers_first_sound_where_it_is_known(
    ms: float, status: str
) -> None:
    """The recording knows when the caller began; detection's own delay then counts, too."""
    timeline = read(REPAIR_SHOP, histories.good())
    (finding,) = [one for one in judge(REPAIR_SHOP, timeline, yields_ms=[ms]) if one.id == "call.barge-in"]
    assert finding.status == status
    assert f"{ms:.0f} ms after the caller began" in finding.summary


def test_too_few_turns_fail_a_scripted_caller_and_warn_a_person() -> None:
    """A person may say something else than the script."""
    short = [one for one in histories.good() if one.get("turn") != 3 or one["event"] != Hop.ANSWERED]
    assert judged(short)["call.turns"].status == "fail"
    assert judged(short, scripted=False)["call.turns"].status == "warn"


def test_an_answer_without_a_number_fails() -> None:
    """A turn that was not measured is not passed over."""
    bent = histories.changed(Hop.ANSWERED, lambda one: {**one, "latency_ms": None})
    assert judged(bent)["call.turn-unmeasured"].status == "fail"


@pytest.mark.parametrize(("level", "id", "status"), [
    ("ERROR", "call.error.model.lost", "fail"),
    ("WARNING", "call.warning.model.lost", "warn"),
])  # fmt: skip
def test_what_was_logged_as_wrong_is_found(level: str, id: str, status: str) -> None:
    """Errors and warnings in the call's journal are findings, one for each event."""
    entry: dict[str, Any] = {
        **histories.good()[20],
        "level": level,
        "event": "model.lost",
        "msg": "closed with 1011",
    }
    finding = judged([*histories.good(), entry, entry])[id]
    assert finding.status == status
    assert "closed with 1011" in finding.summary
    assert finding.evidence["count"] == 2


def test_at_the_phone_the_ear_decides_how_soon_the_agent_fell_silent() -> None:
    """There the caller's first sound is known, not its detection: 300 ms until silence are good."""
    late = histories.changed(Hop.CLEARED, lambda record: {**record, "ts": "2026-11-23T06:20:08.791000Z"})
    timeline = read(REPAIR_SHOP, late)
    found = {}
    for vantage in get_args(Vantage):
        findings = judge(REPAIR_SHOP, timeline, yields_ms=[300.0], vantage=vantage)
        found[vantage] = next(one.status for one in findings if one.id == "call.barge-in")
    assert found == {"bridge": "warn", "phone": "ok"}
