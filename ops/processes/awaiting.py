"""Waits until the services that were ordered are ready, and says at once when one cannot be."""

from __future__ import annotations

import math
import time
from typing import Any

from ops.config import Settings
from ops.errors import OpsError
from ops.findings import Finding, fail, ok
from ops.journal.redact import Redactor
from ops.processes import handle, identity
from ops.processes.handle import Launch
from ops.processes.lock import stack_lock
from ops.processes.outcome import Outcome, Progress, ServiceSeen
from ops.processes.plan import start_depth
from ops.processes.records import Stack, Standing
from ops.processes.run_files import RunFiles, last_lines
from ops.processes.status import described, lost_findings
from ops.processes.tail import secret_values

MARGIN = 15.0  # seconds beyond what the services themselves may take
LOOK = 0.004
ALIVE = 0.25  # seconds between looks whether the supervisor still lives


def await_ready(settings: Settings, files: RunFiles, launch: Launch, progress: Progress) -> Outcome:
    """Follow the stack's state until all are ready or one has failed."""
    began = time.monotonic()
    services = [service for service in launch.wanted.services if service.name in launch.names]
    limit = launch.wanted.startup * max(1, start_depth(services)) + MARGIN
    told: dict[str, tuple[str, str]] = {}
    next_look = began + ALIVE
    replaced = 0
    stack: Stack | None = None
    while True:
        now = time.monotonic()
        stack = files.stack() or stack
        if stack and stack.token == launch.wanted.token and stack.seen >= launch.wanted.generation:
            _tell(stack, launch, told, now - began, progress)
            failing = [one for one in stack.services if one.name in launch.names and _fails(one, launch)]
            if failing or _all_ready(stack, launch):
                break
        if now - began > limit:
            failing = [one for one in stack.services if one.name in launch.names] if stack else []
            failing = [one for one in failing if one.life.state != "ready"]
            break
        if now >= next_look:
            next_look = now + ALIVE
            stopped = _superseded(files, launch)
            if stopped:
                return Outcome((stopped,), described(settings, files))
            if stack and not identity.lives(stack.supervisor):
                replaced += 1
                if replaced > 3:
                    raise OpsError("The supervisor dies again and again.", fix="read logs/supervisor.out")
                _revive(files, launch, progress)
        time.sleep(LOOK)
    data = described(settings, files)
    if failing or stack is None:
        return Outcome(tuple(_failure(settings, files, launch, one) for one in failing), data)
    return Outcome(_success(stack, launch, time.monotonic() - began), data)


def _all_ready(stack: Stack, launch: Launch) -> bool:
    states = {one.name: one.life.state for one in stack.services}
    return all(states.get(name) == "ready" for name in launch.names)


def _fails(one: Standing, launch: Launch) -> bool:
    """Whether there is no sense in waiting for this service any longer."""
    life = one.life
    if life.state in ("failed", "stopped"):
        return True
    if one.name in launch.kept:
        return False  # it ran before: its supervisor brings it back
    late = life.state == "unready" and not life.was_ready
    cannot_start = life.launched is None and life.retry_at is not None
    return life.deaths > 0 or late or cannot_start


def _superseded(files: RunFiles, launch: Launch) -> Finding | None:
    """Whether another command has meanwhile stopped what we wait for."""
    wanted = files.wanted()
    if wanted and wanted.token == launch.wanted.token and wanted.generation == launch.wanted.generation:
        return None
    going = {o.service.name for o in wanted.orders if not o.held} if wanted else set()
    if wanted and wanted.token == launch.wanted.token and launch.names <= going:
        return None
    if wanted is None and files.wanted_path.exists():
        return None
    if wanted is None and not files.folder.exists():
        return None  # the folder was removed; the supervisor writes it anew
    return fail(
        "services.superseded",
        "Another command stopped the services while they were starting.",
        fix="see what it does, then inv start again",
    )


def _revive(files: RunFiles, launch: Launch, progress: Progress) -> None:
    with stack_lock(files, progress):
        stack, wanted = files.stack(), files.wanted()
        if wanted and stack and wanted.token == launch.wanted.token and not identity.lives(stack.supervisor):
            handle.begin(files, wanted)


def _tell(
    stack: Stack, launch: Launch, told: dict[str, tuple[str, str]], seconds: float, progress: Progress
) -> None:
    for one in stack.services:
        now = (one.life.state, one.life.reason)
        if one.name in launch.names and told.get(one.name) != now:
            told[one.name] = now
            pid = one.identity.pid if one.identity else None
            port = one.ports[0] if one.ports else None
            progress(ServiceSeen(one.name, one.life.state, seconds, one.life.reason, pid, port))


def _failure(settings: Settings, files: RunFiles, launch: Launch, one: Standing) -> Finding:
    lines = one.last_lines or last_lines(files.output(one.name), one.output_from)
    secrets = (*settings.secrets, *secret_values(s.env for s in launch.wanted.services))
    clean = Redactor(secrets).clean
    evidence: dict[str, Any] = {
        "state": one.life.state,
        "reason": clean(one.life.reason),
        "last_lines": [clean(line) for line in lines],
        "output": str(files.output(one.name)),
    }
    return fail(
        f"services.{one.name}",
        f"{one.name} is not ready: {clean(one.life.reason) or 'it takes too long'}.",
        fix=f"read logs/{one.name}.out and correct it, then inv start; inv cleanup stops the rest",
        **evidence,
    )


def _success(stack: Stack, launch: Launch, seconds: float) -> tuple[Finding, ...]:
    names = sorted(launch.names)
    count = len(names)
    kept = len(launch.kept & launch.names)
    words = f"{count} service{'' if count == 1 else 's'} ready in {math.ceil(seconds * 100) / 100:g} s"
    words += f", {kept} of them ran before" if kept else ""
    found = [ok("services.ready", f"{words}.", services=names, kept=sorted(launch.kept & launch.names))]
    return (*found, *lost_findings(stack))
