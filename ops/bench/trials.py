"""One tool put to one test: its times, what it leaves behind, what its death leaves behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ops.bench import service
from ops.bench.answers import LOOK, answering, until
from ops.bench.stage import Stage, free_ports, pss_kib, wait_gone
from ops.bench.tools import NAMES, Scene, Tool, Way
from ops.processes import identity, procfs
from ops.processes.identity import Identity

UP = 20.0  # seconds in which three services must answer, and a start command must return
DOWN = 15.0  # seconds in which a stop must be over
BACK = 5.0  # seconds in which a killed service must answer again
SETTLE = 0.5  # seconds until things are counted
WATCH = 3.0  # seconds in which starts after a second start are counted
KINDS = ("service", *service.KINDS)


@dataclass(frozen=True)
class Times:
    """One try's times in ms; None where it did not happen in time."""

    answer_ms: float | None  # launch → all three services answer
    return_ms: float | None  # launch → the start command has returned; None: it stays
    ready: int | None  # services that answered at that moment
    again_ms: float | None = None  # kill -9 of one → it answers
    stop_ms: float | None = None  # stop → no service and no supervisor is there, and the command returned
    pss_mib: float | None = None  # of all supervising processes
    trouble: str = ""  # the last words of a start command that did not end with 0

    @property
    def start_ms(self) -> float | None:
        """Launch → all services answer and the command has returned; None where it stays."""
        if self.answer_ms is None or self.return_ms is None:
            return None
        return max(self.answer_ms, self.return_ms)


@dataclass(frozen=True)
class Crash:
    """After kill -9 of the supervisor and a second start."""

    alive: int  # services that lived on
    same: int  # services that answer from the same process as before
    extra: int  # starts of services that the second start caused
    left: dict[str, int] = field(default_factory=dict)  # by kind, after the next stop


