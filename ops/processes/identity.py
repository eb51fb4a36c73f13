"""Who a process is: its number, start time and boot; and the only ways to signal one and to learn its end.

A number alone is no identity: the kernel gives it to the next process. Signals go through a
pidfd that was opened first and compared with the identity afterwards, so they can only reach the
process that was meant (pidfd_open(2)).
"""

from __future__ import annotations

import fcntl
import functools
import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

from ops.processes import procfs

# ioctl PIDFD_GET_INFO, struct pidfd_info (include/uapi/linux/pidfd.h); the exit code since Linux 6.15
_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_INFO_EXIT = 1 << 3
_INFO = struct.Struct("=QQ11Ii")


@dataclass(frozen=True)
class Identity:
    """One process of one boot."""

    pid: int
    start_ticks: int
    boot_id: str


@functools.cache
def boot_id() -> str:
    """The kernel's name for this boot; a number recorded under another boot means nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def identify(pid: int) -> Identity | None:
    """Who has this number now; None when nobody does, or a zombie."""
    found = procfs.stat(pid)
    return Identity(pid, found.start_ticks, boot_id()) if found and found.lives else None


def lives(identity: Identity | None) -> bool:
    """Whether exactly this process still runs (a zombie does not)."""
    return identity is not None and identify(identity.pid) == identity


def open_pidfd(identity: Identity) -> int | None:
    """A descriptor of exactly this process, or None when it is gone; the caller closes it."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if lives(identity):
        return handle
    os.close(handle)
    return None


def send(pidfd: int, number: int) -> bool:
    """Signal the process behind a pidfd; False when it is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def signal_process(identity: Identity, number: int) -> bool:
    """Signal exactly this process; False when it is gone."""
    handle = open_pidfd(identity)
    if handle is None:
        return False
    try:
        return send(handle, number)
    finally:
        os.close(handle)


def exit_code(pidfd: int, pid: int) -> int | None:
    """How a process that has ended did so, also one that is not our child: its exit code, or the
    negative signal number; None where the kernel does not tell."""
    buffer = bytearray(_INFO.pack(_INFO_EXIT, *[0] * 13))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, buffer)
    except OSError:
        buffer = bytearray(_INFO.size)
    fields = _INFO.unpack(buffer)
    if fields[0] & _INFO_EXIT:
        return os.waitstatus_to_exitcode(fields[-1])
    zombie = procfs.stat(pid)  # ended, but its parent has not asked yet
    if zombie and zombie.state == "Z":
        return os.waitstatus_to_exitcode(zombie.wait_status)
    return None
