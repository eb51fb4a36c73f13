"""What the runs of the bridge's bench say: figures beside their goals, a table, how to read it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from ops.bench.bridge.book import HUSH, SETTLE
from ops.bench.bridge.result import FLOOR, FULL, OURS, RARE_MARKS, Result, Run, added, held, on_pace
from ops.bench.figures import Figure, middle, shown

AN_HOUR = 3600.0
MADE_ITSELF = (
    "While calls come and go, memory is what the bridge's processes have made themselves: pages of files, "
    "which others share and leave, are not counted."
)


def figures(result: Result) -> list[Figure]:
    """What was measured of ours beside the goals."""
    if OURS not in result.versions:
        return []
    if _churn_alone(result):
        return _churned(result)
    return [
        *_costs(result),
        _most(result),
        *_levels(result),
        *_outcomes(result),
        *_churned(result),
        *_mended(result),
    ]


def _churn_alone(result: Result) -> bool:
    return result.churn is not None and not result.compared


def _costs(result: Result) -> list[Figure]:
    calls = result.sizes.compared
    what = "CPU per call-minute, TLS to the model, all features on, against "
    found = []
    for peer, goal in (("node-ws", 0.65), ("fastapi", 0.4)):
        ways = _compared(result, peer)
        share = max((way.share for way in ways if not way.full), default=None)
        how = "; ".join(way.told for way in ways) or f"{peer} was not measured"
        found.append(Figure(f"bench.cpu-{peer}", what + peer, share, goal, "×", how))
    kb = [one.kb for one in result.memory if one.design == OURS and one.tls and one.calls == calls]
    how = f"median of {len(kb)}" if kb else "not tried"
    memory = Figure("bench.call-memory", "memory of a call, TLS to the model", middle(kb), 75, "kB", how)
    return [*found, memory]


@dataclass(frozen=True)
class Way:
    """Our cost as a share of a peer's in one way of measuring it, and a word about it.

    Where the core was `full`, work was left undone by whoever had too little of it, so that decides nothing.
    """

    share: float
    told: str
    full: bool


def _compared(result: Result, peer: str) -> list[Way]:
    """Both ways, as far as they were measured."""
    found = []
    for calls, how, pairs, shared in (
        (result.sizes.abreast, "calls of each at once", result.abreast.get(peer, ()), True),
        (result.sizes.compared, "calls, each alone in its turn", _in_turns(result.compared, peer), False),
    ):
        if ratios := [one.cpu_call_minute / other.cpu_call_minute for one, other in pairs if other.cpu]:
            ours, theirs = (middle(pair[side].cpu_call_minute for pair in pairs) for side in (0, 1))
            full = median(other.cpu + one.cpu * shared for one, other in pairs) > FULL
            void = ", on a full core, which decides nothing" if full else ""
            told = f"{calls} {how}: {_s(ours)} against {_s(theirs)}, {_spread(ratios)}{void}"
            found.append(Way(median(ratios), told, full))
    return found


def _in_turns(rounds: Iterable[Sequence[Run]], peer: str) -> list[tuple[Run, Run]]:
    """Ours and a peer, round by round: both ran within the same minute."""
    named = [{run.design: run for run in runs} for runs in rounds]
    return [(runs[OURS], runs[peer]) for runs in named if OURS in runs and peer in runs]


def _most(result: Result) -> Figure:
    """The highest level that was held over TLS, and what stopped us."""
    what = "calls on one core, TLS to the model, p99 added under 20 ms, none lost"
    goal = 400
    tried = [(floor, runs) for floor, runs in _pairs(result) if runs and runs[0].tls]
    if not tried:
        return Figure("bench.calls", what, None, goal, "", "no level was tried", at_least=True)
    if compared := _of(result, OURS):
        tried.insert(0, (_of(result, FLOOR), compared))
    most, known = 0, True
    for floor, runs in tried:
        if held(runs, floor):
            most, why = runs[0].calls, "no higher level was tried: at least so many"
            continue
        if late := _late(runs):
            known = most >= goal  # else neither met nor missed
            why = f"at least{'' if known else f' {most}'}: at {runs[0].calls} {late}"
        else:
            why = f"{runs[0].calls} were not held"
        break
    why += "" if result.pinned else "; bridge and load shared all cores"
    return Figure("bench.calls", what, most if known else None, goal, "", why, at_least=True)


def _late(runs: Sequence[Run]) -> str:
    """What is said where the load could not keep its own pace: its limit was reached, not the bridge's."""
    if on_pace(runs):
        return ""
    late, core = median(run.window.late for run in runs), median(run.load_cpu for run in runs)
    return f"the load itself was late ({late:.1%} of its frames, its core at {core:.0%})"


