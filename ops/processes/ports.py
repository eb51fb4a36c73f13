"""Who listens on a port. Read only, and never by binding: a trial bind can make the real one fail.

The kernel gives the socket's inode; only then are processes searched for it, the likely ones
first. That is a hundred times cheaper than listing the connections of every process.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from ops.processes import procfs, sock_diag


@dataclass(frozen=True)
class Listener:
    """One listening TCP socket; `address` as one connects to it from this machine."""

    port: int
    address: str
    inode: int
    uid: int


@dataclass(frozen=True)
class Holder:
    """Who holds a port: everything a person needs to decide about it. `pid` is None where the
    process belongs to another user and cannot be looked into; then `uid` is all we know."""

    port: int
    pid: int | None
    command: str
    age: float  # seconds
    cwd: str | None
    stack: str | None  # the project folder whose stack it belongs to
    service: str | None
    uid: int

    def __str__(self) -> str:
        if self.pid is None:
            return f"port {self.port} is held by a process of user {self.uid} that we may not look into"
        whose = f"service {self.service or '?'} of the stack in {self.stack}" if self.stack else "of no stack"
        return (
            f"port {self.port} is held by pid {self.pid} ({self.command[:120]}), {_duration(self.age)} old, "
            f"in {self.cwd or '?'}, {whose}"
        )


def listeners(ports: Iterable[int]) -> list[Listener]:
    """The sockets that listen on these ports at an address where this machine itself would ask."""
    wanted = set(ports)
    if not wanted:
        return []
    return [
        Listener(one.port, address, one.inode, one.uid)
        for one in sock_diag.listening()
        if one.port in wanted and (address := _local_address(one.address))
    ]


def owner(inode: int, first: Iterable[int] = ()) -> int | None:
    """The process that has this socket open, looking at `first` before all others."""
    tried = set()
    for pid in first:
        tried.add(pid)
        if inode in _sockets(pid):
            return pid
    rest = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return next((pid for pid in rest if pid not in tried and inode in _sockets(pid)), None)


def holder(listener: Listener, pid: int | None) -> Holder:
    """What can be said of the process that holds a port."""
    stat = procfs.stat(pid) if pid else None
    if pid is None or stat is None:
        return Holder(listener.port, None, "", 0.0, None, None, None, listener.uid)
    marks = procfs.environment(pid)
    return Holder(
        port=listener.port,
        pid=pid,
        command=procfs.command(pid),
        age=procfs.age(stat),
        cwd=procfs.cwd(pid),
        stack=marks.get("TRUNKLINE_ROOT"),
        service=marks.get("TRUNKLINE_SERVICE"),
        uid=listener.uid,
    )


def _sockets(pid: int) -> set[int]:
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except OSError:
        pass
    return found


def _local_address(raw: bytes) -> str | None:
    """The address as text; None for one that is not this machine talking to itself."""
    raw = raw.removeprefix(b"\0" * 10 + b"\xff\xff")  # IPv4 in IPv6 is IPv4
    if not any(raw):
        return "127.0.0.1" if len(raw) == 4 else "::1"
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw) if raw[0] == 127 else None
    return "::1" if raw == b"\0" * 15 + b"\1" else None


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
