"""What the runs of the simulators' bench say: figures beside their goals, a table, how to read it. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ops.bench.calls import Result, Run
from ops.bench.figures import Figure, middle, shown

BUSY = 0.02  # share of the time in which a simulator had to wait for others


def figures(result: Result) -> list[Figure]:
    """What was measured beside the goals."""
    return [*_paced(result), _loaded(result), *_costs(result)]


def _paced(result: Result) -> list[Figure]:
    run, calls = result.paced, result.sizes.calls
    if run is None or run.pacing is None:
        what = f"frame pacing error p99, {calls} calls"
        return [Figure("bench.pacing", what, None, 2, "ms", "no frame arrived")]
    short = "the goal is for 600 s: --long" if run.seconds < 600 else ""
    worst = "no mark came back" if run.echo_worst_ms is None else f"worst {run.echo_worst_ms:.1f} ms"
    marks = f"{run.echoes} marks, {worst}"
    echo = "mark echo beside the computed play-out (±), p99"
    return [
        Figure(
            "bench.pacing", f"frame pacing error p99, {calls} calls", run.pacing.p99_ms, 2, "ms", _how(run)
        ),
        Figure("bench.drift", f"drift over {shown(run.seconds, 's')}", run.pacing.drift_ms, 10, "ms", short),
        Figure("bench.marks", echo, run.echo_p99_ms, 5, "ms", marks),
        Figure("bench.frames-lost", "frames that never came", run.frames_lost, 0),
        Figure("bench.marks-lost", "marks that never came back", run.marks_lost, 0),
    ]


def _loaded(result: Result) -> Figure:
    run, what = result.loaded, f"frame pacing error p99, {result.sizes.many} calls from one core"
    if run is None or run.pacing is None:
        return Figure("bench.load", what, None, 5, "ms", "no frame arrived")
    if not run.pinned:
        return Figure("bench.load", what, None, 5, "ms", "the measuring end would share the only core")
    return Figure("bench.load", what, run.pacing.p99_ms, 5, "ms", _how(run))


def _costs(result: Result) -> list[Figure]:
    cold = f"median of {len(result.cold_ms)}"
    idle = f"of {result.sizes.idle} calls"
    return [
        Figure("bench.cold-start", "cold start of all simulators", middle(result.cold_ms), 600, "ms", cold),
        Figure("bench.idle-call", "memory of an idle call", result.idle_kb, 100, "kB", idle),
    ]


def table(result: Result) -> list[dict[str, Any]]:
    """The runs with calls, for people."""
    return [_row(run) for run in (result.paced, result.loaded) if run]


def _row(run: Run) -> dict[str, Any]:
    found = run.pacing
    even = f"{found.p50_ms:.2f} / {found.p99_ms:.2f} / {found.worst_ms:.1f}" if found else "–"
    marks = "–"
    if run.echo_p50_ms is not None:
        marks = f"{run.echo_p50_ms:+.2f} / {run.echo_p99_ms:.2f} / {run.echo_worst_ms:.1f}"
    return {
        "calls": str(run.calls) + (", simulator on one core" if run.pinned else ""),
        "seconds": f"{run.seconds:g}",
        "frames": str(found.frames if found else 0),
        "lost": str(run.frames_lost),
        "pacing error p50 / p99 / worst, ms": even,
        "drift, ms": f"{found.drift_ms:.2f}" if found else "–",
        "marks": str(run.echoes),
        "mark echo median / p99 (±) / worst (±), ms": marks,
        "lag of the measuring end p99, ms": f"{run.lag_p99_ms:.2f}",
        "CPU simulator / measuring end": f"{run.cpu:.0%} / {run.sink_cpu:.0%}",
        "waited for a core": f"{run.waited:.0%} / {run.sink_waited:.0%}",
    }


def notes() -> list[str]:
    """What a reader of the table must know."""
    return [
        "Pacing error: how late a frame arrives against an even 20 ms clock through its call's earliest "
        "frame, the way through the loopback and the lag of the measuring end included.",
        "On every call the caller speaks and pauses, and every 2 s the agent sends two pieces of speech with "
        "a mark behind each.",
        "Mark echo: when the mark came back, beside the end of its audio computed from when it was sent.",
        "CPU is of one core. Whoever waited for a core was disturbed by other programs of the machine.",
        "An idle call has its stream open, and nobody speaks.",
    ]


def raw(result: Result) -> dict[str, Any]:
    """Everything measured, as plain data."""
    return asdict(result)


def _how(run: Run) -> str:
    busy = f"; others took its core for {run.waited:.0%} of the time" if run.waited > BUSY else ""
    return f"lag of the measuring end p99 {run.lag_p99_ms:.2f} ms, CPU of the simulator {run.cpu:.0%}{busy}"
