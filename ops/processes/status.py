"""What runs: the services with their states, the supervisor, live calls, the public address."""

from __future__ import annotations

from typing import Any

from ops.config import Settings
from ops.errors import OpsError
from ops.findings import Finding, fail, ok, skip, warn
from ops.processes import handle, identity
from ops.processes.drain import Health, health
from ops.processes.lock import stack_lock
from ops.processes.observe import Situation, look
from ops.processes.outcome import Outcome, Progress, silent
from ops.processes.records import Stack, Standing
from ops.processes.run_files import RunFiles, iso


def status(settings: Settings, *, adopt: bool = True, progress: Progress = silent) -> Outcome:
    """How the stack stands now; a failed service is a finding that fails.

    When the supervisor has died and services live on, another one takes them over (`adopt`).
    """
    files = RunFiles(settings.root)
    if files.stack() is None:
        from ops.processes import slots  # only where no stack of ours runs: no start waits for it

        if found := slots.slots(settings.root):
            return slots.outcome(found, settings.public_url)
    situation = look(files)
    findings: list[Finding] = []
    if situation.supervisor is None and situation.running:
        findings.append(_orphaned(files, situation, adopt, progress))
    return Outcome((*findings, *_findings(files)), described(settings, files))


def anything_runs(settings: Settings) -> bool:
    """Whether a recorded service of this project lives."""
    stack = RunFiles(settings.root).stack()
    return stack is not None and any(identity.lives(one.identity) for one in stack.services)


def described(settings: Settings, files: RunFiles) -> dict[str, Any]:
    """The data of `start` and `status`, as the specification names it."""
    wanted, stack = files.wanted(), files.stack()
    supervised = bool(stack and identity.lives(stack.supervisor))
    services = wanted.services if wanted else ()
    found = next((_health(s.port) for s in services if s.drains and s.port), None)
    running = stack.services if stack else ()
    return {
        "services": [row(one, supervised) for one in running],
        "supervisor": {"pid": stack.supervisor.pid if stack and stack.supervisor and supervised else None},
        "public_url": settings.public_url or (found and (found.public_url or _tunnel(settings))),
        "live_calls": found.live_calls if found else None,
        "mode": stack.mode if stack else None,
        "started": iso(stack.started) if stack else None,
        "lost": dict(stack.lost) if stack else {},
    }


def row(one: Standing, supervised: bool = True) -> dict[str, Any]:
    """One service as the report shows it; a process that is gone is not shown as running."""
    lives = identity.lives(one.identity)
    state, reason = one.life.state, one.life.reason
    if not lives and not supervised and state not in ("failed", "stopped"):
        state, reason = "stopped", "it ended while no supervisor lived"
    return {
        "name": one.name,
        "state": state,
        "pid": one.identity.pid if one.identity and lives else None,
        "port": one.ports[0] if one.ports else None,
        "restarts": one.life.restarts,
        "since": iso(one.since),
        "url": one.url,
        "reason": reason,
    }


def _findings(files: RunFiles) -> list[Finding]:
    from ops.journal.redact import Redactor  # start imports this file before it gives its orders
    from ops.processes.tail import secret_values

    wanted, stack = files.wanted(), files.stack()
    if stack is None:
        return [skip("services.none", "Nothing runs here; inv start starts the stack.")]
    clean = Redactor(secret_values(s.env for s in wanted.services) if wanted else ()).clean
    supervised = identity.lives(stack.supervisor)
    found = [_finding(one, row(one, supervised), clean) for one in stack.services]
    return [*found, *lost_findings(stack)]


def _finding(one: Standing, seen: dict[str, Any], clean: Any) -> Finding:
    id, state, reason = f"services.{one.name}", seen["state"], clean(seen["reason"])
    said = f"{one.name} is {state}" + (f": {reason}" if reason else "")
    evidence = {"state": state, "pid": seen["pid"], "restarts": seen["restarts"]}
    if state == "ready":
        return ok(id, f"{said}.", **evidence)
    if state == "failed":
        lines = [clean(line) for line in one.last_lines]
        fix = f"read logs/{one.name}.out and correct it, then inv start"
        return fail(id, f"{said}.", fix=fix, **evidence, last_lines=lines)
    if state == "stopped":
        return skip(id, f"{said}.", **evidence)
    return warn(id, f"{said}.", fix=f"wait a moment; if it stays so, read logs/{one.name}.out", **evidence)


def _orphaned(files: RunFiles, situation: Situation, adopt: bool, progress: Progress) -> Finding:
    names = ", ".join(situation.running)
    if adopt and situation.wanted:
        with stack_lock(files, progress):
            again = look(files)
            if again.wanted and again.supervisor is None and again.running:
                handle.begin(files, again.wanted)
        return warn(
            "services.adopted",
            f"The supervisor had died; a new one has taken over {names} without a restart.",
            fix="nothing to do; logs/supervisor.out may tell why it died",
            services=list(situation.running),
        )
    return warn(
        "services.orphaned",
        f"The supervisor is dead; {names} go on without one.",
        fix="inv start takes them over, inv cleanup stops them",
        services=list(situation.running),
    )


def lost_findings(stack: Stack) -> tuple[Finding, ...]:
    """What could not be written to disk, if anything."""
    found = [
        warn(
            "services.output",
            f"{one.name}: {one.last_lines[0].strip('()')}.",
            fix="make room on the disk or make logs/ writable, then restart the service",
        )
        for one in stack.services
        if one.identity and one.last_lines
    ]
    if stack.lost:
        counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in stack.lost.items())
        found.append(
            warn(
                "services.lost",
                f"Since the start this could not be written: {counts}.",
                fix="make room on the disk or make logs/ writable; the services go on meanwhile",
                **dict(stack.lost),
            )
        )
    return tuple(found)


def _tunnel(settings: Settings) -> str | None:
    """The tunnel's address, which a bridge that has only just started may not know yet."""
    from ops.vendors.ngrok.client import public_url  # heavy: it brings an HTTP client

    try:
        return public_url(settings, deadline=1.0)
    except OpsError:
        return None


def _health(port: int | None) -> Health | None:
    return health(port) if port else None
