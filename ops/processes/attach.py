"""Stays with a running stack until Ctrl-C or SIGTERM, then stops everything: `start --attach`."""

from __future__ import annotations

import time
from collections.abc import Callable

from ops.config import Settings
from ops.findings import fail
from ops.processes import identity
from ops.processes.interrupt import interruptible
from ops.processes.outcome import Outcome, Progress, ServiceSeen, silent
from ops.processes.run_files import RunFiles
from ops.processes.status import described
from ops.processes.stop import stop

LOOK = 0.2  # seconds


def attach(
    settings: Settings,
    *,
    drain_seconds: float = 30.0,
    progress: Progress = silent,
    meanwhile: Callable[[], None] | None = None,
) -> Outcome:
    """Tell of every change until Ctrl-C or SIGTERM, then stop the stack; a second Ctrl-C forces.

    `meanwhile` is called every 0.2 s, so that a caller can show new log lines. Ends by itself, with a
    finding, when the stack is stopped from elsewhere.
    """
    files = RunFiles(settings.root)
    began = time.monotonic()
    told: dict[str, tuple[object, ...]] = {}
    with interruptible():
        try:
            while (stack := files.stack()) is not None:
                for one in stack.services:
                    life, pid = one.life, one.identity.pid if one.identity else None
                    now = (life.state, life.reason, pid)
                    if told.setdefault(one.name, now) != now:
                        told[one.name] = now
                        seconds = time.monotonic() - began
                        progress(ServiceSeen(one.name, life.state, seconds, life.reason, pid))
                if not identity.lives(stack.supervisor) and not any(
                    identity.lives(one.identity) for one in stack.services
                ):
                    break
                if meanwhile:
                    meanwhile()
                time.sleep(LOOK)
        except KeyboardInterrupt:
            return stop(settings, drain_seconds=drain_seconds, progress=progress)
    gone = fail(
        "services.stopped-elsewhere",
        "The stack was stopped from elsewhere.",
        fix="inv status shows what is left; inv start starts it again",
    )
    return Outcome((gone,), described(settings, files))