class Try:
    """One tool in one folder of its own."""

    def __init__(self, stage: Stage, tool: Tool, helpers: bool = False) -> None:
        self.stage = stage
        folder = stage.place()
        self.scene = Scene(folder, tuple(free_ports(len(NAMES))), stage.token, helpers)
        self.way: Way = tool.way(self.scene)
        for name, text in self.way.files.items():
            (folder / name).write_text(text, "utf-8")
        for name, target in self.way.links.items():
            (folder / name).symlink_to(target)
        self._programs: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Try:
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.end_all()
        shutil.rmtree(self.scene.folder, ignore_errors=True)

    def start(self) -> Times:
        """Start, and wait until all services answer and the command has returned."""
        began = time.perf_counter()
        self._programs = [self._launch(argv) for argv in self.way.start]
        waiting = set(self.scene.ports)
        answer_ms = return_ms = ready = None
        trouble = ""
        while time.perf_counter() - began < UP:
            if return_ms is None and self._returned():
                return_ms = _ms_since(began)
                ready = sum(self.answers().values())
                trouble = self._trouble()
            waiting -= {port for port in waiting if answering(port) is not None}
            if not waiting and answer_ms is None:
                answer_ms = _ms_since(began)
            if answer_ms is not None and (return_ms is not None or self.way.stop is None):
                break
            time.sleep(LOOK)
        return Times(answer_ms, return_ms, ready, trouble=trouble)

    def stop(self, patience: float = DOWN) -> float | None:
        """Stop; ms until neither a service nor a supervisor is there and the command has returned."""
        concerned = [who for who, words in self.stage.census().items() if kind_of(words) not in service.KINDS]
        began = time.perf_counter()
        command = self._launch(self.way.stop) if self.way.stop else None
        if command is None:
            for program in self._programs:
                program.send_signal(signal.SIGTERM)
        gone = wait_gone(concerned, patience)
        if command is not None:
            try:
                command.wait(max(0.1, patience - (time.perf_counter() - began)))
            except subprocess.TimeoutExpired:
                return None
        return None if gone is None else _ms_since(began)

    def kill_one(self) -> float | None:
        """kill -9 of one service; ms until another process answers in its place."""
        port = self.scene.ports[0]
        pid = answering(port)
        victim = identity.identify(pid) if pid is not None else None
        if victim is None or victim not in self.stage.census():
            return None
        began = time.perf_counter()
        identity.signal_process(victim, signal.SIGKILL)
        back = until(lambda: answering(port) not in (None, victim.pid), BACK)
        return None if back is None else _ms_since(began)

    def answers(self) -> dict[int, bool]:
        return {port: answering(port) is not None for port in self.scene.ports}

    def count(self) -> dict[str, int]:
        """What is there, by kind."""
        kinds = [kind_of(words) for words in self.stage.census().values()]
        return {kind: kinds.count(kind) for kind in KINDS}

    def supervising(self) -> list[Identity]:
        return [who for who, words in self.stage.census().items() if kind_of(words) == ""]

    def started(self) -> int:
        """Starts of services so far."""
        try:
            return len(self.scene.starts.read_text("ascii").splitlines())
        except OSError:
            return 0

    def master(self) -> Identity | None:
        """The topmost supervising process above a service."""
        above = {who.pid: who for who in self.supervising()}
        pid = answering(self.scene.ports[0])
        found = None
        while pid is not None and (stat := procfs.stat(pid)) is not None:
            found = above.get(pid, found)
            pid = stat.parent if stat.parent > 1 else None
        return found

    def _launch(self, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
        environment = {**self.stage.environment(self.scene.folder), **self.way.environment}
        return self.stage.launch(argv, self.scene.folder, environment)

    def _trouble(self) -> str:
        codes = [program.returncode for program in self._programs]
        if not any(codes):
            return ""
        said = (self.scene.folder / "output.txt").read_text("utf-8", "replace").split()
        return f"ended with {max(codes)}: {' '.join(said)[-300:]}"

    def _returned(self) -> bool:
        return self.way.stop is not None and all(program.poll() is not None for program in self._programs)


def times(stage: Stage, tool: Tool) -> list[Times]:
    """Two starts: one is stopped, in the other a service is killed."""
    with Try(stage, tool) as one:
        first = one.start()
        time.sleep(SETTLE)
        pss = sum(pss_kib(who.pid) for who in one.supervising()) / 1024
        stopped = replace(first, stop_ms=one.stop(), pss_mib=pss)
    with Try(stage, tool) as one:
        second = one.start()
        if not tool.supervises:
            return [stopped, second]
        time.sleep(SETTLE)
        return [stopped, replace(second, again_ms=one.kill_one())]


def exec_to_listening(stage: Stage, tool: Tool) -> float | None:
    """ms from the launch of one bare service, beside two that run, until it answers."""
    with Try(stage, tool) as one:
        one.start()
        port = free_ports(1)[0]
        began = time.perf_counter()
        stage.launch(one.scene.command(port), one.scene.folder)
        found = until(lambda: answering(port) is not None, BACK)
        return None if found is None else _ms_since(began)


def leaves(stage: Stage, tool: Tool) -> dict[str, int]:
    """What is there after a stop, by kind, when each service had three helpers."""
    with Try(stage, tool, helpers=True) as one:
        one.start()
        until(lambda: min(one.count().values()) >= len(NAMES), BACK)
        one.stop()
        time.sleep(SETTLE)
        return one.count()


def crash(stage: Stage, tool: Tool, watch: float = WATCH) -> Crash | None:
    """kill -9 of the supervisor, a second start, a stop; None where nothing could be killed."""
    with Try(stage, tool, helpers=True) as one:
        one.start()
        until(lambda: min(one.count().values()) >= len(NAMES), BACK)
        before = {port: answering(port) for port in one.scene.ports}
        master = one.master()
        if master is None:
            return None
        identity.signal_process(master, signal.SIGKILL)
        wait_gone([master], BACK)
        time.sleep(2 * SETTLE)
        alive, starts = one.count()["service"], one.started()
        one.start()
        time.sleep(watch)
        now = {port: answering(port) for port in one.scene.ports}
        same = sum(now[port] is not None and now[port] == before[port] for port in one.scene.ports)
        extra = one.started() - starts
        one.stop(BACK)  # what nobody supervises any more will not go
        time.sleep(SETTLE)
        return Crash(alive, same, extra, one.count())


def inside(stage: Stage, tool: Tool) -> tuple[float, float]:
    """Our own start and stop without a fresh interpreter: ms of the two functions themselves."""
    from ops.config import Settings
    from ops.processes.start import start
    from ops.processes.stop import stop
    from ops.services import table

    with Try(stage, tool) as one:
        settings = Settings.load(one.scene.folder, {})
        start_ms = _timed(lambda: start(settings, table(settings)))
        time.sleep(SETTLE)
        return start_ms, _timed(lambda: stop(settings))


def kind_of(words: list[str]) -> str:
    """`service`, a kind of helper, or nothing: a supervising process."""
    if service.__file__ not in words:
        return ""
    return words[-1] if words[-2] == "helper" else "service"


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return _ms_since(began)


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
