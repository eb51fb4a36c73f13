"""Ships this checkout to hosts of a rig and takes the time of everything, in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.bench import install
from ops.bench.rig.outside import Rig, RigHost, obstacle, rig
from ops.bench.shipping.cuts import cuts
from ops.bench.shipping.desk import BASE, Desk, give
from ops.bench.shipping.others import Other, others
from ops.bench.shipping.result import (
    BACK,
    CHANGE,
    CHANGE_ALL,
    FIRST,
    FIRST_PIP,
    SAME,
    SAME_ALL,
    Result,
)
from ops.bench.shipping.rolling import rolling
from ops.errors import OpsError

ALL = "host1,host2,host3"
CHAIN = 5  # tasks of a chain
ROUNDS = 3  # of the other tools, and of slots, at most


def measure(*, rounds: int, progress: Callable[[str], None]) -> Result:
    """Take all figures; raises OpsError where no rig can be built, or a deploy fails that must not."""
    if problem := obstacle():
        raise OpsError(problem, fix="run it as root on a Linux machine that allows namespaces")
    result = Result(tasks=CHAIN)
    wheels = install.cache() / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    versions = install.installed(install.cache(), install.SHIPPERS)
    uv = install.cache() / "venv/bin/uv" if "uv" in versions else None
    with _folder() as folder, rig(1) as alone:
        progress("first deploy with pip")
        give(None, alone)
        desk = Desk.set_up(folder, alone, wheels)
        desk.inv("-H", "host1", "deploy", "--dry-run", "--json")  # fetches the wheels
        result.took(FIRST_PIP, desk.inv("-H", "host1", "deploy", "--json").seconds)
    with _folder() as folder, rig(3) as three:
        give(uv, three)
        desk = Desk.set_up(folder, three, wheels)
        progress("first deploy to three hosts")
        first = desk.inv("-H", ALL, "deploy", "--json").seconds
        if uv is not None:
            result.took(FIRST, first)
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            _round(result, desk, three, number)
        for other in others(uv.parent, versions, folder, three, desk) if uv is not None else ():
            _other(result, other, desk, min(rounds, ROUNDS), progress)
    with _folder() as folder:
        rolling(result, min(rounds, ROUNDS), folder, wheels, uv, progress)
    with _folder() as folder:
        result.cuts = cuts(folder, wheels, uv, progress)
    return result


def _round(result: Result, desk: Desk, three: Rig, number: int) -> None:
    """Everything once; it begins and ends with the same release in force everywhere."""
    result.took(SAME, desk.inv("-H", "host1", "deploy", "--json").seconds)
    result.took(SAME_ALL, desk.inv("-H", ALL, "deploy", "--json").seconds)
    desk.change(f"one {number}")
    result.took(CHANGE, desk.inv("-H", "host1", "deploy", "--json").seconds)
    result.took(BACK, desk.inv("-H", "host1", "rollback", "--json").seconds)
    desk.change(f"all {number}")
    result.took(CHANGE_ALL, desk.inv("-H", ALL, "deploy", "--json").seconds)
    short = desk.inv("-H", "host1", "status").seconds
    long = desk.inv("-H", "host1", *["status"] * CHAIN).seconds
    result.chain.append((long - short) / (CHAIN - 1) - _there(three.hosts[0]))


def _other(result: Result, other: Other, desk: Desk, rounds: int, progress: Callable[[str], None]) -> None:
    progress(other.name)
    result.took(FIRST, other.deploy(desk, 3), other.name)
    for number in range(rounds):
        result.took(SAME, other.deploy(desk, 1), other.name)
        result.took(SAME_ALL, other.deploy(desk, 3), other.name)
        desk.change(f"{other.name} one {number}")
        result.took(CHANGE, other.deploy(desk, 1), other.name)
        desk.change(f"{other.name} all {number}")
        result.took(CHANGE_ALL, other.deploy(desk, 3), other.name)


def _there(host: RigHost) -> float:
    """Seconds that the same task takes on the host itself."""
    times = []
    for command in (f"cd {BASE}/current && ./inv status", "true"):
        began = time.perf_counter()
        host.run("sh", "-c", command)
        times.append(time.perf_counter() - began)
    return times[0] - times[1]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as name:
        yield Path(name)
