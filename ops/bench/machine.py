"""What the figures were taken on: machine, system, versions, and how busy it was. Read only."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from ops.processes.environment import minimal


@dataclass(frozen=True)
class Machine:
    """The circumstances of a run."""

    date: str
    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    versions: str
    load: float  # of the last minute, before the run

    @property
    def sentence(self) -> str:
        return (
            f"{self.date}, {self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.system}, "
            f"Python {self.python}, {self.versions}; load before the run {self.load:.1f}"
        )


def machine() -> Machine:
    """This machine now."""
    names = ("invoke", "uvicorn", "starlette", "websockets", "picows", "uvloop")
    ours = [f"{name} {metadata.version(name)}" for name in names]
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processor=_field("/proc/cpuinfo", "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=float((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / (1 << 20),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=", ".join([*ours, *_node()]),
        load=os.getloadavg()[0],
    )


def _node() -> list[str]:
    """Node's own version, where there is one: some of those we compare with run on it."""
    if (node := shutil.which("node")) is None:
        return []
    try:
        argv = (node, "--version")
        done = subprocess.run(argv, env=minimal(), capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [f"node {done.stdout.strip().removeprefix('v')}"] if done.stdout.startswith("v") else []


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
