"""One real, tiny run: our bridge and a relay, over TLS, two calls for half a second."""

from __future__ import annotations

import os

from ops.bench.bridge import run
from ops.bench.bridge.figures import figures, table
from ops.bench.bridge.result import CHURN, FLOOR, OURS, Sizes


def test_two_calls_from_end_to_end() -> None:
    """Frames come back through each design, in their own calls; nothing is left open or pinned."""
    cores = os.sched_getaffinity(0)
    sizes = Sizes(
        rounds=1, answer=0.5, warm_up=0.1, few=1, compared=2, abreast=2, plain=(), tls=(), churn=0, outage=0
    )
    result = run.measure(sizes, (OURS, "websockets"), lambda _: None)
    runs = {one.design: one for one in result.compared[0]}
    assert not result.trouble
    assert set(runs) == {FLOOR, OURS, "websockets"}
    for one in runs.values():
        assert one.window.frames >= 20
        assert (one.window.lost, one.window.crossed) == (0, 0)
        assert 0 < one.window.p50 <= one.window.p99
    assert any(one.cpu > 0 for one in runs.values())  # counted in ticks of 10 ms
    assert [one.left for one in result.hang_ups] == [0, 0]
    ((ours, other),) = result.abreast["websockets"]
    assert (ours.design, other.design) == (OURS, "websockets")
    assert min(ours.window.frames, other.window.frames) >= 20
    assert {one.id: one.value for one in figures(result)}["bench.frames-lost"] == 0
    assert len(table(result)) == 3
    assert os.sched_getaffinity(0) == cores


def test_calls_that_come_and_go_alone() -> None:
    """`--only churn`: calls of ours and the bridge's memory meanwhile, and nothing else."""
    result = run.measure(Sizes(churn=2.0, churning=2), (CHURN,), lambda _: None)
    assert result.churn is not None
    assert result.churn.calls >= 2
    assert (result.churn.failed, result.churn.left, result.compared) == (0, 0, [])
    assert {one.id: one.value for one in figures(result)}["bench.churn-failed"] == 0
