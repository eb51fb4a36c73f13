"""What the bridge's bench makes of its runs: ratios round by round, the highest level, at least so many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.apps.caller_audio import PRE_ROLL, TURN
from ops.apps.frame_ring import PLACE
from ops.bench.bridge.book import Window
from ops.bench.bridge.figures import figures, notes, table
from ops.bench.bridge.result import FLOOR, OURS, Churn, HangUp, Memory, Outage, Result, Run, Sizes
from ops.bench.figures import Figure

GOOD = Window(5000, 0, 0, 0.5, 2.0, 1.0, 0.8, 0.0)
VERSIONS = {OURS: "this checkout", "node-ws": "8", "fastapi": None, "websockets": "17"}


def run(
    design: str, cpu: float = 0.2, *, calls: int = 100, tls: bool = True, load: float = 0.3, **changes: float
) -> Run:
    return Run(design, calls, tls, replace(GOOD, **changes), cpu, 0.0, load, 0.0)  # type: ignore[arg-type]


def result(*levels: tuple[Run, Run]) -> Result:
    """Two rounds against Node, and levels: floor and ours."""
    made = Result(Sizes(rounds=1, plain=(250,)), VERSIONS)
    made.compared = [
        [run(FLOOR, 0.0), run(OURS, 0.2), run("node-ws", 0.4)],
        [run(OURS, 0.2), run("node-ws", 0.2), run(FLOOR, 0.0)],
    ]
    made.abreast = {"node-ws": [(run(OURS, 0.1, calls=50), run("node-ws", 0.4, calls=50))] * 2}
    made.levels = [[one] for pair in levels for one in pair]
    made.memory = [Memory(OURS, 100, True, 70.0, 50.0), Memory(OURS, 10, False, 5000.0, 50.0)]
    made.hang_ups = [HangUp(OURS, 100, 0), HangUp("node-ws", 100, 7)]
    return made


def found(made: Result) -> dict[str, Figure]:
    return {one.id: one for one in figures(made)}


def level(calls: int, *, tls: bool = True, floor_p99: float = 1.0, **changes: float) -> tuple[Run, Run]:
    return run(FLOOR, calls=calls, tls=False, p99=floor_p99), run(OURS, calls=calls, tls=tls, **changes)


def test_the_worse_of_two_ways_counts() -> None:
    """At once 0.25; in turns 0.5 and 1.0, which gives 0.75 whatever the medians of each are. A peer that is absent
    is not invented."""
    made = result()
    figure = found(made)
    assert figure["bench.cpu-node-ws"].value == 0.75
    assert "50 calls of each at once: 0.120 s against 0.480 s, 0.250" in figure["bench.cpu-node-ws"].note
    assert (
        "each alone in its turn: 0.120 s against 0.180 s, 0.750 (0.500-1.000)"
        in figure["bench.cpu-node-ws"].note
    )
    assert figure["bench.cpu-fastapi"].value is None
    assert figure["bench.call-memory"].value == 70.0
    assert figure["bench.sessions-left"].value == 0
    made.abreast = {"node-ws": [(run(OURS, 0.4, calls=50), run("node-ws", 0.4, calls=50))]}
    assert found(made)["bench.cpu-node-ws"].value == 1.0
    made.abreast = {}
    assert found(made)["bench.cpu-node-ws"].value == 0.75


def test_a_full_core_decides_nothing() -> None:
    """Whoever has too little of it leaves work undone: that way does not count, and without the other one it is not
    known whether the goal is met."""
    made = result()
    made.compared = [[run(OURS, 0.2), run("node-ws", 0.97)], [run(OURS, 0.2), run("node-ws", 0.99)]]
    figure = found(made)["bench.cpu-node-ws"]
    assert figure.value == 0.25
    assert "on a full core, which decides nothing" in figure.note
    made.abreast = {"node-ws": [(run(OURS, 0.5, calls=50), run("node-ws", 0.5, calls=50))]}
    assert found(made)["bench.cpu-node-ws"].value is None
    assert found(made)["bench.cpu-node-ws"].met is None


def test_the_highest_level_counts_up_to_the_first_that_was_not_held() -> None:
    """400 held, 500 lost a frame: 400; that 600 would have been held does not matter."""
    made = result(level(400), level(500, lost=1), level(600))
    figure = found(made)["bench.calls"]
    assert (figure.value, figure.met) == (400, True)
    assert "500 were not held" in figure.note
    assert found(result(level(400, p99=22.0)))["bench.calls"].value == 100  # with which all were compared
    assert found(result())["bench.calls"].value is None


def test_where_the_load_is_late_the_limit_is_its_own() -> None:
    """The report then says at least so many, and so it does at the top of the ladder; where that is below the goal,
    that it is neither met nor missed. The same with a level's p99."""
    late = found(result(level(400), level(500, p99=90.0, late=0.02)))["bench.calls"]
    assert (late.value, late.note.startswith("at least")) == (400, True)
    assert "at least" in found(result(level(400)))["bench.calls"].note
    slow = found(result(level(250, tls=False, late=0.6), level(200, p99=90.0, late=0.02)))
    assert (slow["bench.calls"].value, slow["bench.calls"].met) == (None, None)
    assert slow["bench.calls"].note.startswith("at least 100: at 200 the load itself was late")
    assert slow["bench.added"].value is None
    assert "late (60.0%" in slow["bench.added"].note