def _levels(result: Result) -> list[Figure]:
    found = []
    for floor, runs in _pairs(result):
        if not runs or runs[0].tls or runs[0].calls != max(result.sizes.plain):
            continue
        how = f"{_p99(runs)} against {_p99(floor)} of the floor, medians of {len(runs)}"
        what = f"p99 added, {runs[0].calls} calls, no TLS"
        late = _late(runs)
        found.append(Figure("bench.added", what, None if late else added(runs, floor), 5, "ms", late or how))
    return found


def _outcomes(result: Result) -> list[Figure]:
    mine = [run for runs in result.compared for run in runs if run.design == OURS]
    mine += [run for floor, runs in _pairs(result) if held(runs, floor) for run in runs]
    left = [one.left for one in result.hang_ups if one.design == OURS]
    frames = sum(run.window.frames for run in mine)
    how = f"of {frames}, in the compared rounds and on every level held" if mine else "not tried"
    lost, crossed = (sum(get(run) for run in mine) if mine else None for get in (_lost, _crossed))
    none = f"after {len(left)} hang-ups" if left else "not tried"
    return [
        Figure("bench.frames-lost", "frames lost", lost, 0, "", how, outcome=True),
        Figure("bench.frames-crossed", "frames in another call, or out of order", crossed, 0, "", how,
               outcome=True),
        Figure("bench.sessions-left", "model sessions open 2 s after the hang-up",
               max(left, default=None), 0, "", none, outcome=True),
    ]  # fmt: skip


def _churned(result: Result) -> list[Figure]:
    """Memory while calls come and go."""
    what = "memory growth in the second half of an hour in which calls come and go"
    found, goal = result.churn, 1
    if found is None or found.growth is None or found.kb_an_hour is None:
        return [Figure("bench.churn", what, None, goal, "%", "not tried")]
    how = f"{shown(found.seconds, 's')}, {found.calls} calls, {found.at_once} at once"
    if found.seconds < AN_HOUR:  # too short for a slope that means anything
        slope = Figure(
            "bench.churn", what, None, goal, "%", f"{how}: the goal is for an hour, --only churn --long"
        )
    else:
        slope = Figure(
            "bench.churn", what, found.growth * 100, goal, "%", f"{how}; {found.kb_an_hour:+.0f} kB an hour"
        )
    return [
        slope,
        Figure("bench.churn-failed", "calls that failed meanwhile", found.failed, 0, "", how, outcome=True),
        Figure("bench.churn-left", "model sessions open after the last of them", found.left, 0, "", how,
               outcome=True),
    ]  # fmt: skip


