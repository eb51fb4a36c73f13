"""How a command deals with the supervisor: wakes it, sees that it understood, or replaces it."""

from __future__ import annotations

import select
import signal
import time
from dataclasses import dataclass

from ops.errors import OpsError
from ops.processes import census, identity, procfs
from ops.processes.identity import Identity
from ops.processes.observe import look
from ops.processes.records import Stack, Wanted
from ops.processes.run_files import RunFiles
from ops.processes.sole import without_supervisor
from ops.processes.standby import Standby, launch

UNDERSTOOD = 3.0  # seconds in which a healthy supervisor has taken new orders
BEGUN = 15.0  # seconds in which a new supervisor has written its first state
ATTEMPTS = 3
LOOK = 0.002


@dataclass(frozen=True)
class Launch:
    """What was ordered, of whom, and what is to be waited for; `kept` ran before."""

    wanted: Wanted
    supervisor: Identity
    names: frozenset[str]
    kept: frozenset[str]


def give_orders(
    files: RunFiles, wanted: Wanted, supervisor: Identity | None, standby: Standby | None = None
) -> Identity:
    """Write the orders down and see that a supervisor carries them out; a deaf one is replaced, and
    where there is none, the one on `standby` begins.

    The services go on meanwhile: whichever supervisor comes takes them over. Raises OpsError when
    the orders cannot be written.
    """
    try:
        if supervisor is not None:
            files.write_wanted(wanted)
            stack = poke(files, wanted, supervisor)
            if stack and stack.supervisor:
                return stack.supervisor
            end(supervisor, at_once=True)
        with without_supervisor(files.folder) as nobody:
            if nobody:
                files.write_wanted(wanted)
        if not nobody:  # one that an interrupted start had begun has come up just now
            return give_orders(files, wanted, look(files).supervisor)
    except OSError as error:
        raise OpsError(
            f"{files.wanted_path} cannot be written: {error.strerror or error}.",
            fix="make room on the disk, or make logs/run writable",
        ) from None
    return begin(files, wanted, standby)


def poke(files: RunFiles, wanted: Wanted, supervisor: Identity) -> Stack | None:
    """Tell a supervisor of new orders; its state once it has taken them, None when it does not."""
    stat = procfs.stat(supervisor.pid)
    if stat is None or stat.state == "T" or not identity.signal_process(supervisor, signal.SIGHUP):
        return None
    until = time.monotonic() + UNDERSTOOD
    while time.monotonic() < until and identity.lives(supervisor):
        if stack := _seen(files, wanted):
            return stack
        time.sleep(LOOK)
    return None


def begin(files: RunFiles, wanted: Wanted, standby: Standby | None = None) -> Identity:
    """Start a supervisor and wait until it has taken the orders."""
    last = files.stack()
    before = last.supervisor if last else None
    for _ in range(ATTEMPTS):
        if standby is None or not standby.serves(wanted.root, wanted.token) or not standby.go():
            launch(wanted.root, wanted.token).wait()
        until, next_look = time.monotonic() + BEGUN, time.monotonic() + 1.0
        while time.monotonic() < until:
            stack = _seen(files, wanted)
            if stack and stack.supervisor and stack.supervisor != before:
                return stack.supervisor
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 1.0
                if not census.supervisors(wanted.token, wanted.root):
                    break  # it was ended before it could say anything
            time.sleep(LOOK)
    raise OpsError(
        "The supervisor has not come up.", fix=f"read {files.output('supervisor')}; then inv cleanup start"
    )


def _seen(files: RunFiles, wanted: Wanted) -> Stack | None:
    """The state of a supervisor that has taken these orders."""
    stack = files.stack()
    return stack if stack and stack.token == wanted.token and stack.seen >= wanted.generation else None


def end(supervisor: Identity, *, at_once: bool = False) -> str | None:
    """End a supervisor that has nothing left to do; the signal it took, None when it was gone already."""
    pidfd = identity.open_pidfd(supervisor)
    if pidfd is None:
        return None
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    taken = "SIGKILL"
    if not at_once:
        identity.send(pidfd, signal.SIGTERM)
        if poll.poll(2000):
            taken = "SIGTERM"
    if taken == "SIGKILL":
        identity.send(pidfd, signal.SIGKILL)
        poll.poll(5000)
    return taken
