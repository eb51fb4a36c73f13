"""The supervisor: a small program of its own that starts services, watches them, and starts them again.

    python -m ops.processes.supervisor PROJECT-FOLDER [--standby]

It reads its orders from `logs/run/wanted.json` (SIGHUP says that there are new ones) and tells how
things stand in `logs/run/stack.json`. One thread, one poll over pidfds. SIGTERM ends all services
and itself. SIGKILL ends it alone: the services go on, and the next supervisor takes them over.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ops.processes import census, identity, ports, spawn
from ops.processes.identity import Identity, boot_id
from ops.processes.ledger import Ledger
from ops.processes.member import Member
from ops.processes.plan import Observed, Order, Refuse, Start, Step, Stop, Wait, plan
from ops.processes.ports import Holder
from ops.processes.probe import CommandAsk
from ops.processes.records import Stack, Standing, Wanted, spec_of
from ops.processes.run_files import RunFiles
from ops.processes.sole import be_the_supervisor
from ops.processes.standby import STANDBY
from ops.processes.state import Life
from ops.processes.wakeup import Wakeup

HOUSEKEEPING = 1.0  # seconds between looks at what nobody tells us, such as deleted files
ROTATION = 60.0  # seconds between looks at the size and age of log files
OUTPUT_PAUSE = 0.2  # seconds between looks at the output of services that are not ours
STOPS = {signal.SIGTERM, signal.SIGINT}


class Supervisor:
    """Holds the members of one stack and moves them."""

    def __init__(self, files: RunFiles, wanted: Wanted) -> None:
        self._files, self._wanted = files, wanted
        self._wakeup = Wakeup([signal.SIGHUP, signal.SIGCHLD, *STOPS])
        self._ledger = Ledger(files, wanted)
        self._me = identity.identify(os.getpid()) or Identity(os.getpid(), 0, boot_id())
        self._members: dict[str, Member] = {}
        self._leaving = self._new_orders = False
        self._changed = True
        self._next_chore = 0.0
        self._next_rotation = time.monotonic() + ROTATION
        before = files.stack()
        before = before if before and before.token == wanted.token else None
        self._started = before.started if before else time.time()
        self._take_over(before)

    def run(self) -> None:
        """Until the stack has been stopped."""
        while not self._leaving:
            try:
                self._turn()
            except Exception:
                import traceback

                traceback.print_exc()  # to supervisor.out; a fault of ours must not end the services
                time.sleep(1.0)
        self._carry_output()
        self._ledger.say("supervisor.left", "the stack has been stopped")

    def _turn(self) -> None:
        self._reap()
        if self._new_orders:  # what has ended before they were given ended under the old ones
            self._take_orders()
        now = time.monotonic()
        for member in self._members.values():
            if member.pidfd is not None and member.asking is None and now >= member.next_ask:
                self._changed |= member.ask(now)
        orders = [member.order for member in self._members.values()]
        self._carry_out(plan(orders, self._observed(now), now))
        if now >= self._next_chore:
            self._chores(now)
        if self._changed or self._ledger.behind:
            self._write()
        self._wait()

    # Taking over, and taking orders.

    def _take_over(self, before: Stack | None) -> None:
        """What the last supervisor left: processes that live are adopted, the others have died."""
        running: list[census.Member] | None = None
        for order in self._wanted.orders:
            standing = before.standing(order.service.name) if before else None
            if standing is None or standing.identity is None:
                if running is None:
                    running = census.census(self._wanted.token, self._wanted.root)
                standing = self._unrecorded(order, running) or standing
            member = Member(order, self._wanted, self._files, standing)
            self._members[order.service.name] = member
            if order.serial > member.standing.serial and not identity.lives(member.identity):
                member.begin_anew()
            elif member.adopt():
                self._ledger.say("service.adopted", f"{order.service.name} goes on as it ran before")
            elif member.identity is not None:
                member.ended(_jitter())

    def _unrecorded(self, order: Order, running: list[census.Member]) -> Standing | None:
        """A process of this service of which only its marks tell, since the record is lost."""
        name = order.service.name
        first = next((one for one in running if one.service == name and one.leads), None)
        if first is None:
            return None
        spec = spec_of(order.service, self._wanted.token)  # nobody can tell; the orders are believed
        return Standing(
            name, Life(launched=time.monotonic()), first.identity, spec, order.serial, time.time()
        )

    def _take_orders(self) -> None:
        """Read the orders anew; what is no longer in them was ended by whoever changed them."""
        self._new_orders = False
        wanted = self._files.wanted()
        current = self._wanted
        if wanted is None or wanted.token != current.token or wanted.generation < current.generation:
            return
        self._wanted = wanted
        self._ledger.orders_changed(wanted)
        ordered = {order.service.name: order for order in wanted.orders}
        for name, member in list(self._members.items()):
            if name not in ordered and member.pidfd is None:
                del self._members[name]
        for name, order in ordered.items():
            known = self._members.get(name)
            if known is None:
                self._members[name] = Member(order, wanted, self._files, None)
                continue
            known.take_order(order, wanted)
            if order.serial > known.standing.serial and known.pidfd is None:
                known.begin_anew()
        self._changed = True

    # Carrying out.

    def _observed(self, now: float) -> Observed:
        """What the plan needs; ports are looked at only for services that may be due."""
        due = [
            port
            for member in self._members.values()
            if member.pidfd is None and not member.order.held and (member.life.retry_at or 0.0) <= now
            for port in member.service.ports
        ]
        strangers: dict[int, Holder] = {}
        for listener in ports.listeners(due) if due else ():
            strangers[listener.port] = ports.holder(listener, ports.owner(listener.inode))
        return Observed({name: member.seen() for name, member in self._members.items()}, strangers)

    def _carry_out(self, steps: list[Step]) -> None:
        """End what is silent, start what is due. What has other settings now is ended by the command
        that changed them, which can drain it."""
        starting = []
        for step in steps:
            member = self._members[step.name]
            if isinstance(step, Stop) and member.life.silent_since is not None:
                self._ledger.say("service.silent", f"{step.name}: {step.why}; it is started again", "WARNING")
                self._kill_rest(member)
                member.signal(signal.SIGKILL)
            elif isinstance(step, Refuse):
                member.failed_to_start(str(step.holder))
                self._changed = True
            elif isinstance(step, Wait) and member.life.launched is None:
                self._changed |= member.move(replace(member.life, reason=step.why))
            elif isinstance(step, Start):
                starting.append(member)
        if starting:
            self._start(starting)

    def _start(self, members: list[Member]) -> None:
        """Fork them all, write down who they are, and only then let them run."""
        gated = []
        for member in members:
            try:
                gated.append((member, member.fork()))
            except OSError as error:
                member.failed_to_start(f"it cannot be started: {error.strerror or error}")
        self._write()
        for member, gate in gated:
            trouble = gate.open()
            if trouble:
                with suppress(ChildProcessError):
                    os.waitpid(gate.identity.pid, 0)
                member.ended(_jitter(), f"it cannot be started: {trouble}")
                self._changed = True
            else:
                self._ledger.say("service.started", f"{member.service.name} runs as pid {gate.identity.pid}")

    def _kill_rest(self, member: Member) -> None:
        """End what a service has left behind, so that the next start finds its port free."""
        with suppress(OSError):  # no descriptor left for looking: then the held port stays the reason
            for one in census.census(self._wanted.token, self._wanted.root):
                if one.service == member.service.name and one.identity != member.identity:
                    identity.signal_process(one.identity, signal.SIGKILL)

    # What has ended.

    def _reap(self) -> None:
        """Collect what has ended: our children, orphans that came to us, and adopted processes."""
        statuses: dict[int, int] = {}
        gone = [member for member in self._members.values() if member.has_ended()]
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                statuses[ended[0]] = os.waitstatus_to_exitcode(ended[1])
        for member in self._members.values():
            if isinstance(member.asking, CommandAsk) and member.asking.pid in statuses:
                member.asking.code = statuses[member.asking.pid]
                self._changed |= member.advance(time.monotonic())
        for member in gone:
            pid = member.identity.pid if member.identity else 0
            member.exit_code = statuses.get(pid)
            if not member.order.held:
                self._kill_rest(member)
            member.ended(_jitter())
            self._changed = True
            told = f"{member.service.name} (pid {pid}): {member.life.state}, {member.life.reason}"
            self._ledger.say("service.ended", told, "INFO" if member.order.held else "WARNING")

    def _leave(self) -> None:
        """End all services, as a stop command does, and then ourselves."""
        for member in self._members.values():
            member.order = replace(member.order, held=True)
        if any(member.pidfd is not None for member in self._members.values()):
            from ops.processes.apply import Receipt, end_all

            end_all(self._wanted, self._files.root, Receipt())
        self._reap()
        self._write()
        self._leaving = True

    # Waiting and telling.

    def _wait(self) -> None:
        """Until something happens or is due."""
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        due = self._next_chore
        asking: dict[int, Member] = {}
        for member in self._members.values():
            if member.pidfd is not None:
                poll.register(member.pidfd, select.POLLIN)
                due = min(due, member.asking.deadline if member.asking else member.next_ask)
            elif member.life.retry_at is not None and not member.order.held:
                due = min(due, member.life.retry_at)
            if member.asking is not None:
                handle, events = member.asking.events()
                poll.register(handle, events)
                asking[handle] = member
        pause = max(0.0, due - time.monotonic())
        events_seen = {handle for handle, _ in poll.poll(math.ceil(pause * 1000))}
        now = time.monotonic()
        for handle, member in asking.items():
            if handle in events_seen or (member.asking and now >= member.asking.deadline):
                self._changed |= member.advance(now)
        heard = self._wakeup.heard()
        self._new_orders |= signal.SIGHUP in heard
        if heard & STOPS:
            self._leave()

    def _chores(self, now: float) -> None:
        self._carry_output()
        self._ledger.restore(self._wanted)
        if now >= self._next_rotation:
            self._next_rotation = now + ROTATION
            self._ledger.rotate()
        foreign = any(member.tail and member.pidfd is not None for member in self._members.values())
        self._next_chore = now + (OUTPUT_PAUSE if foreign else HOUSEKEEPING)

    def _carry_output(self) -> None:
        for member in self._members.values():
            if member.tail:
                self._ledger.carry(member.tail.read(member.identity.pid if member.identity else 0))

    def _write(self) -> None:
        self._changed = False
        wanted = self._wanted
        self._ledger.write(
            Stack(
                token=wanted.token,
                started=self._started,
                seen=wanted.generation,
                supervisor=self._me,
                mode=wanted.mode,
                vendors=wanted.vendors,
                public_url=wanted.public_url,
                lost=dict(self._ledger.lost),
                services=tuple(member.standing for member in self._members.values()),
            )
        )


def _jitter() -> float:
    """From 0 to 1, anew each time."""
    return os.urandom(1)[0] / 255


def main(root: Path, *, standby: bool = False) -> int:
    """Detach, and supervise the stack of this project until it is stopped; on `standby` only once
    standard input says so."""
    become_subreaper = spawn.subreaper()
    if standby:
        if not os.read(0, 1):
            return 0
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the census sees that it waits no more
    came_up, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(came_up, 1)  # so that at every moment one of us is seen by its marks, or by the lock
        os._exit(0)
    os.setsid()
    become_subreaper()
    files = RunFiles(root)
    alone = be_the_supervisor(files.folder)
    os.close(came_up)
    os.close(tell)
    if not alone:
        sys.stderr.write("another supervisor of this stack is at work\n")
        return 1
    wanted = files.wanted()
    if wanted is None:
        sys.stderr.write(f"no orders that can be read in {files.wanted_path}\n")
        return 1
    Supervisor(files, wanted).run()
    return 0


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1]), standby=STANDBY in sys.argv[2:]))