def _mended(result: Result) -> list[Figure]:
    """What calls lived through."""
    outages = {one.name: one for one in result.outages}
    found = []
    for name, what, goal in (
        ("reset", "every model session reset: until the caller hears the next one, p95", 1),
        ("stall", "model silent: until that is noticed and another session opens, p95", 5),
        ("kill", "kill -9 of the bridge: until the phone gets the agent's voice again, p95", 3),
    ):
        one = outages.get(name)
        how = "not tried" if one is None else f"{one.calls} calls, worst {max(one.seconds, default=0):.2f} s"
        found.append(Figure(f"bench.{name}", what, one.p95 if one else None, goal, "s", how))
    tried = [outages[name] for name in ("reset", "stall", "kill") if name in outages]
    how = " + ".join(f"{one.calls} {one.name}" for one in tried) or "not tried"
    lost = sum(one.lost for one in tried) if tried else None
    ended = outages.get("kill, no resume")
    assumed = (
        "not tried" if ended is None else f"then {ended.lost} of {ended.calls} calls are lost, by assumption"
    )
    barged = outages.get("barge-in")
    stopped = "not tried"
    if barged is not None:
        worst = max(barged.seconds, default=0.0)
        stopped = f"of {barged.calls} at once; the phones are told within {worst * 1000:.0f} ms"
    return [
        *found,
        Figure("bench.barge-in", "interruptions without a clear, or with a truncate that is refused",
               barged.lost if barged else None, 0, "", stopped, outcome=True),
        Figure("bench.calls-lost", "calls lost by that", lost, 0, "", how, outcome=True),
        Figure("bench.kill-left", "kill -9 where Twilio ends such calls: model sessions left open",
               ended.left if ended else None, 0, "", assumed, outcome=True),
    ]  # fmt: skip


def table(result: Result) -> list[dict[str, Any]]:
    """For people: the designs side by side, then ours level by level."""
    rows = [_row(result, one) for one in _by_design(result)]
    rows += [_row(result, runs, floor) for floor, runs in _pairs(result) if runs]
    absent = [name for name, version in result.versions.items() if version is None]
    return rows + [{"design": name, "calls": "absent"} for name in absent]


def _by_design(result: Result) -> list[list[Run]]:
    names = list(dict.fromkeys(run.design for runs in result.compared for run in runs))
    names.sort(key=lambda name: (name != FLOOR, name != OURS))
    return [_of(result, name) for name in names]


def _of(result: Result, design: str) -> list[Run]:
    """What was measured of a design where all were compared."""
    return [run for runs in result.compared for run in runs if run.design == design]


def _row(result: Result, runs: Sequence[Run], floor: Sequence[Run] = ()) -> dict[str, Any]:
    first = runs[0]
    version = result.versions.get(first.design)
    below = floor or _of(result, FLOOR)
    more = added(runs, below) if first.design != FLOOR else None
    kb = [
        (one.kb, one.whole_mib)
        for one in result.memory
        if (one.design, one.calls, one.tls) == (first.design, first.calls, first.tls)
    ]
    return {
        "design": first.design + (f" {version}" if version not in (None, "this checkout") else ""),
        "calls": str(first.calls),
        "to the model": "–" if first.design == FLOOR else "TLS" if first.tls else "plain",
        "CPU-s per call-minute": "–" if first.design == FLOOR else _spread([r.cpu_call_minute for r in runs]),
        "core": "–" if first.design == FLOOR else f"{middle(r.cpu for r in runs):.0%}",
        "p50, ms": f"{middle(r.window.p50 for r in runs):.2f}",
        "p99, ms": _spread([r.window.p99 for r in runs]),
        "p99 added, ms": "–" if more is None else f"{more:.2f}",
        "frames": str(sum(r.window.frames for r in runs)),
        "lost": str(sum(map(_lost, runs))),
        "kB a call": f"{middle(one for one, _ in kb):.0f}" if kb else "–",
        "MiB in all": f"{middle(one for _, one in kb):.0f}" if kb else "–",
        "load: late, core": f"{_late_frames(runs)}, {middle(r.load_cpu for r in runs):.0%}",
        "waited for a core": f"{max(r.waited for r in runs):.0%}, {max(r.load_waited for r in runs):.0%}",
    }


