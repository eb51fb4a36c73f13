"""A folder and a token for programs under measurement: by the token they are counted, and ended.

Whatever is started here carries the token in its environment, and so does all that it starts, also
across setsid and a double fork. Signals go through pidfds whose process was verified.
"""

from __future__ import annotations

import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ops.processes import identity, procfs
from ops.processes.environment import minimal
from ops.processes.identity import Identity, boot_id
from ops.processes.interrupt import hurried, interruptible

VARIABLE = "TRUNKLINE_BENCH"
ENDED_WITHIN = 10.0  # seconds in which a killed process must be gone


@dataclass
class Stage:
    """Where programs are started, and all that belongs to them."""

    folder: Path
    token: str
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, home: Path) -> dict[str, str]:
        """A minimal environment with the token, and another home: no file of the person is touched."""
        places = ("CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")
        return {**minimal(), "HOME": str(home), **{f"XDG_{one}": str(home) for one in places}, **self.mark}

    @property
    def mark(self) -> dict[str, str]:
        """What every program of this stage must have in its environment."""
        return {VARIABLE: self.token}

    def place(self) -> Path:
        """A new folder that no earlier program of this stage has seen."""
        return Path(tempfile.mkdtemp(prefix="", dir=self.folder))

    def launch(
        self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, so that a Ctrl-C here reaches it only through us."""
        with (cwd / "output.txt").open("ab") as output:
            program = subprocess.Popen(
                argv, cwd=cwd, env=self.environment(cwd) if environment is None else dict(environment),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._started.append(program)
        return program

    def census(self) -> dict[Identity, list[str]]:
        """All living processes that carry the token, and all below them, with their command lines."""
        stats = procfs.all_stats()
        mark = self.token.encode()
        marked = {pid for pid in stats if mark in _read(pid, "environ")}
        found = sorted({*marked, *procfs.descendants(marked, stats)} - procfs.ancestors(os.getpid(), stats))
        return {
            Identity(pid, stats[pid].start_ticks, boot_id()): _words(pid) for pid in found if stats[pid].lives
        }

    def end_all(self) -> list[int]:
        """Kill all that is there until nothing is; the process numbers of what would not go."""
        until = time.monotonic() + ENDED_WITHIN
        while (there := self.census()) and time.monotonic() < until:
            for one in there:
                identity.signal_process(one, signal.SIGKILL)
            wait_gone(there, 0.2)
        for program in self._started:
            with suppress(subprocess.TimeoutExpired):  # its other threads may need a moment more
                program.wait(1.0)
        self._started = [program for program in self._started if program.returncode is None]
        return [one.pid for one in there]


def wait_gone(those: Mapping[Identity, object] | Sequence[Identity], seconds: float) -> float | None:
    """Seconds until all of them had ended, None when some had not in time."""
    began = time.perf_counter()
    poll = select.poll()
    handles = {handle for one in those if (handle := identity.open_pidfd(one)) is not None}
    try:
        for handle in handles:
            poll.register(handle, select.POLLIN)
        left = set(handles)
        while left:
            rest = seconds - (time.perf_counter() - began)
            if rest <= 0:
                return None
            for handle, _ in poll.poll(max(1, int(rest * 1000))):
                poll.unregister(handle)
                left.discard(handle)
        return time.perf_counter() - began
    finally:
        for handle in handles:
            os.close(handle)


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage in the system's folder for temporary files; at its end, also by Ctrl-C or SIGTERM,
    nothing of it is left."""
    token = f"trunkline-bench-{secrets.token_hex(6)}"
    folder = Path(tempfile.gettempdir()) / token
    folder.mkdir(mode=0o700)
    one = Stage(folder, token)
    try:
        with interruptible():
            yield one
    finally:
        with hurried():  # what must be ended is ended, however often Ctrl-C comes
            left = one.end_all()
            shutil.rmtree(folder, ignore_errors=True)
        if left:
            raise RuntimeError(f"still there after SIGKILL: {left}")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, neighbours of one another, below those that the kernel
    gives to clients: asking such a port before its service listens can connect to itself and hold it."""
    clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    while True:
        first = random.randrange(10_000, max(20_000, clients) - count)
        wanted = range(first, first + count)
        with ExitStack() as held, suppress(OSError):
            for port in wanted:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return list(wanted)


def pss_kib(pid: int) -> float:
    """Its memory in KiB, what it shares with others counted in proportion (proc(5), smaps_rollup)."""
    return _memory(pid, b"Pss:")


def own_kib(pid: int) -> float:
    """Its memory in KiB that it has made itself: no file's, so whoever else maps those changes nothing."""
    return _memory(pid, b"Anonymous:", b"Swap:")


def _memory(pid: int, *kinds: bytes) -> float:
    rows = (line.split() for line in _read(pid, "smaps_rollup").splitlines())
    return sum(float(row[1]) for row in rows if row[0] in kinds)


def cpu_seconds(pid: int) -> float:
    """The processor time it has taken so far."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / procfs.TICKS_PER_SECOND if fields else 0.0


def waited_seconds(pid: int) -> float:
    """How long it was ready to run and had to wait for a processor so far (proc(5), schedstat)."""
    threads = (_read(pid, f"task/{name}/schedstat").split() for name in _threads(pid))
    return sum(int(fields[1]) for fields in threads if len(fields) > 1) / 1e9


def pin(pid: int, cores: Sequence[int]) -> None:
    """Let all threads of a process run on these cores alone."""
    for name in _threads(pid):
        with suppress(OSError):
            os.sched_setaffinity(int(name), cores)


def _threads(pid: int) -> list[str]:
    try:
        return [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def _words(pid: int) -> list[str]:
    return [word.decode("utf-8", "replace") for word in _read(pid, "cmdline").split(b"\0") if word]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
