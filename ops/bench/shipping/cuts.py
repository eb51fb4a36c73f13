"""Cuts the link of a host in the middle of a deploy, at points spread over it, and looks what is in force."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from ops.bench.rig.outside import Rig, RigHost, rig
from ops.bench.shipping.callers import callers
from ops.bench.shipping.desk import BASE, Desk, Line, give
from ops.bench.shipping.result import Cut

CUTS = 30
FIRST = 0.4  # seconds of a deploy in which its host has not been called yet


def cuts(folder: Path, wheels: Path, uv: Path | None, progress: Callable[[str], None]) -> list[Cut]:
    """So many cuts, shared by three hosts; each has slots and a HAProxy, and a desk of its own."""
    with rig(3) as three, callers(three.gateway) as people:
        give(uv, three)
        line = Line("http://127.0.0.1", people.model(three.gateway), "port = 80\n")
        desks = {}
        for host in three.hosts:
            (folder / host.name).mkdir()
            desks[host.name] = Desk.set_up(folder / host.name, three, wheels, line)
        lasts = _first(three, desks)
        progress(f"{CUTS} cuts in deploys of {lasts:.1f} s")
        return _spread(three, desks, lasts, progress)


def _first(three: Rig, desks: dict[str, Desk]) -> float:
    """Bring a release and then another one to all, at once; seconds that the second took."""
    seconds = []

    def work(name: str) -> None:
        for text in ("before", "the cuts"):
            desks[name].change(text)
            ran = desks[name].inv("-H", name, "deploy", "--json")
        seconds.append(ran.seconds)

    _at_once([partial(work, name) for name in desks])
    return median(seconds)


def _spread(three: Rig, desks: dict[str, Desk], lasts: float, progress: Callable[[str], None]) -> list[Cut]:
    done: list[Cut] = []
    points = [FIRST + (lasts - FIRST) * number / CUTS for number in range(CUTS)]

    def work(host: RigHost, mine: list[float]) -> None:
        for point in mine:
            done.append(_cut(three, host, desks[host.name], point))
            progress(f"{len(done)} of {CUTS} cuts")

    count = len(three.hosts)
    _at_once([partial(work, host, points[index::count]) for index, host in enumerate(three.hosts)])
    return sorted(done, key=lambda one: one.after)


def _at_once(work: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(work)) as threads:
        for one in [threads.submit(each) for each in work]:
            one.result()


def _cut(three: Rig, host: RigHost, desk: Desk, point: float) -> Cut:
    base = host.root / BASE.lstrip("/")
    old, new = _said(base), f"cut after {point:.3f} s"
    desk.change(new)
    began = time.perf_counter()
    with desk.popen("-H", host.name, "deploy", "--json") as command:
        try:
            time.sleep(max(0.0, point - (time.perf_counter() - began)))
            three.cut(host)
            command.communicate()
        except BaseException:
            command.kill()
            raise
        finally:
            three.mend(host)
    seconds = time.perf_counter() - began
    found, serves = _said(base), _serves(host)
    again = desk.inv("-H", host.name, "deploy", "--json", code=None)
    left = tuple(
        one.name for pattern in ("incoming*", "releases/.new*", "lock.json") for one in base.glob(pattern)
    )
    return Cut(
        point, command.returncode, seconds, {old: "old", new: "new"}.get(found, found),
        serves=serves, converged=again.code == 0 and _said(base) == new and _serves(host), left=left,
    )  # fmt: skip


def _serves(host: RigHost) -> bool:
    """Whether HAProxy on the host has a slot that takes calls."""
    connection = http.client.HTTPConnection(host.address, 80, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _said(base: Path) -> str:
    """What the release in force says, where it is whole: all files of its manifest are there."""
    current = base / "current"
    try:
        manifest = json.loads((current / "COMPLETE").read_text())
        missing = [row["path"] for row in manifest["files"] if not (current / row["path"]).is_file()]
        return f"a mix: {missing[:3]}" if missing else (current / "change.txt").read_text().strip()
    except (OSError, ValueError) as problem:
        return f"no whole release: {problem}"
