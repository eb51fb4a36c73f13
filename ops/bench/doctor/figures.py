"""The doctor's figures beside their goals, and a table of the rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ops.bench.doctor.run import Result
from ops.bench.figures import Figure, middle


def figures(result: Result) -> list[Figure]:
    """What is promised of `validate`."""
    verdicts, healthy = result.verdicts, result.healthy
    rules = {one.rule for one in verdicts}
    alarmed = [one for one in healthy if one.alarms]
    mended = [one for one in verdicts if one.mended is not None]
    unmended = [one.fault for one in mended if not one.mended]
    wolves = [one for one in verdicts if one.others]
    setups = {one.setup for one in healthy}
    missed = [one.fault for one in verdicts if one.place != 1]
    deep = sum(one.deep for one in healthy)
    dark = result.blackout
    return [
        Figure("bench.rules", "rules with a seeded fault", len(rules), 45, "",
               f"{len(verdicts)} faults", at_least=True, outcome=True),
        Figure("bench.top-1", "the right rule is the top finding", _share(result, 1), 95, "%",
               _list("not", missed), at_least=True, outcome=True),
        Figure("bench.top-3", "the right rule is among the first three", _share(result, 3), 100, "%",
               at_least=True, outcome=True),
        Figure("bench.wolves", "seeded faults beside which another rule spoke", len(wolves), 0, "",
               _list("", [f"{one.fault}: {', '.join(one.others)}" for one in wolves]), outcome=True),
        Figure("bench.healthy", "healthy runs", len(healthy), 50, "",
               f"{len(setups)} set-ups; {deep} of the runs deep", at_least=True, outcome=True),
        Figure("bench.false-alarms", "false alarms in healthy runs", len(alarmed), 0, "",
               _list("", [f"{one.setup}: {', '.join(one.alarms)}" for one in alarmed]), outcome=True),
        Figure("bench.fixes", "automatic fixes that did not hold in a run of their own", len(unmended), 0, "",
               f"{len(mended)} faults mended" + _list("; not", unmended), outcome=True),
        Figure("bench.blackout", "no vendor answers: a run that says so, exit 4",
               dark.seconds if dark and dark.honest else None, 10, "s",
               f"{len(dark.unknown)} unknown, {len(dark.failed)} failed" if dark else "not tried"),
        Figure("bench.full", "a full run, simulated", middle(result.full), 3, "s", "the whole command"),
        Figure("bench.deep", "a deep run, simulated", middle(result.deep), 10, "s", "the whole command"),
    ]  # fmt: skip


def table(result: Result) -> list[dict[str, Any]]:
    """One row a rule: its faults, and where it stood at worst."""
    rows = []
    for rule in dict.fromkeys(one.rule for one in result.verdicts):
        ones = [one for one in result.verdicts if one.rule == rule]
        places = [one.place for one in ones]
        worst = "missed" if None in places else str(max(place or 0 for place in places))
        mended = [one.mended for one in ones if one.mended is not None]
        rows.append(
            {
                "rule": f"`{rule}`",
                "faults seeded": ", ".join(one.fault for one in ones),
                "place at worst": worst,
                "others beside it": ", ".join(dict.fromkeys(other for one in ones for other in one.others))
                or "–",
                "fixed": f"{sum(mended)} of {len(mended)}" if mended else "–",
            }
        )
    return rows


def notes(result: Result) -> list[str]:
    """What a reader must know, and the healthy set-ups."""
    counts = {one.setup: sum(each.setup == one.setup for each in result.healthy) for one in result.healthy}
    return [
        "Each fault is seeded alone, in files, processes or on the wire, and judged from the document of "
        "`inv validate --json`: what is not well, fails before unknowns before warnings, else as reported.",
        "Live means by its shape: credentials in .env, and a simulator at the vendor's address that is not "
        "part of the stack. No real vendor was asked.",
        "Healthy runs: " + "; ".join(f"{name}: {count}" for name, count in sorted(counts.items())) + ".",
        "An automatic fix holds when `validate --fix` says so and the next run has nothing to say.",
    ]


def raw(result: Result) -> Mapping[str, Any]:
    """Everything measured, as plain data."""
    return {
        "verdicts": [{**asdict(one), "place": one.place} for one in result.verdicts],
        "healthy": [asdict(one) for one in result.healthy],
        "blackout": asdict(result.blackout) if result.blackout else None,
        "full_seconds": result.full,
        "deep_seconds": result.deep,
    }


def _share(result: Result, most: int) -> float | None:
    """The share of faults, in percent, whose rule was among the first so many."""
    if not result.verdicts:
        return None
    good = sum(one.place is not None and one.place <= most for one in result.verdicts)
    return 100 * good / len(result.verdicts)


def _list(word: str, names: list[str]) -> str:
    return f"{word} {'; '.join(names)}".strip() if names else ""
