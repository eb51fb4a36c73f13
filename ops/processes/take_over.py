"""Ends the holder of a port that is needed, once it has been shown; the answer to `--take-over`."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from ops.processes import handle, identity, ports, procfs
from ops.processes.apply import end_services
from ops.processes.lock import stack_lock
from ops.processes.observe import look
from ops.processes.outcome import Progress, TakesOver
from ops.processes.ports import Holder
from ops.processes.run_files import RunFiles

GRACE = 3.0  # seconds between SIGTERM and SIGKILL


def end_holder(holder: Holder, progress: Progress) -> bool:
    """End the process that holds a port, if it still does; whether it is gone.

    A service of another stack is stopped there, so that its supervisor does not start it again.
    We never end ourselves, nor what we were started by.
    """
    who = identity.identify(holder.pid) if holder.pid else None
    if who is None or who.pid in procfs.ancestors(os.getpid(), procfs.all_stats()):
        return False
    progress(TakesOver(holder))
    if holder.stack and holder.service and _stopped_there(Path(holder.stack), holder.service, progress):
        return not identity.lives(who)
    pidfd = identity.open_pidfd(who)
    if pidfd is None:
        return True
    try:
        inodes = {listener.inode for listener in ports.listeners([holder.port])}
        if not any(ports.owner(inode, first=[who.pid]) == who.pid for inode in inodes):
            return False  # it is no longer the holder
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            identity.send(pidfd, number)
            identity.send(pidfd, signal.SIGCONT)
            if poll.poll(seconds * 1000):
                return True
        return False
    finally:
        os.close(pidfd)


def fix_for(holder: Holder) -> str:
    """What a person can do about a held port."""
    if holder.pid is None:
        return f"ask user {holder.uid} to free port {holder.port}, or choose another port in .env"
    if holder.stack:
        return f"run inv cleanup in {holder.stack}, or start again with --take-over"
    return f"end pid {holder.pid} or start again with --take-over, or choose another port in .env"


def _stopped_there(root: Path, service: str, progress: Progress) -> bool:
    """Stop one service in the stack of another project; whether its run state allowed that."""
    files = RunFiles(root)
    if files.wanted() is None:
        return False
    with stack_lock(files, progress, patience=10.0):
        situation = look(files)
        if situation.wanted is None or service not in situation.running:
            return False
        names = frozenset({service})
        handle.give_orders(files, situation.wanted.held(names), situation.supervisor)
        end_services(situation.wanted, names, progress=progress)
    return True
