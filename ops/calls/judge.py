"""Judges one call's timeline: each finding says what it means and where to look. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ops.calls.advice import MISSING, MISSING_AT_THE_PHONE, Advice
from ops.calls.scenario import Scenario
from ops.calls.timeline import HopRow, Timeline, Trouble, percentile
from ops.findings import Finding, fail, ok, skip, warn
from ops.journal.hops import Hop

LATENCY_WARN, LATENCY_FAIL = 1800.0, 3000.0  # ms, at p95
STOP_WARN, STOP_FAIL = 200.0, 1000.0  # ms from the caller's detected speech to an empty phone buffer
YIELD_WARN, YIELD_FAIL = 400.0, 1500.0  # the same from the caller's first sound
Vantage = Literal["bridge", "phone"]


def judge(
    scenario: Scenario,
    timeline: Timeline,
    *,
    scripted: bool = True,
    yields_ms: Sequence[float] = (),
    vantage: Vantage = "bridge",
) -> tuple[Finding, ...]:
    """All findings about a call. `scripted` tells that a simulated phone spoke the script; a person
    may do something else, so then too few turns are a warning and no failure. `yields_ms`: for each
    interruption, from the caller's first recorded sound to the emptied phone buffer. `vantage`: whose
    records the timeline was read from; the phone knows when the caller spoke, not when it was noticed."""
    return (
        *_hops(timeline, MISSING if vantage == "bridge" else MISSING_AT_THE_PHONE),
        *_turns(scenario, timeline, scripted),
        *_latency(timeline),
        *_barge_in(timeline, yields_ms, vantage),
        *(_trouble(trouble) for trouble in timeline.troubles),
    )


def _hops(timeline: Timeline, advice: Mapping[Hop, Advice]) -> list[Finding]:
    missing = {row.name for row in timeline.hops if row.status == "missing"}
    causes = [row for row in timeline.hops if row.name in missing and not _needed(row) & missing]
    if missing and not causes:  # a scenario of one's own may let hops wait for each other
        causes = [row for row in timeline.hops if row.name in missing]
    findings = [_missing(row, timeline, advice[row.expected.hop]) for row in causes]
    findings += [_late(row) for row in timeline.hops if row.status == "late"]
    if findings:
        return findings
    summary = f"All {len(timeline.hops)} hops were passed; the call took {timeline.length_ms / 1000:.1f} s."
    return [ok("call.hops", summary, count=len(timeline.hops))]


def _needed(row: HopRow) -> set[str]:
    """The hops without which this one cannot happen."""
    return {hop for hop in (row.expected.after, row.expected.needs) if hop not in (None, row.name)}


def _missing(row: HopRow, timeline: Timeline, advice: Advice) -> Finding:
    """The finding for the first missing hop of a chain; it names those that could not follow."""
    lost = {row.name}
    for other in timeline.hops:  # expected hops stand in order of time, so one pass finds the chain
        if other.status == "missing" and _needed(other) & lost:
            lost.add(other.name)
    therefore = [other.name for other in timeline.hops if other.name in lost - {row.name}]
    then = f" Therefore also missing: {', '.join(therefore)}." if therefore else ""
    return fail(
        f"call.hop.{row.name}",
        f"The hop {row.name} is missing: {advice.means}.{then}",
        fix=advice.fix,
        hop=row.name,
        after=row.expected.after.value,
        therefore=therefore,
    )


def _late(row: HopRow) -> Finding:
    within, after = row.expected.within_ms, row.expected.after.value
    return fail(
        f"call.hop.{row.name}",
        f"The hop {row.name} came {row.took_ms:.0f} ms after {after}; at most {within} ms are allowed.",
        fix="look at this machine's load and at the vendors' answers around that time: inv logs",
        hop=row.name,
        after=after,
        took_ms=row.took_ms,
        within_ms=within,
    )


def _turns(scenario: Scenario, timeline: Timeline, scripted: bool) -> list[Finding]:
    findings: list[Finding] = []
    if timeline.unmeasured:
        findings.append(
            fail(
                "call.turn-unmeasured",
                f"{timeline.unmeasured} answers have no number in latency_ms.",
                fix="the bridge must measure every turn; its turn.answered records are in inv logs",
                count=timeline.unmeasured,
            )
        )
    if timeline.first(Hop.STARTED) is None:
        return [skip("call.turns", "There was no media stream, so nothing could be said.")]
    turns, interrupted = len(timeline.turns), sum(turn.barge_in for turn in timeline.turns)
    evidence = {"turns": turns, "barge_ins": interrupted}
    if turns >= scenario.turns and interrupted >= scenario.barge_ins:
        summary = f"{turns} turns were answered, {interrupted} of them after an interruption."
        return [*findings, ok("call.turns", summary, **evidence)]
    summary = (
        f"Expected at least {scenario.turns} answered turns, {scenario.barge_ins} of them after an "
        f"interruption; got {turns} and {interrupted}."
    )
    if scripted:
        fix = "listen to call.wav: either the caller was not heard, or the agent did not answer"
        return [*findings, fail("call.turns", summary, fix=fix, **evidence)]
    fix = "answer the phone and say the scenario's lines"
    return [*findings, warn("call.turns", summary, fix=fix, **evidence)]


def _latency(timeline: Timeline) -> list[Finding]:
    if not timeline.turns:
        return []
    values = [turn.latency_ms for turn in timeline.turns]
    p95 = percentile(values, 0.95)
    evidence = {"n": len(values), "p50_ms": percentile(values, 0.5), "p95_ms": p95, "max_ms": max(values)}
    summary = f"Turn latency p95 is {p95:.0f} ms over {len(values)} turns (warn above 1800, fail above 3000)."
    fix = "see in the report which part is slow: end of speech, the model's first audio, or the network"
    return [_gated("call.latency", p95, (LATENCY_WARN, LATENCY_FAIL), summary, fix, evidence)]


def _barge_in(timeline: Timeline, yields_ms: Sequence[float], vantage: Vantage) -> list[Finding]:
    if not timeline.stops_ms:
        return []
    stop = max(timeline.stops_ms)
    gate, value, since = (STOP_WARN, STOP_FAIL), stop, "the caller's speech was detected"
    if yields_ms and (vantage == "phone" or stop <= STOP_WARN):
        gate, value, since = (YIELD_WARN, YIELD_FAIL), max(yields_ms), "the caller began to speak"
    summary = f"Interrupted, the agent fell silent {value:.0f} ms after {since}."
    fix = "clear the phone's buffer at once when the caller speaks; look at turn detection and at the load"
    evidence = {"since_detected_ms": list(timeline.stops_ms), "since_first_sound_ms": list(yields_ms)}
    return [_gated("call.barge-in", value, gate, summary, fix, evidence)]


def _gated(
    id: str, value: float, above: tuple[float, float], summary: str, fix: str, evidence: Mapping[str, Any]
) -> Finding:
    if value > above[1]:
        return fail(id, summary, fix=fix, **evidence)
    if value > above[0]:
        return warn(id, summary, fix=fix, **evidence)
    return ok(id, summary, **evidence)


def _trouble(trouble: Trouble) -> Finding:
    times = f" {trouble.count} times" if trouble.count > 1 else ""
    summary = f"{trouble.service} logged {trouble.level} {trouble.event}{times}: {trouble.message}"
    evidence = {"at_ms": trouble.at_ms, "count": trouble.count}
    fix = "read what led to it in the call's journal.jsonl, or with inv logs"
    if trouble.level == "ERROR":
        return fail(f"call.error.{trouble.event}", summary, fix=fix, **evidence)
    return warn(f"call.warning.{trouble.event}", summary, fix=fix, **evidence)
