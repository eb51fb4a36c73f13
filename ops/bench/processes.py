"""`inv bench processes`: every supervisor that is here, the same three services, the tools taking turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from compileall import compile_dir
from dataclasses import dataclass, field
from typing import Any

from ops.bench import install, trials
from ops.bench.figures import Figure, middle, spread
from ops.bench.stage import Stage, stage
from ops.bench.tools import CHECKOUT, NAMES, Tool, tools
from ops.bench.trials import KINDS, Crash, Times
from ops.errors import OpsError

ROUNDS = 5
REPEATS = 2  # of the tests whose outcome counts and not their time
OURS = "trunkline"
TO_BEAT = ("dekit", "pm2")  # as they come: the two whose start means to return when all is ready


@dataclass
class Row:
    """What was measured of one tool."""

    tool: Tool
    times: list[Times] = field(default_factory=list)
    left: list[dict[str, int]] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)


@dataclass
class Result:
    """All rows, and what belongs to no tool alone; times in ms."""

    rows: dict[str, Row] = field(default_factory=dict)
    listening: list[float | None] = field(default_factory=list)  # bare exec → listening
    inside: list[tuple[float, float]] = field(default_factory=list)  # our start and stop without interpreter


class UnknownTool(OpsError):
    """`--only` names a tool that does not exist."""

    exit_code = 2


def measure(
    *, rounds: int, only: Sequence[str], progress: Callable[[str], None], outcomes: bool = True
) -> Result:
    """Run all tools in turn; `only` names some of them, without `outcomes` only times are taken. Ends
    everything it started, also when it is interrupted. Raises OpsError."""
    folder = install.cache()
    compile_dir(CHECKOUT / "ops", quiet=1)  # as installing has done it for the others
    known = {tool.name for tool in tools(folder, {})}
    if unknown := [name for name in only if name not in known]:
        raise UnknownTool(
            f"There is no tool {', '.join(unknown)}.", fix=f"choose from: {', '.join(sorted(known))}"
        )
    chosen = [
        tool
        for tool in tools(folder, install.installed(folder, install.SUPERVISORS))
        if not only or tool.name in only
    ]
    result = Result({tool.name: Row(tool) for tool in chosen})
    for tool in chosen:
        if tool.version is None:
            progress(f"{tool.name} is not installed here and is left out; --install installs it")
    present = [tool for tool in chosen if tool.version is not None]
    with stage() as here:
        for number in range(rounds):
            turn = number % max(1, len(present))
            for tool in (*present[turn:], *present[:turn]):
                progress(f"round {number + 1} of {rounds}: {tool.name}")
                _one(here, tool, result, outcomes=outcomes and number < REPEATS)
    return result


def _one(here: Stage, tool: Tool, result: Result, *, outcomes: bool) -> None:
    row = result.rows[tool.name]
    row.times += trials.times(here, tool)
    if not tool.supervises:
        result.listening.append(trials.exec_to_listening(here, tool))
    elif outcomes:
        row.left.append(trials.leaves(here, tool))
        found = trials.crash(here, tool)
        if found is not None:
            row.crashes.append(found)
    if tool.name == OURS:
        result.inside.append(trials.inside(here, tool))


def figures(result: Result) -> list[Figure]:
    """Ours beside the goals."""
    row = result.rows.get(OURS)
    if row is None or not row.times:
        return []
    start, stop = middle(one.start_ms for one in row.times), middle(one.stop_ms for one in row.times)
    back, bare = middle(one.again_ms for one in row.times), middle(result.listening)
    peers = {
        name: middle(t.start_ms for t in result.rows[name].times) for name in TO_BEAT if name in result.rows
    }
    known = {name: ms for name, ms in peers.items() if ms}
    fastest = min(known, key=lambda name: known[name]) if known else None
    promised = [one for one in row.times if one.return_ms is not None and not one.trouble]
    missing = max((len(NAMES) - (one.ready or 0) for one in promised), default=None)
    troubles = [one.trouble for one in row.times if one.trouble]
    inside = [middle(pair[part] for pair in result.inside) for part in (0, 1)]
    pss, alone = middle(one.pss_mib for one in row.times), "without interpreter and command line"
    return [
        Figure(
            "bench.start", "start, against the faster of " + " and ".join(TO_BEAT),
            None if start is None or fastest is None else start / known[fastest], 0.6, "×",
            f"{_ms(start)} against {_ms(known[fastest])} of {fastest}; {_ms(inside[0])} {alone}"
            if fastest else "neither was measured",
        ),
        Figure("bench.start-failed", "starts that failed", len(troubles), 0, note=" / ".join(troubles)),
        Figure("bench.start-ready", "services that do not answer when start has returned", missing, 0,
               note="" if promised else "no start succeeded", outcome=True),
        Figure(
            "bench.restart", "kill -9 of a service until it answers, beyond bare exec to listening",
            None if back is None or bare is None else back - bare, 60, "ms",
            f"{_ms(back)}, bare {_ms(bare)}" if bare is not None else "the bare service was not measured",
        ),
        Figure("bench.stop", "full stop", stop, 250, "ms", f"{_ms(inside[1])} {alone}"),
        Figure("bench.memory", "memory of the supervisor (PSS)", pss, 25, "MiB"),
        *_outcomes(row),
    ]  # fmt: skip


def _outcomes(row: Row) -> Iterable[Figure]:
    none = "" if row.left else "not tried"
    no_crash = "" if row.crashes else "not tried"
    for kind in KINDS:
        worst = max((one[kind] for one in row.left), default=None)
        what = "services" if kind == "service" else f"helpers ({kind})"
        yield Figure(f"bench.left-{kind}", f"{what} left after stop", worst, 0, note=none, outcome=True)
    lost = max((len(NAMES) - one.same for one in row.crashes), default=None)
    extra = max((one.extra for one in row.crashes), default=None)
    after = max((sum(one.left.values()) for one in row.crashes), default=None)
    died = "supervisor killed by SIGKILL, then start"
    yield Figure(
        "bench.same-pids", f"{died}: services with another pid", lost, 0, note=no_crash, outcome=True
    )
    yield Figure("bench.extra-starts", f"{died}: extra starts", extra, 0, note=no_crash, outcome=True)
    yield Figure("bench.left-later", f"{died}, stop: left", after, 0, note=no_crash, outcome=True)


def table(result: Result) -> list[dict[str, Any]]:
    """One row a tool, for people: medians with the range, counts at their worst."""
    bare = result.rows.get("bare")
    base = middle(one.answer_ms for one in bare.times) if bare else None
    return [_shown(row, base) for row in result.rows.values()]


def _shown(row: Row, base: float | None) -> dict[str, Any]:
    tool, times = row.tool, row.times
    name = tool.name if tool.version in (None, "-", "this checkout") else f"{tool.name} ({tool.version})"
    if not times:
        return {"tool": name, "start: all answer, ms": "absent"}
    answer = middle(one.answer_ms for one in times)
    returned = [one.return_ms for one in times]
    ready = [one.ready for one in times if one.ready is not None]
    crash = max(row.crashes, key=lambda one: (one.extra, -one.same), default=None)
    stays = middle(returned) is None
    return {
        "tool": name,
        "start: all answer, ms": spread(one.answer_ms for one in times),
        "× bare": f"{answer / base:.1f}" if answer and base else "–",
        "command returned, ms": "stays" if stays else spread(returned),
        "ready then": "–" if stays or not ready else f"{min(ready)} of {len(NAMES)}",
        "kill -9 of one: answers again, ms": spread(one.again_ms for one in times)
        if tool.supervises
        else "–",
        "full stop, ms": spread(one.stop_ms for one in times),
        "supervisor PSS, MiB": f"{middle(one.pss_mib for one in times) or 0.0:.1f}"
        if tool.supervises
        else "–",
        "left after stop": _kinds(_worst(row.left)) if row.left else "–",
        "supervisor kill -9: same pids": f"{crash.same} of {len(NAMES)}" if crash else "–",
        "extra starts": str(crash.extra) if crash else "–",
        "left after next stop": _kinds(crash.left) if crash else "–",
    }


def notes(result: Result) -> list[str]:
    """What a reader of the table must know."""
    found = [
        "Medians (least-most) of all rounds, the tools taking turns; counts are the worst seen.",
        "The start of Trunkline is the whole command (`python -m invoke start`) from a fresh interpreter, "
        "`ops` compiled as `./inv` does it.",
        "Left behind: services / helpers in the same process group / in a session of their own / "
        f"double-forked, of {len(NAMES)} each. Extra starts are counted until {trials.WATCH:g} s after the "
        "second start.",
        "Same pids without supervision are no merit: see what the next stop leaves.",
    ]
    inside = [middle(pair[part] for pair in result.inside) for part in (0, 1)]
    if inside[0] is not None:
        found.append(f"Inside Trunkline's commands: start {_ms(inside[0])}, stop {_ms(inside[1])}.")
    if (bare := middle(result.listening)) is not None:
        found.append(f"Bare exec to listening, two others running: {_ms(bare)}.")
    return found


def raw(result: Result) -> Mapping[str, Any]:
    """Everything measured, as plain data."""
    from dataclasses import asdict

    return {
        "listening_ms": result.listening,
        "inside_ms": result.inside,
        "tools": {
            name: {
                "version": row.tool.version,
                "times": [asdict(one) for one in row.times],
                "left": row.left,
                "crashes": [asdict(one) for one in row.crashes],
            }
            for name, row in result.rows.items()
        },
    }


def _worst(counts: list[dict[str, int]]) -> dict[str, int]:
    return {kind: max(one[kind] for one in counts) for kind in KINDS}


def _kinds(counts: Mapping[str, int]) -> str:
    return "/".join(str(counts[kind]) for kind in KINDS)


def _ms(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.0f} ms"
