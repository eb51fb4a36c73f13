"""Who belongs to this stack: by the marks in a process's environment, and by descent. Read only.

Each process of a stack is started with these marks, and everything it starts inherits them, also
across setsid and a double fork. A process that clears its environment is found by descent: the
supervisor is a child subreaper, so what loses its parent becomes a child of the supervisor. Only a
process that clears its environment and loses its parent while no supervisor lives escapes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ops.processes import procfs
from ops.processes.identity import Identity, boot_id

TOKEN = "TRUNKLINE_STACK"  # random, new for each stack
ROOT = "TRUNKLINE_ROOT"  # the project's folder
SERVICE = "TRUNKLINE_SERVICE"  # the service's name
SUPERVISOR = "supervisor"  # stands as service in the supervisor's own marks


@dataclass(frozen=True)
class Member:
    """One process of the stack; `service` is empty where that cannot be told."""

    identity: Identity
    service: str
    leads: bool  # it leads its session, as the first process of a service does


def marks(token: str, root: Path, service: str) -> dict[str, str]:
    """What goes into the environment of a process of this stack."""
    return {TOKEN: token, ROOT: str(root), SERVICE: service}


def census(token: str | None, root: Path) -> list[Member]:
    """All living processes with this stack's token, or with this project's root as we see it, and
    all that descend from those; the eldest first. The asking process, those above it, and the
    supervisor are not counted as members, but what is below the supervisor is."""
    stats = procfs.all_stats()
    own = procfs.ancestors(os.getpid(), stats)
    services = _marked(stats, token, root)
    found: dict[int, str] = {}
    for pid in sorted({*services, *procfs.descendants(set(services), stats)}):
        found[pid] = _service(pid, services, stats)
    members = [
        Member(Identity(pid, stats[pid].start_ticks, boot_id()), name, leads=stats[pid].session == pid)
        for pid, name in found.items()
        if pid not in own and stats[pid].lives and services.get(pid) != SUPERVISOR
    ]
    return sorted(members, key=lambda member: (member.identity.start_ticks, member.identity.pid))


def supervisors(token: str | None, root: Path) -> list[Identity]:
    """Living supervisors of this stack, found by their marks; normally one, or none. One that still
    waits for its word, at a pipe, is none yet."""
    stats = procfs.all_stats()
    return [
        Identity(pid, stats[pid].start_ticks, boot_id())
        for pid, service in _marked(stats, token, root).items()
        if service == SUPERVISOR and stats[pid].lives and not procfs.reads_a_pipe(pid)
    ]


def _marked(stats: dict[int, procfs.Stat], token: str | None, root: Path) -> dict[int, str]:
    """The processes that carry our marks, with the service each is of."""
    found = {}
    here = None
    for pid, stat in stats.items():
        environment = {} if stat.of_the_kernel else procfs.environment(pid, having=TOKEN)
        if TOKEN not in environment:
            continue
        if token is not None and environment[TOKEN] == token:
            found[pid] = environment.get(SERVICE, "")
        elif environment.get(ROOT) == str(root):
            here = here or procfs.namespace("self")
            if procfs.namespace(pid) == here:
                found[pid] = environment.get(SERVICE, "")
    return found


def _service(pid: int, services: dict[int, str], stats: dict[int, procfs.Stat]) -> str:
    seen = set()
    while pid in stats and pid not in seen:
        if pid in services:
            return "" if services[pid] == SUPERVISOR else services[pid]
        seen.add(pid)
        pid = stats[pid].parent
    return ""
