"""Stops the stack and proves that nothing is left of it: the receipt."""

from __future__ import annotations

import signal
import time
from typing import Any

from ops.config import Settings
from ops.findings import Finding, fail, ok, skip
from ops.processes import handle, identity, ports
from ops.processes.apply import Receipt, end_all
from ops.processes.census import SUPERVISOR
from ops.processes.identity import Identity
from ops.processes.interrupt import Hurry, hurried
from ops.processes.lock import stack_lock
from ops.processes.observe import Situation, look
from ops.processes.outcome import Outcome, Progress, silent
from ops.processes.records import Wanted
from ops.processes.run_files import RunFiles
from ops.processes.sole import without_supervisor


def stop(
    settings: Settings,
    *,
    drain_seconds: float = 30.0,
    now: bool = False,
    reset: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Stop every service, dependents first, draining live calls for at most `drain_seconds`; then
    count until no process of the stack is left.

    `now` does not wait for calls. `reset` also clears what earlier runs left in `logs/run`. Ctrl-C
    while it works kills what is left at once. Data: `receipt`, `left`, `ports_freed`.
    """
    files = RunFiles(settings.root)
    receipt = Receipt()
    asked: set[int] = set()
    with stack_lock(files, progress, needed=False), hurried() as hurry:
        while True:
            situation = look(files)
            asked |= {port for service in _services(situation) for port in service.ports}
            _end(files, situation, receipt, drain_seconds, now, progress, hurry)
            with without_supervisor(files.folder) as nobody:
                if nobody or receipt.left:
                    # one that an interrupted start had begun may have come and gone unseen
                    end_all(None, files.root, receipt, token=situation.token, now=True, progress=progress)
                    if not receipt.left:
                        files.forget(reset=reset)
                    break
    freed = sorted(asked - {listener.port for listener in ports.listeners(asked)})
    data: dict[str, Any] = {"receipt": receipt.rows, "left": receipt.left, "ports_freed": freed}
    return Outcome((_finding(receipt, freed),), data)


def _end(
    files: RunFiles,
    situation: Situation,
    receipt: Receipt,
    drain_seconds: float,
    now: bool,
    progress: Progress,
    hurry: Hurry,
) -> None:
    supervisor = situation.supervisor
    deaf = False
    if supervisor:
        deaf = not _hold(files, situation.wanted, supervisor)
        if deaf:
            identity.signal_process(supervisor, signal.SIGSTOP)  # it does not listen: it may start nothing
    end_all(
        situation.wanted,
        files.root,
        receipt,
        token=situation.token,
        drain_seconds=drain_seconds,
        now=now,
        progress=progress,
        hurry=hurry,
    )
    if supervisor:
        began = time.monotonic()
        took = handle.end(supervisor, at_once=deaf)
        ms = round((time.monotonic() - began) * 1000, 1)
        gone = not identity.lives(supervisor)
        row = {"name": SUPERVISOR, "pid": supervisor.pid, "signal": took, "ms": ms, "gone": gone}
        receipt.rows.append(row)
        if not gone:
            receipt.left.append({**row, "command": SUPERVISOR, "why": "it does not end"})


def _hold(files: RunFiles, wanted: Wanted | None, supervisor: Identity) -> bool:
    """Order that nothing is started again; whether the supervisor has understood."""
    if wanted is None:
        return False
    held = wanted.held()
    try:
        files.write_wanted(held)
    except OSError:
        return False
    return handle.poke(files, held, supervisor) is not None


def _services(situation: Situation) -> tuple[Any, ...]:
    return situation.wanted.services if situation.wanted else ()


def _finding(receipt: Receipt, freed: list[int]) -> Finding:
    if receipt.left:
        names = ", ".join(f"{row['name']} (pid {row['pid']}: {row['why']})" for row in receipt.left)
        return fail(
            "processes.left",
            f"Still there after SIGKILL: {names}.",
            fix="wait for the device it hangs on, or restart the machine; then inv cleanup again",
            left=receipt.left,
        )
    if not receipt.rows:
        return skip("processes.none", "Nothing was running, and nothing is left.")
    count = len(receipt.rows)
    words = f"{count} process{'' if count == 1 else 'es'} ended, none left"
    words += f", port{'' if len(freed) == 1 else 's'} {', '.join(map(str, freed))} free" if freed else ""
    return ok("processes.gone", f"{words}.", ports_freed=freed)
