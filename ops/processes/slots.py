"""The slots in which `deploy` runs releases on a host (docs/remote.md), as systemd tells of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.findings import Finding, fail, ok, warn
from ops.processes.outcome import Outcome
from ops.processes.run_files import iso

PROPERTIES = "Id,ActiveState,StatusText,MainPID,NRestarts,ActiveEnterTimestamp"
STATES = {"active": "ready", "activating": "starting", "reloading": "starting", "deactivating": "unready"}


@dataclass(frozen=True)
class Slot:
    """A slot: its unit, whether `current` leads to it, and what systemd and its bridge say of it."""

    unit: str
    in_force: bool
    state: str  # a service's, as in every report
    told: str = ""  # as calls=3
    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    since: float | None = None

    @property
    def calls(self) -> int:
        found = re.search(r"\bcalls=(\d+)", self.told)
        return int(found[1]) if found else 0

    def row(self) -> dict[str, Any]:
        """As a service of the report."""
        return {
            "name": self.unit, "state": self.state, "pid": self.pid, "port": self.port,
            "restarts": self.restarts, "since": iso(self.since) if self.since else None, "url": None,
            "reason": "its calls may end, new ones go elsewhere" if self.state == "unready" else "",
        }  # fmt: skip

    def finding(self) -> Finding:
        said = f"{self.unit} is {self.state}" + (f", {self.told}" if self.told else "")
        if self.in_force and self.state in ("failed", "stopped"):
            fix = f"read inv logs, and journalctl -u {self.unit} on the host; then deploy again"
            return fail(f"services.{self.unit}", f"{said}; new calls should go to it.", fix=fix)
        if self.in_force and self.state != "ready":
            return warn(f"services.{self.unit}", f"{said}.", fix="wait a moment; then read inv logs")
        waits = "it lets its calls end" if self.state == "unready" else "not in force"
        return ok(f"services.{self.unit}", f"{said}{'' if self.in_force else f'; {waits}'}.")


def slots(root: Path) -> tuple[Slot, ...]:
    """The slots beside the release in `root` that run or should; none where `deploy` made none."""
    base = root.resolve().parent.parent
    names = sorted(one.name for one in (base / "slots").glob("*") if one.is_symlink())
    if not names or shutil.which("systemctl") is None:
        return ()
    current = base / "current"
    now = current.readlink() if current.is_symlink() else Path()
    argv = ["systemctl", "show", "--timestamp=unix", f"--property={PROPERTIES}"]
    asked = subprocess.run(
        [*argv, *(f"trunkline@{name}.service" for name in names)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    told = {row.get("Id", ""): row for row in map(_properties, asked.stdout.split("\n\n"))}
    found = [
        _slot(base, name, told.get(f"trunkline@{name}.service", {}), in_force=now == Path("slots", name))
        for name in names
    ]
    return tuple(one for one in found if one.in_force or one.state not in ("stopped", "failed"))


def outcome(found: tuple[Slot, ...], public_url: str | None) -> Outcome:
    """What `status` says on a host whose releases run in slots."""
    data = {
        "services": [one.row() for one in found], "supervisor": {"pid": None}, "public_url": public_url,
        "live_calls": sum(one.calls for one in found), "mode": "slots", "started": None, "lost": {},
    }  # fmt: skip
    return Outcome(tuple(one.finding() for one in found), data)


def _slot(base: Path, name: str, row: dict[str, str], *, in_force: bool) -> Slot:
    state = (
        "failed" if row.get("ActiveState") == "failed" else STATES.get(row.get("ActiveState", ""), "stopped")
    )
    at = row.get("ActiveEnterTimestamp", "").removeprefix("@")
    return Slot(
        f"trunkline@{name}", in_force, state, row.get("StatusText", "") if state != "stopped" else "",
        int(row.get("MainPID", 0)) or None, _port(base / f"slots/{name}.env"), int(row.get("NRestarts", 0)),
        float(at) if re.fullmatch(r"\d+(\.\d+)?", at) else None,
    )  # fmt: skip


def _properties(part: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in part.splitlines() if "=" in line)


def _port(env: Path) -> int | None:
    """The slot's own port; None where this login may not read it."""
    try:
        found = re.search(r"^WEBSOCKET_PORT=(\d+)$", env.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
