"""Ships this checkout to hosts of a rig and takes the time of everything, in turn."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from ops.bench import install
from ops.bench.rig.outside import Rig, RigHost, obstacle, rig
from ops.bench.shipping.cuts import cuts
from ops.bench.shipping.desk import Desk
from ops.bench.shipping.result import Cut, Result
from ops.errors import OpsError

BASE = "/srv/trunkline"
ALL = "host1,host2,host3"
CHAIN = 5  # tasks of a chain
CUTS = 30


def measure(*, rounds: int, progress: Callable[[str], None]) -> Result:
    """Take all figures; raises OpsError where no rig can be built, or a deploy fails that must not."""
    if problem := obstacle():
        raise OpsError(problem, fix="run it as root on a Linux machine that allows namespaces")
    result = Result(tasks=CHAIN)
    wheels = install.cache() / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    uv = _installed("uv")
    with _folder() as folder, rig(1) as alone:
        progress("first deploy with pip")
        _without_uv(alone.hosts)
        desk = Desk.set_up(folder, alone, wheels)
        desk.inv("-H", "host1", "releases", "--json")
        desk.inv("-H", "host1", "deploy", "--dry-run", "--json")  # fetches the wheels
        result.first["pip"] = desk.inv("-H", "host1", "deploy", "--json").seconds
    with _folder() as folder, rig(3) as three:
        if uv is not None:
            for host in three.hosts:
                shutil.copy(uv, host.root / "usr/local/bin/uv")
        progress(f"first deploy with {'uv' if uv else 'pip'} to three hosts")
        desk = Desk.set_up(folder, three, wheels)
        first = desk.inv("-H", "host1", "deploy", "--json").seconds
        if uv is not None:
            result.first["uv"] = first
        desk.inv("-H", ALL, "deploy", "--json")
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            _round(result, desk, three, number)
        result.cuts = _cuts(three, folder, wheels, median(result.change), progress)
    return result


def _round(result: Result, desk: Desk, three: Rig, number: int) -> None:
    """Everything once; it begins and ends with the same release in force everywhere."""
    result.repeat.append(desk.inv("-H", "host1", "deploy", "--json").seconds)
    result.repeat_all.append(desk.inv("-H", ALL, "deploy", "--json").seconds)
    desk.change(f"one {number}")
    result.change.append(desk.inv("-H", "host1", "deploy", "--json").seconds)
    result.rollback.append(desk.inv("-H", "host1", "rollback", "--json").seconds)
    desk.change(f"all {number}")
    result.change_all.append(desk.inv("-H", ALL, "deploy", "--json").seconds)
    short = desk.inv("-H", "host1", "status").seconds
    long = desk.inv("-H", "host1", *["status"] * CHAIN).seconds
    result.chain.append((long - short) / (CHAIN - 1) - _there(three.hosts[0]))


def _there(host: RigHost) -> float:
    """Seconds that the same task takes on the host itself."""
    times = []
    for command in (f"cd {BASE}/current && ./inv status", "true"):
        began = time.perf_counter()
        host.run("sh", "-c", command)
        times.append(time.perf_counter() - began)
    return times[0] - times[1]


def _cuts(three: Rig, folder: Path, wheels: Path, lasts: float, progress: Callable[[str], None]) -> list[Cut]:
    desks = {}
    for host in three.hosts:
        (folder / host.name).mkdir()
        desks[host.name] = Desk.set_up(folder / host.name, three, wheels)
        desks[host.name].change("before the cuts")
        desks[host.name].inv("-H", host.name, "deploy", "--take-lock", "--json")
    return cuts(three, desks, BASE, CUTS, lasts, progress)


def _without_uv(hosts: tuple[RigHost, ...]) -> None:
    for host in hosts:
        for place in ("usr/local/bin/uv", "usr/bin/uv"):
            (host.root / place).unlink(missing_ok=True)


def _installed(name: str) -> Path | None:
    path = install.cache() / "venv/bin" / name
    return path if path.exists() else None


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as name:
        yield Path(name)
