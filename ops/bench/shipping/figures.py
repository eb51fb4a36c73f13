"""What the runs of the deploy bench say: figures beside their goals, a table, how to read it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ops.bench.figures import Figure, middle
from ops.bench.shipping.result import (
    BACK_ALL,
    BEHIND,
    NEVER_WELL,
    OURS,
    SLOT_BACK,
    SLOT_CHANGE,
    SLOT_SAME,
    TASKS,
    WHAT,
    Result,
    Rolled,
)

TIMES = (
    "Seconds of whole commands from a fresh interpreter, median (least-most). Trunkline and Ansible "
    "ship to one host first, then to the others; pyinfra to all at once.",
    "pyinfra and Ansible bring the same files, with uv and the same wheels, try the release and switch. "
    "They verify no file by its hash, hold no lock, keep no record; going back is left to their user.",
    "A first deploy installs every wheel of requirements.lock; later ones share that environment.",
)
CALLS = (
    "Three hosts behind HAProxy with TLS on a fourth, each release in a slot of its own, proven by "
    "`validate --deep` before it gets calls. Frames every 20 ms both ways; a new call rings every "
    "250 ms, must hear an echo, and hangs up.",
)
CUTS = (
    "Each of three hosts has slots and its own HAProxy. A cut takes the link down until the command has "
    "ended; then it is asked who takes calls, and the same command runs once more.",
)


def figures(result: Result) -> list[Figure]:
    """What was measured beside the goals, for each part that was asked for."""
    parts = {"times": [_chain(result)], "calls": [*_slots(result), *_under_calls(result.rolled)]}
    parts["cuts"] = [_cuts(result)]
    return [one for name in result.parts for one in parts[name]]


def _chain(result: Result) -> Figure:
    what = "added by `-H` to a task behind the first of a chain"
    how = f"{TASKS} tasks, beside the same task run on the host itself"
    return Figure("bench.deploy-chain", what, middle(result.chain), 0.5, "s", how)


def _slots(result: Result) -> list[Figure]:
    proofs = [whole - deep for whole, deep in zip(result.of(SLOT_CHANGE), result.deep, strict=True)]
    proof = f", its proof of {middle(result.deep) or 0:.1f} s left out"
    times = [
        ("repeat", "deploy to one host, nothing changed", result.of(SLOT_SAME), 3),
        ("change", f"deploy to one host, one file changed{proof}", proofs, 8),
        ("rollback", "rollback of one host", result.of(SLOT_BACK), 10),
    ]
    return [
        Figure(f"bench.deploy-{id}", what, middle(taken), goal, "s", f"with slots, median of {len(taken)}")
        for id, what, taken, goal in times
    ]


def _cuts(result: Result) -> Figure:
    what = "cuts of the link with a mix, nobody to take a call, or not mended by the same command"
    count = sum(not one.well for one in result.cuts) if result.cuts else None
    broke = [one for one in result.cuts if one.code != 0]
    new = sum(one.found == "new" for one in broke)
    note = f"of {len(result.cuts)} at as many points; {len(broke)} deploys broke, {new} behind the switch"
    return Figure("bench.deploy-cuts", what, count, 0, "", note, outcome=True)


def _under_calls(rolled: Sequence[Rolled]) -> list[Figure]:
    """Nobody is dropped or refused, whatever is done; the bad release goes no further than the first host."""
    found = []
    for one in rolled:
        lived = one.lived
        what = f"{one.what} over three hosts: calls dropped"
        how = f"of {lived.calls}, in {one.seconds:.1f} s; longest silence {lived.silence:.2f} s"
        found.append(Figure(f"bench.deploy-{one.id}-dropped", what, lived.dropped, 0, "", how, outcome=True))
        what = f"{one.what} over three hosts: new calls refused"
        how = f"of {lived.new}" + (f"; the first: {lived.refused[0]}" if lived.refused else "")
        found.append(
            Figure(f"bench.deploy-{one.id}-refused", what, len(lived.refused), 0, "", how, outcome=True)
        )
        if one.what == NEVER_WELL:
            touched = len(one.changed) + len(BEHIND) - 1 - len(one.untouched)
            what = f"{one.what}: hosts with another release in force, or touched behind the first"
            how = f"failed: {', '.join(one.failed)}; untouched: {', '.join(one.untouched)}; {one.reason}"
            found.append(Figure("bench.deploy-stops", what, touched, 0, "", how, outcome=True))
        if one.what == BACK_ALL:
            what = f"{one.what} of three hosts, with {lived.calls} calls on the line"
            found.append(Figure("bench.deploy-back", what, one.seconds, 10, "s"))
    return found


def table(result: Result) -> list[dict[str, Any]]:
    """One row for each thing done, one column a tool, for people."""
    tools = sorted(result.times, key=lambda name: name != OURS)
    rows = [what for what in WHAT if any(result.of(what, tool) for tool in tools)]
    return [{"seconds": what, **{tool: _shown(result.of(what, tool)) for tool in tools}} for what in rows]


def notes(result: Result) -> list[str]:
    """What a reader must know of each part."""
    parts = {"times": TIMES, "calls": CALLS, "cuts": CUTS}
    return [
        "The hosts are namespaces of this machine, each with systemd as PID 1 and sshd: they share its "
        "cores, and the network between them costs next to nothing.",
        *(one for name in result.parts for one in parts[name]),
    ]


def raw(result: Result) -> dict[str, Any]:
    """Everything measured, as plain data."""
    return asdict(result)


def _shown(taken: Sequence[float]) -> str:
    if not taken:
        return "–"
    least_most = f" ({min(taken):.2f}-{max(taken):.2f})" if len(taken) > 1 else ""
    return f"{middle(taken):.2f}{least_most}"
