"""Reads what the kernel tells about processes (proc(5)). Read only; a process may be gone at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD among the flags (include/linux/sched.h)
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """The part of /proc/PID/stat that we use; `start_ticks` are clock ticks since boot."""

    pid: int
    name: str
    state: str  # R S D T(stopped) t(traced) Z(zombie) X(dead) I
    parent: int
    session: int
    start_ticks: int
    wait_status: int  # of a zombie, in the form of wait(2)
    of_the_kernel: bool  # a thread of the kernel: it has no environment

    @property
    def lives(self) -> bool:
        return self.state not in "ZX"


def stat(pid: int) -> Stat | None:
    """The process with this number now, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123  (hot: once a process)
            text = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    if len(fields) < 50:
        return None
    return Stat(
        pid=pid,
        name=head.partition("(")[2],
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        wait_status=int(fields[49]),
        of_the_kernel=bool(int(fields[6]) & KERNEL_THREAD),
    )


def all_stats() -> dict[int, Stat]:
    """Every process that can be seen, by its number; zombies too."""
    found = (stat(int(name)) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208
    return {one.pid: one for one in found if one is not None}


def environment(pid: int, having: str = "") -> dict[str, str]:
    """The environment a process was started with; empty when it is gone or not ours to read, or when
    the text `having` does not stand in it: most do not, and then nothing is taken apart."""
    data = _read(pid, "environ")
    if having.encode() not in data:
        return {}
    pairs = (entry.partition("=") for entry in _texts(data))
    return {name: value for name, _, value in pairs}


def command(pid: int) -> str:
    """Its command line as one line; the kernel's short name where there is none."""
    words = " ".join(_texts(_read(pid, "cmdline")))
    if words:
        return words
    found = stat(pid)
    return f"[{found.name}]" if found else ""


def cwd(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
    except OSError:
        return None


def reads_a_pipe(pid: int) -> bool:
    """Whether its standard input is a pipe."""
    try:
        return os.readlink(f"/proc/{pid}/fd/0").startswith("pipe:")  # noqa: PTH115
    except OSError:
        return False


def namespace(pid: int | str) -> str | None:
    """The mount namespace: the same path means the same file only within one."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115
    except OSError:
        return None


def age(one: Stat) -> float:
    """Seconds since a process was started, whatever happened to the wall clock."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - one.start_ticks / TICKS_PER_SECOND)


def descendants(roots: Iterable[int], stats: Mapping[int, Stat]) -> set[int]:
    """All processes below `roots`, the roots themselves not included."""
    children: dict[int, list[int]] = {}
    for one in stats.values():
        children.setdefault(one.parent, []).append(one.pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def ancestors(pid: int, stats: Mapping[int, Stat]) -> set[int]:
    """A process and all those above it."""
    found: set[int] = set()
    while pid in stats and pid not in found:
        found.add(pid)
        pid = stats[pid].parent
    return found


def _read(pid: int, name: str) -> bytes:
    """A file of a process; empty when it is gone or not ours to read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  (hot: once a process)
            return file.read()
    except OSError:
        return b""


def _texts(data: bytes) -> list[str]:
    return [part.decode("utf-8", "surrogateescape") for part in data.split(b"\0") if part]
