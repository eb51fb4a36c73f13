"""One piece of work on all hosts at once: a barrier at its end, and Ctrl-C that reaches what runs there."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from ops.errors import OpsError, Refused, Unreachable
from ops.remote.apply import Link, Patience, connect
from ops.remote.hosts import Host
from ops.remote.outcome import HostResult, Lost, State, ended
from ops.remote.screen import LINE, Lines

HEARD = 0.2  # seconds in which a Ctrl-C is heard at the latest
SIGNALS = ("INT", "TERM", "KILL")
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TAIL = 20  # lines kept of what a host wrote, for its result
DOCUMENT = 4 << 20  # bytes of a JSON document that we are willing to read
FIRST = 1 << 16  # bytes of a login shell's greeting in which our own first line is looked for
AT_ONCE = 64  # hosts
Show = Callable[[str, str, bool], None]  # host, line, whether it came from standard error


class Crew:
    """The hosts of one command line, and a connection to each that outlives a task."""

    def __init__(self, hosts: tuple[Host, ...], patience: Patience = Patience()) -> None:  # noqa: B008
        self.hosts = hosts
        self._patience = patience
        self._links: dict[str, Link] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links.values():
            link.close()

    def link(self, host: Host) -> Link:
        """The open connection to a host, made on first use. Raises Refused or Unreachable."""
        if host.name not in self._links:
            self._links[host.name] = connect(host, self._patience)
        return self._links[host.name]


class Work(Protocol):
    """A piece of work on one host: carried out in a thread, and told of Ctrl-C from another."""

    @property
    def host(self) -> Host: ...
    def run(self, stopped: threading.Event) -> None: ...
    def signal(self, name: str) -> None: ...


class Errand:
    """One task on one host: it can be interrupted from another thread."""

    def __init__(
        self, crew: Crew, host: Host, command: str, word: str, show: Show | None, line: int = LINE
    ) -> None:
        self.host = host
        self.result = HostResult(host.name, "skipped", reason="not begun")
        self.document = bytearray()
        self._crew = crew
        self._command = command
        self._mark = f"\x1e{word} ".encode()
        self._show = show
        self._group: int | None = None
        self._no_release = False
        self._wanted: list[str] = []  # signals asked for before the group was known
        self._first = bytearray()
        self._lines = {False: Lines(line), True: Lines(line)}
        self._tail: list[str] = []
        self._lock = threading.Lock()

    def run(self, stopped: threading.Event) -> None:
        """Connect, run, and keep what came of it as `result`."""
        started = time.monotonic()
        try:
            link = self._crew.link(self.host)
            if stopped.is_set():
                return
            code = link.run(self._command, out=self._stdout, err=self._stderr)
            if stopped.is_set() and self._group is not None:
                link.signal(self._group, "TERM")  # children that do not hear INT, as those of a shell's &
            self._tell(self._lines[False].feed(bytes(self._first)), False)  # our own line never came
            for from_stderr, lines in self._lines.items():
                self._tell(lines.end(), from_stderr)
            self.result = self._ended(code, time.monotonic() - started)
        except OpsError as error:
            self.result = HostResult(
                self.host.name, state_of(error), None, time.monotonic() - started,
                reason=error.message.removeprefix(f"{self.host.name}: "), fix=error.fix,
                last_lines=tuple(self._tail),
            )  # fmt: skip

    def signal(self, name: str) -> None:
        """Send a signal to the task, now or as soon as it has begun."""
        with self._lock:
            group = self._group
            if group is None:
                self._wanted.append(name)
        if group is not None:
            with suppress(OpsError):
                self._crew.link(self.host).signal(group, name)

    def _ended(self, code: int, seconds: float) -> HostResult:
        if self._no_release:
            return HostResult(
                self.host.name, "no-release", code, seconds,
                reason=f"there is no release in {self.host.path}/current",
                fix=f"inv -H {self.host.name} deploy",
            )  # fmt: skip
        result = ended(self.host.name, code, seconds)
        return result if code == 0 else HostResult(**{**vars(result), "last_lines": tuple(self._tail)})

    def _stdout(self, data: bytes) -> None:
        if self._group is None and not self._no_release:
            data = self._until_marked(data)
        if self._show is None:
            self.document += data[: max(0, DOCUMENT - len(self.document))]
        self._tell(self._lines[False].feed(data), False)

    def _stderr(self, data: bytes) -> None:
        self._tell(self._lines[True].feed(data), True)

    def _until_marked(self, data: bytes) -> bytes:
        """Drop what a login shell said before our own first line; from there on it is the task's."""
        self._first += data
        del self._first[:-FIRST]
        _, _, after = bytes(self._first).partition(self._mark)
        line, newline, rest = after.partition(b"\n")
        if not newline:
            return b""
        self._first.clear()
        if not line.isdigit():
            self._no_release = True
            return rest
        with self._lock:
            self._group = int(line)
            wanted = list(self._wanted)
        for name in wanted:
            self._crew.link(self.host).signal(int(line), name)
        return rest

    def _tell(self, lines: Iterable[str], from_stderr: bool) -> None:
        for line in lines:
            if self._show is not None:
                self._show(self.host.name, line, from_stderr)
            self._tail = [*self._tail[1 - TAIL :], line]


def state_of(error: OpsError) -> State:
    if isinstance(error, Lost):
        return "lost"
    if isinstance(error, Refused):
        return "refused"
    return "unreachable" if isinstance(error, Unreachable) else "failed"


def together(errands: Sequence[Work], interrupted: Callable[[str], None]) -> None:
    """Run all errands at once and wait for every one; Ctrl-C sends INT to all, again TERM, again KILL.

    Raises KeyboardInterrupt after an interrupt, once nothing runs any more or KILL was sent.
    """
    stopped = threading.Event()
    slots = threading.BoundedSemaphore(AT_ONCE)
    broken: list[BaseException] = []
    news: queue.SimpleQueue[str] = queue.SimpleQueue()  # "done" from each errand, "press" from Ctrl-C

    def work(errand: Work) -> None:
        try:
            with slots:
                if not stopped.is_set():
                    errand.run(stopped)
        except BaseException as problem:
            broken.append(problem)
            _signal(errands, "INT")
        finally:
            news.put("done")

    presses = 0
    with _pressed(lambda: news.put("press")):
        for one in errands:
            threading.Thread(target=work, args=(one,), name=one.host.name, daemon=True).start()
        left = len(errands)
        while left and presses <= len(SIGNALS):
            try:  # a Ctrl-C in the moment before a wait would be heard only at its end: none lasts long
                came = news.get(timeout=HEARD)
            except queue.Empty:
                continue
            if came == "done":
                left -= 1
                continue
            presses += 1
            name = SIGNALS[min(presses, len(SIGNALS)) - 1]
            stopped.set()
            interrupted(name)
            _signal(errands, name)
    if broken:
        raise broken[0]
    if presses:
        raise KeyboardInterrupt


def _signal(errands: Iterable[Work], name: str) -> None:
    """To all at once: one dead link must not keep the others waiting."""
    for one in errands:
        threading.Thread(target=one.signal, args=(name,), daemon=True).start()


@contextmanager
def _pressed(tell: Callable[[], None]) -> Iterator[None]:
    """Tells of each Ctrl-C, also of several in a row, and interrupts nothing by itself. A terminal that is
    closed and a plain kill mean the same: nothing shall go on there that nobody follows."""
    before = {one: signal.getsignal(one) for one in STOPS}
    for one, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(one, lambda *_: tell())
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
