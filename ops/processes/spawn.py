"""Starts processes: each its own session leader, and none runs before it has been written down.

`fork` gives a child that waits at a gate. The supervisor writes the child's identity to the run
state, and only then opens the gate, upon which the child becomes the service. If the supervisor
dies in between, the gate closes and the child is gone: no process runs that nobody knows of.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.processes import procfs
from ops.processes.identity import Identity, boot_id

_SET_CHILD_SUBREAPER = 36  # prctl(2)
DESCRIPTORS = 65_536  # open files that a service may have
LEAST_FREE = 1 << 20  # bytes on the disk below which output is not kept


@dataclass(frozen=True)
class Gated:
    """A forked child that waits to become a service."""

    identity: Identity
    gate: int
    problem: int  # read end: the child writes here why it could not start

    def open(self) -> str | None:
        """Let it run; None, or why it could not be started."""
        try:
            os.write(self.gate, b"!")
        except BrokenPipeError:
            return "it was ended before it began"
        finally:
            os.close(self.gate)
        try:
            return os.read(self.problem, 4096).decode("utf-8", "replace") or None
        finally:
            os.close(self.problem)

    def abandon(self) -> None:
        """Close the gate: the child ends without having run."""
        os.close(self.gate)
        os.close(self.problem)


def fork(argv: Sequence[str], cwd: Path, environment: Mapping[str, str], output: int) -> Gated:
    """Fork a child for this command, its output to the descriptor `output`. Raises OSError.

    Only for a process of one thread; the descriptors it has open are closed on exec.
    """
    gate_read, gate_write = os.pipe()
    try:
        problem_read, problem_write = os.pipe()
    except OSError:
        os.close(gate_read)
        os.close(gate_write)
        raise
    try:
        pid = os.fork()
    except OSError:
        for handle in (gate_read, gate_write, problem_read, problem_write):
            os.close(handle)
        raise
    if pid == 0:
        os.close(gate_write)
        _become(argv, cwd, environment, output, gate_read, problem_write)
    os.close(gate_read)
    os.close(problem_write)
    stat = procfs.stat(pid)
    if stat is None:  # no descriptor left for looking at it
        os.close(gate_write)
        os.close(problem_read)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return Gated(Identity(pid, stat.start_ticks, boot_id()), gate_write, problem_read)


def _become(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str], output: int, gate: int, problem: int
) -> None:
    """In the child: wait at the gate, then become the command. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _allow_descriptors()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if not os.read(gate, 1):
            os._exit(125)
        try:
            os.chdir(cwd)
        except OSError as error:
            os.write(problem, f"its folder {cwd}: {error.strerror}".encode())
            os._exit(126)
        os.execvpe(argv[0], list(argv), dict(environment))
    except OSError as error:
        os.write(problem, f"{argv[0]}: {error.strerror}".encode())
    finally:
        os._exit(127)


def _allow_descriptors() -> None:
    """Three descriptors a call, and the usual soft limit is 1024: go towards the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_output(path: Path) -> tuple[int, str | None]:
    """An append-only descriptor that outlives us, so that no line is lost when the supervisor dies;
    or /dev/null and why, where the disk is full or may not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        space = os.statvfs(path.parent)
        if space.f_bavail * space.f_frsize < LEAST_FREE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600), None
    except OSError as error:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), error.strerror or str(error)


def subreaper() -> Callable[[], None]:
    """What a process calls so that whatever below it loses its parent becomes its child (prctl(2)), and
    descent is never lost. Getting hold of it takes time, calling it does not."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def become() -> None:
        with contextlib.suppress(OSError, AttributeError):
            libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    return become
