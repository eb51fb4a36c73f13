"""Deploys under calls: three hosts behind one proxy, thirty callers on the line, others ring."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.bench.bridge import certificate
from ops.bench.bridge.phone import Door
from ops.bench.rig.outside import Rig, RigHost, rig
from ops.bench.shipping.callers import Callers, callers
from ops.bench.shipping.desk import BASE, Desk, Line, give
from ops.bench.shipping.result import (
    BACK_ALL,
    BEHIND,
    DEPLOY,
    NEVER_WELL,
    SLOT_BACK,
    SLOT_CHANGE,
    SLOT_PIP,
    SLOT_PIP_CHANGE,
    SLOT_SAME,
    Result,
    Rolled,
)  # fmt: skip
from ops.errors import OpsError
from ops.remote import units

CALLS = 30
PROXY = "host4"
PEM = "/etc/haproxy/site.pem"
HEALTH = '        """200 to take calls, 503 while draining; the details only for this machine."""\n'


def rolling(
    result: Result, rounds: int, folder: Path, wheels: Path, uv: Path | None, progress: Callable[[str], None]
) -> None:
    """Deploys into slots: on one host without calls; then a good release, one that never becomes healthy, and
    the way back on all three, each under calls."""
    with rig(4) as four:
        proxy = next(host for host in four.hosts if host.name == PROXY)
        trust = _certify(proxy, folder)
        give(uv, four)
        with callers(four.gateway, trust) as people:
            line = Line(
                f"https://{proxy.address}", people.model(four.gateway), f'certificate = "{PEM}"\n', PROXY
            )
            desk = Desk.set_up(folder, four, wheels, line)
            progress("three hosts behind a proxy")
            desk.inv("-H", ",".join(BEHIND), "deploy", "--json")
            for number in range(rounds):
                progress(f"slots, round {number + 1} of {rounds}")
                _round(result, desk, four, number)
            site = Site(four, desk, people, line.door)
            desk.change("rolling")
            good = site.under_calls(DEPLOY, "deploy", 0, progress)
            desk.edit("ops/apps/views.py", HEALTH, HEALTH + "        return Response(status_code=503)\n")
            bad = site.under_calls(NEVER_WELL, "deploy", 3, progress)
            result.rolled = [good, bad, site.under_calls(BACK_ALL, "rollback", 0, progress)]


def with_pip(result: Result, folder: Path, wheels: Path, progress: Callable[[str], None]) -> None:
    """Deploys into slots of one host that has no uv, its own proxy on it."""
    with rig(1) as alone, callers(alone.gateway) as people:
        give(None, alone)
        line = Line("http://127.0.0.1:8000", people.model(alone.gateway), "port = 8000\n")
        desk = Desk.set_up(folder, alone, wheels, line)
        progress("slots, with pip")
        desk.inv("-H", "host1", "deploy", "--dry-run", "--json")  # fetches the wheels
        result.took(SLOT_PIP, desk.inv("-H", "host1", "deploy", "--json").seconds)
        desk.change("pip")
        result.took(SLOT_PIP_CHANGE, desk.inv("-H", "host1", "deploy", "--json").seconds)


def _round(result: Result, desk: Desk, four: Rig, number: int) -> None:
    """Everything once, on the first host."""
    desk.change(f"slot {number}")
    ran = desk.inv("-H", "host1", "deploy", "--json")
    result.took(SLOT_CHANGE, ran.seconds)
    result.deep.append(_deep(four.hosts[0], str(ran.hosts["host1"]["slot"])))
    result.took(SLOT_SAME, desk.inv("-H", "host1", "deploy", "--json").seconds)
    result.took(SLOT_BACK, desk.inv("-H", "host1", "rollback", "--json").seconds)


def _deep(host: RigHost, slot: str) -> float:
    """Seconds of the proof that a slot gives before it is put in force, given once more."""
    at = f"http://127.0.0.1:{units.ports()[slot]}"
    began = time.perf_counter()
    done = host.run("sh", "-c", f"cd {BASE}/current && ./inv validate --deep --at={at}")
    if done.returncode:
        raise OpsError(f"validate --deep --at={at}: {done.stdout[-400:]}", fix="see what it says")
    return time.perf_counter() - began


def _certify(proxy: RigHost, folder: Path) -> ssl.SSLContext:
    """Give the proxy a certificate for its address; what callers must trust."""
    trusted, _ = certificate.make(folder, proxy.address)
    pem = proxy.root / PEM.lstrip("/")
    pem.touch(mode=0o600)
    pem.write_bytes(trusted.read_bytes() + (folder / "key.pem").read_bytes())
    return ssl.create_default_context(cafile=trusted)


@dataclass(frozen=True)
class Site:
    """Three hosts behind a proxy, and who deploys to them and who calls."""

    rig: Rig
    desk: Desk
    people: Callers
    door: Door

    def under_calls(self, what: str, task: str, code: int, progress: Callable[[str], None]) -> Rolled:
        """Run a task on all three that must end with this code, while callers are on the line."""
        progress(f"{CALLS} calls: {what}")
        before = self._in_force()
        with self.people.on_the_line(self.door, CALLS) as lived:
            ran = self.desk.inv("-H", ",".join(BEHIND), task, "--json", code=code)
        after = self._in_force()
        data = ran.document["data"]
        return Rolled(
            what, ran.seconds, lived, tuple(name for name in BEHIND if before[name] != after[name]),
            tuple(data["failed"]), tuple(data["untouched"]),
            " ".join(str(data["hosts"][name]["reason"]) for name in data["failed"])[:200],
        )  # fmt: skip

    def _in_force(self) -> dict[str, str]:
        """The release in force on each host."""
        hosts = [host for host in self.rig.hosts if host.name in BEHIND]
        manifests = {host.name: host.root / BASE.lstrip("/") / "current/COMPLETE" for host in hosts}
        return {name: str(json.loads(path.read_text())["id"]) for name, path in manifests.items()}
