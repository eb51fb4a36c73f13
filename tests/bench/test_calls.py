"""What the bench of simulators makes of its measurements; and one real, tiny run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ops.bench import call_figures, calls
from ops.bench.calls import Result, Run, Sizes
from ops.bench.pacing import Pacing

EVEN = Pacing(frames=1000, p50_ms=0.4, p99_ms=1.5, worst_ms=9.0, drift_ms=0.2)
RUN = Run(50, 30, EVEN, 100, 0.3, 1.2, 6.0, 0, 0, 0.1, 0.2, 0.1, 0.0, 0.0, pinned=False)


def test_only_a_simulator_that_had_one_core_counts_as_load() -> None:
    """The load's goal is for one core: where that was not so it is not measured."""
    result = Result(Sizes(), [500.0], RUN, RUN, 80.0)
    found = {one.id: one for one in call_figures.figures(result)}
    assert found["bench.load"].value is None
    assert found["bench.pacing"].value == 1.5
    assert found["bench.drift"].note  # 30 s are not the goal's 600


def test_no_frame_is_no_figure() -> None:
    """Where nothing arrived nothing is met."""
    found = call_figures.figures(Result(Sizes()))
    assert all(one.met is None for one in found)


def test_simulators_alone_are_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a checkout whose folder is named after them: each program's path is below it."""
    monkeypatch.setattr(sys, "executable", "/home/somebody/simulators/.venv/bin/python")
    _, services = calls._programs(tmp_path)
    assert [one.name for one in services] == ["twilio-simulator", "openai-simulator", "ngrok"]


def test_two_calls_from_end_to_end() -> None:
    """Real simulators, real calls: frames arrive evenly numbered, marks come back, nobody is left."""
    sizes = Sizes(calls=2, seconds=1.2, many=2, many_seconds=0.2, idle=2, rounds=1, settle=0.1)
    result = calls.measure(sizes, lambda _: None)
    assert result.paced is not None
    assert result.paced.pacing is not None
    assert result.paced.calls == 2
    assert result.paced.pacing.frames >= 50
    assert (result.paced.frames_lost, result.paced.marks_lost) == (0, 0)
    assert result.paced.echoes >= 2
    assert result.paced.echo_p99_ms is not None
    assert result.idle_kb is not None
    assert result.cold_ms[0] is not None
    assert {one.id for one in call_figures.figures(result)} >= {
        "bench.pacing",
        "bench.marks",
        "bench.load",
    }
