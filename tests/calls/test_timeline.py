from __future__ import annotations

import random
from typing import Any

import pytest

from ops.calls.scenario import REPAIR_SHOP
from ops.calls.timeline import moment, percentile, read
from ops.journal.hops import Hop
from tests.calls import histories


def test_a_healthy_call_is_read_completely() -> None:
    """Hops with their times, turns with numbers, the transcript in order, the interruption's stop."""
    timeline = read(REPAIR_SHOP, histories.good())
    assert {row.status for row in timeline.hops} == {"ok"}
    assert timeline.hops[0].name == "call.placed"
    assert timeline.hops[0].at_ms == 0.0
    assert [(turn.index, turn.latency_ms, turn.barge_in) for turn in timeline.turns] == [
        (1, 640.0, False),
        (2, 655.5, False),
        (3, 652.0, True),
    ]
    assert [said.speaker for said in timeline.said][:3] == ["agent", "caller", "agent"]
    assert timeline.stops_ms == (3.0,)
    assert timeline.length_ms == 12_320.0
    assert timeline.troubles == ()


def test_the_order_of_the_records_does_not_matter() -> None:
    """Records from several writers may be shuffled; their times decide."""
    shuffled = histories.good()
    random.Random(7).shuffle(shuffled)
    assert read(REPAIR_SHOP, shuffled).hops == read(REPAIR_SHOP, histories.good()).hops
    assert read(REPAIR_SHOP, shuffled).turns == read(REPAIR_SHOP, histories.good()).turns


def test_a_hop_is_late_when_it_came_too_long_after_its_reference() -> None:
    """The reference is the last one before the hop: the interruption's onset, not the first speech."""
    late = histories.changed(
        Hop.CLEARED, lambda record: {**record, "ts": "2026-11-23T06:20:09.900000Z"}
    )  # onset at 8,491 ms
    row = next(row for row in read(REPAIR_SHOP, late).hops if row.name == Hop.CLEARED)
    assert (row.status, row.took_ms) == ("late", 1409.0)


@pytest.mark.parametrize("latency", [None, "650", True, float("nan"), float("inf")])
def test_an_answer_without_a_number_is_no_turn(latency: Any) -> None:
    """Every turn that is told has a number; the others are counted."""
    bent = histories.changed(Hop.ANSWERED, lambda record: {**record, "latency_ms": latency})
    timeline = read(REPAIR_SHOP, bent)
    assert timeline.turns == ()
    assert timeline.unmeasured == 3


def test_records_without_a_readable_time_are_left_out() -> None:
    """A foreign or damaged record does not end the reading."""
    odd: list[dict[str, Any]] = [{}, {"ts": None}, {"ts": "yesterday"}, {"ts": 5, "event": "call.ended"}]
    assert read(REPAIR_SHOP, [*odd, *histories.good()]).hops == read(REPAIR_SHOP, histories.good()).hops
    assert [moment(record) for record in odd] == [None] * 4


def test_an_empty_journal_has_every_hop_missing() -> None:
    """No record at all is a call of which nothing was seen."""
    timeline = read(REPAIR_SHOP, [])
    assert {row.status for row in timeline.hops} == {"missing"}
    assert timeline.length_ms == 0.0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([5.0], 0.95, 5.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([float(n) for n in range(1, 101)], 0.95, 95.0)],
)
def test_percentiles_are_exact(values: list[float], share: float, expected: float) -> None:
    """Nearest rank, so the answer is one of the values."""
    assert percentile(values, share) == expected
