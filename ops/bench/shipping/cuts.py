"""Cuts the link of a host in the middle of a deploy, at points spread over it, and looks what is in force."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ops.bench.rig.outside import Rig, RigHost
from ops.bench.shipping.desk import Desk
from ops.bench.shipping.result import Cut

FIRST = 0.3  # of a deploy's time: before, the host has not been called


def cuts(
    rig: Rig, desks: dict[str, Desk], path: str, count: int, lasts: float, progress: Callable[[str], None]
) -> list[Cut]:
    """So many cuts, shared by the hosts of a rig; each host has a desk of its own and one good release.

    `lasts` is how long a deploy of a small change takes here, in seconds.
    """
    done: list[Cut] = []
    broken: list[BaseException] = []
    points = [lasts * (FIRST + (1 - FIRST) * number / count) for number in range(count)]

    def work(host: RigHost, mine: list[float]) -> None:
        try:
            for point in mine:
                done.append(_cut(rig, host, desks[host.name], path, point))
                progress(f"{len(done)} of {count} cuts")
        except BaseException as problem:
            broken.append(problem)

    threads = [
        threading.Thread(target=work, args=(host, points[index :: len(rig.hosts)]))
        for index, host in enumerate(rig.hosts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return sorted(done, key=lambda one: one.after)


def _cut(rig: Rig, host: RigHost, desk: Desk, path: str, point: float) -> Cut:
    base = host.root / path.lstrip("/")
    old, new = _said(base), f"cut after {point:.3f} s"
    desk.change(new)
    began = time.perf_counter()
    with desk.popen("-H", host.name, "deploy", "--json") as command:
        try:
            time.sleep(max(0.0, point - (time.perf_counter() - began)))
            rig.cut(host)
            command.communicate()
        except BaseException:
            command.kill()
            raise
        finally:
            rig.mend(host)
    seconds = time.perf_counter() - began
    found = _said(base)
    again = desk.inv("-H", host.name, "deploy", "--json", code=None)
    left = tuple(
        one.name for pattern in ("incoming*", "releases/.new*", "lock.json") for one in base.glob(pattern)
    )
    return Cut(
        point, command.returncode, seconds, {old: "old", new: "new"}.get(found, found),
        converged=again.code == 0 and _said(base) == new, left=left,
    )  # fmt: skip


def _said(base: Path) -> str:
    """What the release in force says, where it is whole: all files of its manifest are there."""
    current = base / "current"
    try:
        manifest = json.loads((current / "COMPLETE").read_text())
        missing = [row["path"] for row in manifest["files"] if not (current / row["path"]).is_file()]
        return f"a mix: {missing[:3]}" if missing else (current / "change.txt").read_text().strip()
    except (OSError, ValueError) as problem:
        return f"no whole release: {problem}"
