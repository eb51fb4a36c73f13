"""The loop that asks checks: concurrently, in order of their needs, in time, and leaking nothing.

A check answers with a Finding or raises: `Unreachable` becomes `unknown`, any other OpsError a
`fail` with its fix, a crash `unknown`. A check whose need failed, or could not be asked, is a
`skip` that names it; so is one that another failure explains, be it that other's or one it waits for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.errors import OpsError, Unreachable
from ops.findings import VENDORS, Check, Finding, fail, skip, unknown
from ops.net.http import Declined, Unanswered
from ops.world import World

TOTAL = 9.5  # seconds for all checks of one run
Progress = Callable[[Check[World], Finding | None], None]  # None when a check begins


@dataclass(frozen=True)
class _Done:
    """An answer, and whether those that need it can be asked."""

    finding: Finding
    blocks: bool


def ask(
    checks: Sequence[Check[World]],
    world: World,
    *,
    progress: Progress | None = None,
    total: float = TOTAL,
) -> tuple[Finding, ...]:
    """Asks the given checks, in threads, and returns one answer each, in the order given.

    Never takes longer than `total` seconds: what has not answered by then is `unknown`. Threads
    that hang are left behind (they are daemons), and their answers are not waited for.
    """
    began = time.monotonic()
    answers: queue.SimpleQueue[tuple[str, _Done]] = queue.SimpleQueue()
    done: dict[str, _Done] = {}
    until: dict[str, float] = {}
    waiting = {check.id: check for check in checks}
    running: dict[str, Check[World]] = {}

    def finish(check: Check[World], result: _Done) -> None:
        done[check.id] = result
        if progress:
            progress(check, result.finding)

    while waiting or running:
        for check in [one for one in waiting.values() if not _pending(one, waiting, running)]:
            del waiting[check.id]
            blocker = _blocker(check, done)
            if blocker:
                finish(check, _Done(_skipped(check, blocker), True))
                continue
            running[check.id] = check
            until[check.id] = min(time.monotonic() + check.deadline, began + total)
            if progress:
                progress(check, None)
            threading.Thread(
                target=lambda check=check: answers.put((check.id, _answer(check, world))),
                name=f"check {check.id}",
                daemon=True,
            ).start()
        if not running:
            continue
        try:
            name, result = answers.get(
                timeout=max(0.0, min(until[one] for one in running) - time.monotonic())
            )
            if name in running:
                finish(running.pop(name), result)
        except queue.Empty:
            for check in [one for one in running.values() if until[one.id] <= time.monotonic()]:
                del running[check.id]
                finish(check, _late(check, time.monotonic() - began >= total))
    return tuple(done[check.id].finding for check in checks)


def _pending(check: Check[World], *unanswered: Mapping[str, Check[World]]) -> bool:
    return any(need in ones for need in (*check.needs, *check.unless) for ones in unanswered)


def _blocker(check: Check[World], done: Mapping[str, _Done]) -> Finding | None:
    """The answer because of which this check is not asked."""
    for name in check.needs:
        if name in done and done[name].blocks:
            return done[name].finding
    others = [done[name].finding for name in check.unless if name in done]
    return next((one for one in others if "fail" in (one.status, _root(one, done).status)), None)


def _root(finding: Finding, done: Mapping[str, _Done]) -> Finding:
    """The answer because of which this one was skipped; itself when it was not."""
    root = done.get(str(finding.evidence.get("waits_for")))
    return root.finding if root is not None and finding.status == "skip" else finding


def _answer(check: Check[World], world: World) -> _Done:
    began = time.monotonic()
    blocks: bool | None = None
    try:
        finding = check.ask(world)
    except Unreachable as problem:
        asked = {"asked": problem.url, "cause": problem.cause} if isinstance(problem, Unanswered) else {}
        finding = unknown(check.id, problem.message, fix=problem.fix, **asked)
    except Declined as problem:
        evidence: dict[str, Any] = {
            "asked": problem.answer.url,
            "status": problem.status,
            "code": problem.code,
        }
        if problem.unknown_question:
            blocks = False  # only this question has no answer there; the others may have one
            finding = unknown(check.id, f"Not asked: {problem.message}", fix=problem.fix, **evidence)
        else:
            finding = fail(check.id, problem.message, fix=problem.fix, **evidence)
    except OpsError as problem:
        finding = fail(check.id, problem.message, fix=problem.fix)
    except Exception as problem:
        words = f"The check itself failed: {type(problem).__name__}: {problem}"
        finding = unknown(check.id, words[:300], fix="report this as a bug of Trunkline")
    seconds = time.monotonic() - began
    finding = replace(_clean(finding, world), seconds=seconds)
    return _Done(finding, finding.status in ("fail", "skip", "unknown") if blocks is None else blocks)


def _late(check: Check[World], total: bool) -> _Done:
    waited = "before all checks had to end" if total else f"within {check.deadline:g} s"
    fix = f"check the network, or what it asks; then ask this alone: `inv validate --only {check.id}`"
    words = f"No answer {waited} to: {check.question}"
    return _Done(Finding(check.id, "unknown", words, {}, fix, check.deadline), True)


def _skipped(check: Check[World], need: Finding) -> Finding:
    root = str(need.evidence.get("waits_for", need.id)) if need.status == "skip" else need.id
    return skip(check.id, f"Not asked: it waits for {root}.", waits_for=root)


def _clean(finding: Finding, world: World) -> Finding:
    """The finding without secrets, with the account's SID shortened, and LIVE or SIMULATED."""
    hidden = {secret: "•••" for secret in world.settings.secrets if len(secret) >= 6}
    for sid in (world.settings.twilio_account_sid, world.settings.twilio_api_key):
        if sid:
            hidden[sid] = f"{sid[:4]}…{sid[-2:]}"

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for text, shown in hidden.items():
                value = value.replace(text, shown)
            return value
        if isinstance(value, Mapping):
            return {clean(key): clean(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [clean(one) for one in value]
        return value

    vendor = finding.id.partition(".")[0]
    evidence = {"vendor": f"{vendor} {world.mode(vendor)}"} if vendor in VENDORS else {}
    return replace(
        finding,
        summary=clean(finding.summary),
        evidence={**clean(finding.evidence), **evidence},
        fix=clean(finding.fix) if finding.fix else finding.fix,
    )
