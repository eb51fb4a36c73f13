"""The folder of releases on a host: where things are, who holds it, what was done to it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import pwd
import shutil
import sysconfig
import time
from pathlib import Path
from typing import Any

from ops.remote.receiver.files import ID, Refusal, settle, write


class Base:
    """The folder of releases, its lock and its records."""

    def __init__(self, path: str) -> None:
        self.path = Path(path) if path.startswith("/") else Path.home() / path

    def facts(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a plan depends on."""
        libc, version = platform.libc_ver()
        return {
            "python": platform.python_version(),
            "platform": sysconfig.get_platform(),
            "libc": f"{libc}-{version}",
            "uv": shutil.which("uv") is not None,
            "systemd": Path("/run/systemd/system").is_dir(),
            "login": pwd.getpwuid(os.geteuid()).pw_name,
            "root": os.geteuid() == 0,
            "base": str(self.path),
            "current": self.current(),
            "slot_in_force": self.slot(),
            "free": shutil.disk_usage(next(p for p in (self.path, *self.path.parents) if p.is_dir())).free,
            "lock": self.read("lock.json"),
        }

    def lock(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take the lock; one left behind by a dead run of the same project may be taken over."""
        held = self.read("lock.json")
        if held and held["place"] != request["place"] and not request["take"]:
            raise Refusal(
                f"{held['holder']} deploys here since {held['since']} ({held['reason']}).",
                "wait for it; if it is dead, add --take-lock",
            )
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for left in (*self.path.glob("releases/*/FAILED"), *self.path.glob("incoming-*")):
            left.unlink()  # of a run that was cut off: its failure was not heard, its upload not whole
        kept = {key: request[key] for key in ("token", "holder", "place", "reason")}
        write(self.path / "lock.json", json.dumps(kept | {"since": since}).encode())
        return {}

    def unlock(self, request: dict[str, Any]) -> dict[str, Any]:
        (self.path / "lock.json").unlink()
        return {}

    def holds(self, token: str) -> None:
        held = self.read("lock.json")
        if not held or held["token"] != token:
            raise Refusal(
                f"The lock went to {(held or {}).get('holder', 'nobody')}.", "see who deploys, then again"
            )

    def current(self) -> str | None:
        """The release in force, directly or by its slot."""
        link = self.path / "current"
        return link.resolve().name if link.is_symlink() else None

    def slot(self) -> str | None:
        """The slot in force; None where a release is in force without one."""
        try:
            found = (self.path / "current").readlink()
        except OSError:
            return None
        return found.name if found.parent.name == "slots" else None

    def slot_before(self) -> str | None:
        """The slot that was in force before the present one. Where a deploy was cut off between its
        switch and the proxy, new calls still go there."""
        slots = [row["slot"] for row in self._rows("audit.jsonl") if "slot" in row]
        return next((name for name in reversed(slots) if name != self.slot()), None)

    def in_slots(self) -> set[str]:
        """The releases that slots are linked to."""
        return {one.readlink().name for one in (self.path / "slots").glob("*") if one.is_symlink()}

    def release(self, id: str) -> Path:
        if not ID.fullmatch(id):
            raise Refusal(f"{id!r} names no release.", "inv -H … releases shows what there is")
        (self.path / "releases").mkdir(exist_ok=True)
        return self.path / "releases" / id

    def mark_bad(self, id: str, why: str) -> None:
        """From now on it is not put in force again."""
        write(self.release(id) / "BAD", why.encode())

    def failed(self, id: str, why: str) -> None:
        """It failed in its slot: a mark only when the desk has heard of it (see `condemn`)."""
        write(self.release(id) / "FAILED", why.encode())

    def condemn(self, request: dict[str, Any]) -> dict[str, Any]:
        """Mark as bad what has failed, asked by a desk that heard so. A desk that was cut off does not ask:
        then the network failed, the proof perhaps only by that, and the same deploy may try again."""
        for failed in self.path.glob("releases/*/FAILED"):
            failed.rename(failed.with_name("BAD"))
        return {}

    def complete(self) -> list[Path]:
        found = [path.parent for path in (self.path / "releases").glob("[0-9a-f]*/COMPLETE")]
        return sorted(found, key=lambda one: (one / "COMPLETE").stat().st_mtime_ns, reverse=True)

    def before(self, now: str | None) -> str | None:
        """The release that was in force before `now`, complete and good; of several the latest."""
        rows = self._history()
        seen = {one.name for one in self.complete() if not (one / "BAD").exists()}
        for row in reversed(rows):
            if row["to"] == now and row["from"] in seen and row["from"] != now:
                return str(row["from"])
        earlier = [row["to"] for row in reversed(rows) if row["to"] in seen and row["to"] != now]
        return str(earlier[0]) if earlier else None

    def was_in_force(self, id: str) -> bool:
        """Whether it has been put in force here, now or once."""
        return any(row["to"] == id for row in self._history())

    def _history(self) -> list[dict[str, Any]]:
        """What was put in force after what; a switch that was taken back is none."""
        rows: list[dict[str, Any]] = []
        for row in self._rows("history.jsonl"):
            if row.get("action") == "return" and rows:
                rows.pop()
            else:
                rows.append(row)
        return rows

    def _rows(self, name: str) -> list[dict[str, Any]]:
        rows = []
        with contextlib.suppress(FileNotFoundError), (self.path / name).open() as file:
            for line in file:
                with contextlib.suppress(ValueError):  # the last line may have been cut off
                    rows.append(json.loads(line))
        return rows

    def read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def append(self, name: str, row: dict[str, Any]) -> None:
        with (self.path / name).open("a") as file:
            file.write(json.dumps(row) + "\n")
            settle(file)
