"""Ships this checkout to hosts of a rig and takes the time of everything, in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
    PARTS,
    SAME,
    SAME_ALL,
    TASKS,
    Result,
)
from ops.bench.shipping.rolling import rolling, with_pip
from ops.errors import OpsError

ALL = "host1,host2,host3"
ROUNDS = 2  # of the other tools, and of slots, at most


class UnknownPart(OpsError):
    """`--only` names a part that does not exist."""

    exit_code = 2


def measure(*, rounds: int, only: Sequence[str], progress: Callable[[str], None]) -> Result:
    """Take all figures, or those of some parts; raises OpsError where no rig can be built, or a deploy fails
    that must not."""
    if unknown := [name for name in only if name not in PARTS]:
        raise UnknownPart(f"There is no part {', '.join(unknown)}.", fix=f"choose from: {', '.join(PARTS)}")
    if problem := obstacle():
        raise OpsError(problem, fix="run it as root on a Linux machine that allows namespaces")
    result = Result(parts=tuple(name for name in PARTS if name in (only or PARTS)))
    wheels = install.cache() / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    versions = install.installed(install.cache(), install.SHIPPERS)
    uv = install.cache() / "venv/bin/uv" if "uv" in versions else None
    if "times" in result.parts:
        _first_with_pip(result, wheels, progress)
        _times(result, rounds, wheels, uv, versions, progress)
    if "calls" in result.parts:
        with _folder() as folder:
            rolling(result, min(rounds, ROUNDS), folder, wheels, uv, progress)
        with _folder() as folder:
            with_pip(result, folder, wheels, progress)
    if "cuts" in result.parts:
        with _folder() as folder:
            result.cuts = cuts(folder, wheels, uv, progress)
    return result


def _first_with_pip(result: Result, wheels: Path, progress: Callable[[str], None]) -> None:
    with _folder() as folder, rig(1) as alone:
        progress("first deploy with pip")
        give(None, alone)
        desk = Desk.set_up(folder, alone, wheels)
        desk.inv("-H", "host1", "deploy", "--dry-run", "--json")  # fetches the wheels
        result.took(FIRST_PIP, desk.inv("-H", "host1", "deploy", "--json").seconds)


def _times(
    result: Result, rounds: int, wheels: Path, uv: Path | None, versions: dict[str, str],
    progress: Callable[[str], None],
) -> None:  # fmt: skip
    """Without slots, which the others do not have."""
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
    long = desk.inv("-H", "host1", *["status"] * TASKS).seconds
    result.chain.append((long - short) / (TASKS - 1) - _there(three.hosts[0]))


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
