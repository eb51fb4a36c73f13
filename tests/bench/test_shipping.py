"""What the deploy bench says of what it measured."""

from __future__ import annotations

import pytest

from ops.bench.shipping import figures
from ops.bench.shipping.result import FIRST, OURS, PARTS, SAME, SLOT_SAME, Cut, Result

WHOLE = Cut(0.5, 4, 7.0, "old", True, converged=True)


@pytest.mark.parametrize(
    "bad",
    [
        Cut(0.5, 4, 7.0, "a mix: ['x']", True, converged=True),
        Cut(0.5, 4, 7.0, "old", False, converged=True),
        Cut(0.5, 4, 7.0, "old", True, converged=False),
        Cut(0.5, 4, 7.0, "new", True, converged=True, left=("lock.json",)),
    ],
)
def test_a_cut_is_well_only_if_all_is(bad: Cut) -> None:
    """Old or new, mended by the same command, and nothing left: anything else counts, on any machine."""
    cuts = {one.id: one for one in figures.figures(Result(("cuts",), cuts=[WHOLE, bad, WHOLE]))}[
        "bench.deploy-cuts"
    ]
    assert (cuts.value, cuts.finding().status) == (1, "fail")
    well = figures.figures(Result(("cuts",), cuts=[WHOLE]))[-1]
    assert (well.value, well.finding().status) == (0, "ok")
    assert "of 1 at as many points; 1 deploys broke, 0 behind the switch" in well.note


def test_what_was_not_measured_is_not_met() -> None:
    """Without a run there is no figure, and no row."""
    assert {one.met for one in figures.figures(Result(PARTS))} == {None}
    assert figures.table(Result()) == []


def test_times_stand_beside_their_goals() -> None:
    """The median counts; the table shows the range."""
    result = Result(
        PARTS, {"pyinfra 1": {SAME: [4.0]}, OURS: {FIRST: [4.5], SAME: [2.9, 3.2, 3.1], SLOT_SAME: [3.1]}}
    )
    found = {one.id: one for one in figures.figures(result)}
    assert found["bench.deploy-repeat"].met is False
    assert figures.table(result) == [
        {"seconds": FIRST, OURS: "4.50", "pyinfra 1": "–"},
        {"seconds": SAME, OURS: "3.10 (2.90-3.20)", "pyinfra 1": "4.00"},
        {"seconds": SLOT_SAME, OURS: "3.10", "pyinfra 1": "–"},
    ]