def test_a_level_whose_load_was_late_is_not_held_either() -> None:
    """However good its figures look: the bridge was asked for less than that. What counts is the median; a single
    disturbed window decides nothing."""
    figure = found(result(level(400), level(500, late=0.02)))["bench.calls"]
    assert (figure.value, figure.met) == (400, True)
    assert figure.note.startswith("at least: at 500 the load itself was late")
    figure = found(result(level(300), level(400, late=0.02)))["bench.calls"]
    assert (figure.value, figure.note.startswith("at least 300: at 400 the load")) == (None, True)
    made = result()
    fine, disturbed = run(OURS, calls=400), run(OURS, calls=400, late=0.5, load=0.99)
    made.levels = [[run(FLOOR, calls=400)] * 3, [fine, disturbed, fine]]
    assert found(made)["bench.calls"].value == 400
    made.levels[1] = [disturbed, disturbed, fine]
    assert found(made)["bench.calls"].value is None
    lost = run(OURS, calls=400, lost=1)
    made.levels[1] = [lost, fine, disturbed]
    assert "400 were not held" in found(made)["bench.calls"].note
    late_beside = {row["calls"]: row["load: late, core"] for row in table(made) if "p99, ms" in row}
    assert late_beside["400"] == "0.0% (0.0%-50.0%), 30%"


def test_a_full_core_of_the_load_excuses_but_does_not_accuse() -> None:
    """It can only add to the times: what is good all the same is the bridge's, what is bad may be the load's."""
    assert found(result(level(300), level(400, load=0.97)))["bench.calls"].value == 400
    bad = found(result(level(400), level(500, p99=90.0, load=0.97)))["bench.calls"]
    assert bad.note.startswith("at least: at 500 the load itself was late")


def test_frames_of_a_level_on_which_the_load_was_late_are_not_counted() -> None:
    assert found(result(level(400)))["bench.frames-lost"].note.startswith("of 15000,")
    assert found(result(level(400, late=0.02)))["bench.frames-lost"].note.startswith("of 10000,")


def test_added_is_beside_the_floor() -> None:
    """p99 of 250 calls without TLS, less what the load itself shows."""
    figure = found(result(level(250, tls=False, p99=4.0, floor_p99=1.5)))["bench.added"]
    assert figure.value == 2.5


def test_lost_and_crossed_frames_are_outcomes() -> None:
    """One lost at the compared load fails on any machine."""
    made = result()
    made.compared[0][1] = run(OURS, lost=1, crossed=2)
    figure = found(made)
    assert figure["bench.frames-lost"].finding().status == "fail"
    assert figure["bench.frames-crossed"].value == 2


def test_the_table_has_every_design_and_level() -> None:
    """Floor first, ours, the others, then the levels; who is not installed is named."""
    rows = table(result(level(250, tls=False)))
    names = [row["design"] for row in rows]
    assert names == ["floor", "trunkline", "node-ws 8", "trunkline", "fastapi"]
    assert rows[-1]["calls"] == "absent"
    assert rows[3]["p99 added, ms"] == "1.00"
    told = " ".join(notes(result()))
    for word in ("watermark", "nobody speaks for 0.60 s", "300 messages", "about 210"):
        assert word in told, word
    assert f"{(TURN - PRE_ROLL) * PLACE / 1000:.0f} kB more" in told


def test_growth_is_the_slope_of_the_second_half() -> None:
    """What fills up at first does not count; the slope does, and only a whole hour can meet the goal."""
    looks = tuple((float(at), 50_000.0 + min(at, 1800) * 10 + max(0, at - 1800)) for at in range(0, 3601, 60))
    made = result()
    made.churn = Churn(3600, 50, 18_000, 0, 2, looks)
    figure = found(made)
    assert made.churn.kb_an_hour == pytest.approx(3600 * 1.024)
    assert figure["bench.churn"].value == pytest.approx(100 * 1800 / 68_900)
    assert not figure["bench.churn"].met
    assert figure["bench.churn-left"].finding().status == "fail"
    alone = Result(made.sizes, made.versions, churn=made.churn)
    assert set(found(alone)) == {"bench.churn", "bench.churn-failed", "bench.churn-left"}
    assert not any("watermark" in note for note in notes(alone))
    made.churn = replace(made.churn, seconds=60)
    assert found(made)["bench.churn"].value is None


def test_what_broke_is_beside_its_goal() -> None:
    """p95 of each; a call that is not mended is lost; where Twilio ends the calls none counts as ours."""
    made = result()
    made.outages = [
        Outage("reset", 20, 0, (0.1,) * 18 + (0.9, 3.0)),
        Outage("stall", 20, 1, (4.6,) * 19),
        Outage("kill", 20, 0, (1.3,) * 20),
        Outage("kill, no resume", 20, 20, (), left=1),
        Outage("barge-in", 20, 2, (0.004,) * 19),
    ]
    figure = found(made)
    assert [figure[f"bench.{name}"].value for name in ("reset", "stall", "kill")] == [0.9, 4.6, 1.3]
    assert figure["bench.calls-lost"].value == 1
    assert figure["bench.kill-left"].finding().status == "fail"
    assert (figure["bench.barge-in"].value, "within 4 ms" in figure["bench.barge-in"].note) == (2, True)
    assert found(result())["bench.reset"].value is None