def notes(result: Result) -> list[str]:
    """What a reader of the table must know."""
    if _churn_alone(result):
        return [
            "Each call lasts 2 to 12 s, with TLS to the model and speech both ways; every other one ends "
            "without a word. Growth is the slope of the second half (least squares) over the memory in it.",
            MADE_ITSELF,
        ]
    sizes = result.sizes
    apart = "The bridge has one core, the load (callers and model) another."
    found = [
        "Each call: 50 frames a second up, the model echoes each as a delta, the bridge sends it on. Relays "
        "set a mark behind each, as the public samples do, Trunkline one for each fifth of a second; all "
        "come back. So a relay reads and writes about 300 messages in a second of a call, Trunkline about "
        f"210: a part of the ratio is that. {RARE_MARKS}, asked for by --only, sets as few as Trunkline. "
        + (apart if result.pinned else "Bridge and load share all cores."),
        "Each frame bears a watermark in its audio; p50 and p99 are the times from the phone, through bridge "
        "and model, back to the phone, on one clock. The floor is the same load with no bridge between.",
        f"Windows of {shown(sizes.seconds, 's')} after a warm-up, of {shown(sizes.answer, 's')} where CPU is "
        f"compared; figures are medians (least-most) of {sizes.rounds}. Before each nobody speaks for "
        f"{shown(HUSH, 's')}, so that what a bridge holds back is played; then all speak for "
        f"{shown(SETTLE, 's')} before frames count. The CPU beside that of a relay is measured twice: both "
        "at once, on the same core and under the same load, where what disturbs one disturbs the other; and "
        "each alone on the core, in turns; all are started anew for each round. The figure is the worse of "
        "both medians, without one in which the core was full: work was then left undone. The table is of "
        "the turns.",
        "Trunkline runs as in the stack: signed webhook and upgrade, ticket, journal, marks, pacing, "
        "metrics; every 5 s an answer ends with transcript and usage. The relays have none of that.",
        "Memory is measured with no caller's turn open: while a caller speaks, the bridge keeps up to ten "
        "seconds of the audio, up to 97 kB more.",
        "Frames of the load that leave more than 10 ms late are counted, and shown beside the use of its "
        "core: times count from when a frame really left, so that lateness is not in them. Where more than "
        "1 % are late (median), a level is neither held nor missed: the limit found is the load's own. So it "
        "is where a level was not held and the core was full: that can only add to the times. Who waited for "
        "a core was disturbed by others.",
    ]
    if result.churn:
        found.append(MADE_ITSELF)
    if result.outages:
        found.append(
            "Interruption, reset and silence are the echo model's own; after a reset the caller hears the "
            "new session's echo, which begins with the last second before it. kill -9: of the process with "
            "the callers' sockets, without TLS; the phone is the simulator of Twilio, one second of it is "
            "the pause in our TwiML. What Twilio does after an abrupt loss of a stream is not documented: we "
            "assume that it goes on with the TwiML; both are measured."
        )
    for peer in result.abreast:
        told = "; ".join(way.told for way in _compared(result, peer))
        found.append(f"CPU of Trunkline beside {peer}: {told}.")
    return found + [f"Not measured: {one}" for one in result.trouble]


def raw(result: Result) -> dict[str, Any]:
    """Everything measured, as plain data."""
    return asdict(result)


def _pairs(result: Result) -> list[tuple[list[Run], list[Run]]]:
    """Floor and ours, level by level."""
    return list(zip(result.levels[::2], result.levels[1::2], strict=True))


def _lost(run: Run) -> int:
    return run.window.lost


def _crossed(run: Run) -> int:
    return run.window.crossed


def _p99(runs: Sequence[Run]) -> str:
    value = middle(run.window.p99 for run in runs)
    return "nothing" if value is None else f"{value:.2f} ms"


def _s(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3f} s"


def _late_frames(runs: Sequence[Run]) -> str:
    shares = [run.window.late for run in runs]
    return f"{middle(shares):.1%} ({min(shares):.1%}-{max(shares):.1%})"


def _spread(values: Sequence[float]) -> str:
    return f"{middle(values):.3f} ({min(values):.3f}-{max(values):.3f})" if values else "–"
