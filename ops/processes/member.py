"""One service as the supervisor holds it: its order, its life, its process, and the question under way."""

from __future__ import annotations

import os
import select
import shlex
import signal
import time
from dataclasses import replace

from ops.processes import census, identity, ports, procfs, spawn
from ops.processes.environment import for_service, is_ours
from ops.processes.identity import Identity
from ops.processes.plan import Order, Seen
from ops.processes.probe import Asking, CommandAsk, HttpAsk, log_answer
from ops.processes.records import Standing, Wanted, spec_changes, spec_of
from ops.processes.run_files import RunFiles, last_lines
from ops.processes.state import (
    Answer,
    Life,
    Rules,
    answered,
    died,
    launched,
    not_started,
    probe_pause,
    stopped,
)
from ops.processes.tail import Tail
from ops.services import Ready, Service

PROBE_SECONDS = 2.0  # until a question without an answer counts as silence
LIVED = 0.25  # seconds after which a service that has no other proof counts as ready


class Member:
    """A service in the supervisor's hands."""

    def __init__(self, order: Order, wanted: Wanted, files: RunFiles, standing: Standing | None) -> None:
        self.files = files
        self.order, self.wanted = order, wanted
        self.standing = standing or Standing(order.service.name, serial=order.serial, since=time.time())
        self.pidfd: int | None = None
        self.exit_code: int | None = None  # of its process, once it has ended
        self.asking: Asking | None = None
        self.next_ask = 0.0
        self._asked = 0
        self._sockets: frozenset[int] = frozenset()  # inodes that are known to be its own
        self.tail = None if is_ours(order.service) else self._new_tail()
        self.describe()

    @property
    def service(self) -> Service:
        return self.order.service

    @property
    def life(self) -> Life:
        return self.standing.life

    @property
    def identity(self) -> Identity | None:
        return self.standing.identity

    @property
    def rules(self) -> Rules:
        return Rules(
            self.service.restart, self.service.stable, self.wanted.most_quick_deaths, self.wanted.startup
        )

    def describe(self) -> None:
        """Bring what the state file says of the service up to the order."""
        service = self.service
        url = f"http://127.0.0.1:{service.port}" if service.port and service.ready.probe == "http" else None
        self.standing = replace(self.standing, ports=service.ports, url=url)

    def move(self, life: Life) -> bool:
        """Take over a new life; whether anything that others see has changed."""
        before = self.life
        since = self.standing.since if life.state == before.state else time.time()
        self.standing = replace(self.standing, life=life, since=since)
        return life != before

    def seen(self) -> Seen:
        changed = spec_changes(self.service, self.standing.spec, self.wanted.token) if self.pidfd else None
        return Seen(self.life, self.pidfd is not None, changed is None, changed or "")

    def take_order(self, order: Order, wanted: Wanted) -> None:
        """The order has changed; a process that runs goes on."""
        self.order, self.wanted = order, wanted
        self.describe()

    def begin_anew(self) -> None:
        """A person asked for a new start: what it died of before no longer counts."""
        self.standing = replace(
            self.standing, serial=self.order.serial, identity=None, spec="", last_lines=(), output_from=0
        )
        self.move(Life(restarts=self.life.restarts))

    # Its process.

    def adopt(self) -> bool:
        """Take over a process that another supervisor started; False when it is gone."""
        if self.identity is None:
            return False
        self.pidfd = identity.open_pidfd(self.identity)
        self.next_ask = 0.0
        return self.pidfd is not None

    def fork(self) -> spawn.Gated:
        """Fork its process, which waits at the gate until its identity is written down."""
        output, trouble = spawn.open_output(self.files.output(self.service.name))
        try:
            begins = os.fstat(output).st_size
            marks = census.marks(self.wanted.token, self.wanted.root, self.service.name)
            environment = for_service(self.service, marks)
            gated = spawn.fork(self.service.argv, self.service.cwd, environment, output)
        finally:
            os.close(output)
        self.pidfd = identity.open_pidfd(gated.identity)
        if self.pidfd is None:
            gated.abandon()
            raise OSError("it was gone at once")
        self.exit_code = None
        self.standing = replace(
            self.standing,
            identity=gated.identity,
            spec=spec_of(self.service, self.wanted.token),
            output_from=begins,
            last_lines=(f"(its output is not kept: {trouble})",) if trouble else (),
        )
        now = time.monotonic()
        self.move(launched(self.life, now))
        self._asked, self._sockets = 0, frozenset()
        self.next_ask = now + probe_pause(0, False)
        return gated

    def ended(self, jitter: float, why: str = "") -> None:
        """Its process is gone: what that means, and what it said last."""
        code, now = self.exit_code, time.monotonic()
        if code is None and self.pidfd is not None and self.identity:
            code = identity.exit_code(self.pidfd, self.identity.pid)
        self.drop_question()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        how = why or how_it_ended(code)
        lines = last_lines(self.files.output(self.service.name), self.standing.output_from)
        self.standing = replace(self.standing, last_lines=lines, identity=None)
        if self.order.held:
            self.move(stopped(self.life))
        else:
            self.move(died(self.life, how, code, self.rules, now, jitter))

    def failed_to_start(self, why: str) -> None:
        """There is no process, for a reason that is not the service's."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        self.standing = replace(self.standing, identity=None)
        self.move(not_started(self.life, why, time.monotonic()))

    def has_ended(self) -> bool:
        """Whether its process is gone, or a zombie."""
        if self.pidfd is None:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def signal(self, number: int) -> None:
        if self.pidfd is not None:
            identity.send(self.pidfd, number)

    # How it is.

    def ask(self, now: float) -> bool:
        """Begin the next question, or answer it at once; whether its life has changed."""
        self._asked += 1
        self.next_ask = now + probe_pause(self._asked, self.life.was_ready)
        try:
            answer = self._answer(now)
        except OSError as error:  # no descriptor left, for instance: that says nothing about the service
            answer = Answer("unknown", error.strerror or str(error))
        return self.take(answer, now) if answer else False

    def take(self, answer: Answer, now: float) -> bool:
        """An answer has come."""
        self.drop_question()
        if self.pidfd is None:
            return False
        return self.move(answered(self.life, answer, self.rules, now))

    def advance(self, now: float) -> bool:
        """Go on with the question under way; whether its life has changed."""
        if self.asking is None:
            return False
        answer = self.asking.advance()
        if answer is None and now >= self.asking.deadline:
            answer = Answer("silent", f"it gives no answer within {PROBE_SECONDS:g} s")
        return self.take(answer, now) if answer else False

    def drop_question(self) -> None:
        if self.asking is not None:
            self.asking.close()
            self.asking = None

    def _answer(self, now: float) -> Answer | None:
        assert self.identity is not None
        stat = procfs.stat(self.identity.pid)
        if stat is None:
            return Answer("unknown", "it cannot be looked at")
        if stat.state == "T":
            return Answer("silent", "its process is suspended (SIGSTOP)")
        ready = self.service.ready
        if self.life.was_ready:
            ready = self.service.liveness or (Ready("alive") if ready.probe == "log" else ready)
        if ready.probe in ("http", "tcp") and self.service.port:
            listener = self._own_listener(self.service.port)
            if isinstance(listener, Answer):
                return listener
            if ready.probe == "tcp":
                return Answer("ok")
            self.asking = HttpAsk(
                listener.address, listener.port, ready.argument or "/", ready.contains, now + PROBE_SECONDS
            )
            return None
        if ready.probe == "log":
            return log_answer(self.files.output(self.service.name), self.standing.output_from, ready.argument)
        if ready.probe == "command":
            self.asking = self._command(ready.argument, now)
            return None
        lived = self.life.launched is not None and now - self.life.launched >= LIVED
        return Answer("ok") if lived else Answer("no", "it has only just been started")

    def _own_listener(self, port: int) -> ports.Listener | Answer:
        """The socket on `port`, when it and every other one there belongs to this service."""
        found = ports.listeners([port])
        if not found:
            return Answer("silent" if self.life.was_ready else "no", f"nothing listens on port {port}")
        for listener in found:
            if listener.inode not in self._sockets:
                pid = ports.owner(listener.inode, first=[self.identity.pid] if self.identity else [])
                if not self._is_own(pid):
                    return Answer("no", str(ports.holder(listener, pid)))
        self._sockets = frozenset(listener.inode for listener in found)
        return found[0]

    def _is_own(self, pid: int | None) -> bool:
        if pid is None or self.identity is None:
            return False
        if pid == self.identity.pid:
            return True
        stats = procfs.all_stats()
        if self.identity.pid in procfs.ancestors(pid, stats):
            return True
        marks = procfs.environment(pid)
        return marks.get(census.TOKEN) == self.wanted.token and marks.get(census.SERVICE) == self.service.name

    def _command(self, line: str, now: float) -> CommandAsk:
        """Fork the user's ready command, as a part of the service."""
        output = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            marks = census.marks(self.wanted.token, self.wanted.root, self.service.name)
            gated = spawn.fork(shlex.split(line), self.service.cwd, for_service(self.service, marks), output)
        finally:
            os.close(output)
        pidfd = os.pidfd_open(gated.identity.pid)
        gated.open()
        return CommandAsk(gated.identity.pid, pidfd, now + 5 * PROBE_SECONDS)

    def _new_tail(self) -> Tail:
        name = self.service.name
        return Tail(name, self.files.output(name), self.files.folder / f"{name}.tail")


def how_it_ended(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "ended while nobody watched"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
