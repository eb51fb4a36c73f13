"""How things stand: run files, living processes, and who holds the ports. Read only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ops.processes import census, identity, ports
from ops.processes.identity import Identity
from ops.processes.plan import Observed, Seen
from ops.processes.ports import Holder
from ops.processes.records import Stack, Standing, Wanted, spec_changes
from ops.processes.run_files import RunFiles
from ops.processes.sole import without_supervisor
from ops.processes.state import Life
from ops.services import Service

RESTORED = 3.0  # seconds in which a living supervisor has written its lost state anew


@dataclass(frozen=True)
class Situation:
    """What a command finds: the orders, the standing, the supervisor, and the processes."""

    wanted: Wanted | None
    stack: Stack | None
    supervisor: Identity | None
    members: tuple[census.Member, ...]

    @property
    def token(self) -> str | None:
        return self.wanted.token if self.wanted else self.stack.token if self.stack else None

    def main(self, name: str) -> Identity | None:
        """The living first process of a service: as recorded, else by its marks."""
        standing = self.stack.standing(name) if self.stack else None
        if standing and identity.lives(standing.identity):
            return standing.identity
        if standing and self.supervisor:
            return None  # a living supervisor knows best
        found = (one.identity for one in self.members if one.service == name and one.leads)
        return next(found, None)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the services of which a first process lives."""
        names = {standing.name for standing in self.stack.services} if self.stack else set()
        names |= {service.name for service in self.wanted.services} if self.wanted else set()
        names |= {member.service for member in self.members if member.service}
        return tuple(sorted(name for name in names if self.main(name)))


def look(files: RunFiles) -> Situation:
    """The situation now. Waits for a supervisor that lives but has not written its state."""
    until = time.monotonic() + RESTORED
    while True:
        wanted, stack = files.wanted(), files.stack()
        supervisor = stack.supervisor if stack and identity.lives(stack.supervisor) else None
        token = wanted.token if wanted else stack.token if stack else None
        if supervisor is None:
            found = census.supervisors(token, files.root)
            with without_supervisor(files.folder) as nobody:
                pass
            if (found or not nobody) and time.monotonic() < until:
                time.sleep(0.02)  # it comes up, or writes anew what was lost
                continue
            supervisor = found[0] if found else None
        members = tuple(census.census(token, files.root))
        return Situation(wanted, stack, supervisor, members)


def observe(situation: Situation, services: Sequence[Service]) -> Observed:
    """What a plan needs to know about these services and all that run."""
    by_name = {service.name: service for service in services}
    seen = {name: _seen(situation, name, by_name.get(name)) for name in {*by_name, *situation.running}}
    open_ports = {
        port
        for service in services
        for port in service.ports
        if not (seen[service.name].lives and seen[service.name].same)
    }
    return Observed(seen, strangers(open_ports, situation.members))


def strangers(open_ports: Iterable[int], members: Iterable[census.Member]) -> dict[int, Holder]:
    """Who holds these ports, except the stack's own processes."""
    own = {member.identity.pid for member in members}
    found: dict[int, Holder] = {}
    for listener in ports.listeners(open_ports):
        pid = ports.owner(listener.inode, first=own)
        if pid not in own:
            found[listener.port] = ports.holder(listener, pid)
    return found


def _seen(situation: Situation, name: str, service: Service | None) -> Seen:
    """What does not run has no past for a command: a person's start begins it anew."""
    standing = situation.stack.standing(name) if situation.stack else None
    standing = standing or Standing(name, Life())
    lives = situation.main(name) is not None
    changed = None
    if lives and service and standing.spec and situation.token:
        changed = spec_changes(service, standing.spec, situation.token)
    return Seen(standing.life if lives else Life(), lives, changed is None, changed or "")
