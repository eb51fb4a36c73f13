"""systemd on a host: a release started in a free slot, proven there, and what is no more in force drained."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any, NoReturn

from ops.remote.receiver.base import Base
from ops.remote.receiver.files import Refusal, link, run, write
from ops.remote.receiver.plan import Slot, leftovers, slot_for

UNIT = Path("/etc/systemd/system/trunkline@.service")
WANTS = UNIT.parent / "multi-user.target.wants"  # what [Install] of the unit asks for
PROOF = 120.0  # seconds that validate --deep may take
LIVES = {"active": "running", "reloading": "running", "activating": "running", "deactivating": "leaving"}


class Units:
    """The slots of a folder of releases, each an instance of one template unit."""

    def __init__(self, base: Base) -> None:
        self.base = base

    def slot(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a release in a slot of its own beside the one in force, and prove it there.

        Nothing is in force yet afterwards. A release that does not come up, or fails its proof, is stopped
        again, and what is in force has not noticed.
        """
        slots, release, name = self._slots(request["ports"]), request["id"], request["slot"]
        one = next(one for one in slots if one.name == name)
        if one.state == "leaving" or (one.state == "running" and one.release != release):
            raise Refusal(f"Slot {name} was taken meanwhile.", "deploy again")
        _leave(leftovers(slots, self.base.slot(), self.base.slot_before(), name))
        if one.state == "free":
            self._set_up(name, request)
            _systemctl("reset-failed", _unit(name))
            if _systemctl("start", _unit(name)).returncode:
                self._give_up(name, "does not come up", request)
        known = name == self.base.slot()  # it was proven when it came, and has calls now
        self._prove(name, request["ports"][name], request, deep=request["deep"] and not known)
        return {"started": one.state == "free"}

    def look(self, request: dict[str, Any]) -> dict[str, Any]:
        """Which slot a release would get, which ones would drain, and what each says of itself now.

        Without a release it is about the one before, which a rollback puts in force.
        """
        slots = self._slots(request["ports"])
        release = request["id"] or self.base.before(self.base.current())
        chosen = slot_for(slots, self.base.slot(), release)
        return {
            "slots": {one.name: one.told or one.state for one in slots},
            "slot": chosen.name if chosen else None,
            "starts": chosen is not None and chosen.state == "free",
            "drains": leftovers(slots, chosen.name if chosen else None),
        }

    def drain(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let every slot but the one in force finish its calls and leave; nobody waits for it."""
        now, slots = self.base.slot(), self._slots(request["ports"])
        for one in slots:
            at_boot = (WANTS / _unit(one.name)).is_symlink()
            if at_boot != (one.name == now):  # which one the host's next start begins; now nothing changes
                _systemctl("disable" if at_boot else "enable", "--no-reload", _unit(one.name))
        drains = leftovers(slots, now)
        _leave(drains)
        return {"drains": drains}

    def _slots(self, ports: dict[str, int]) -> list[Slot]:
        """All slots, by one question to systemd."""
        asked = "--property=Id,ActiveState,StatusText"
        told = _systemctl("show", asked, *map(_unit, ports)).stdout.decode("utf-8", "replace")
        rows = [
            dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
            for part in told.split("\n\n")
        ]
        units = {row.get("Id"): row for row in rows}
        found = []
        for name in ports:
            row = units.get(_unit(name), {})
            state = LIVES.get(row.get("ActiveState", ""), "free")
            found.append(Slot(name, self._release(name), state, row.get("StatusText", "")))
        return found

    def _release(self, name: str) -> str | None:
        try:
            return (self.base.path / "slots" / name).readlink().name
        except OSError:
            return None

    def _set_up(self, name: str, request: dict[str, Any]) -> None:
        """The service's user, its files, the template unit, and this slot's link and ports."""
        user = request["user"]
        with contextlib.suppress(FileExistsError):
            (self.base.path / "slots").mkdir()
        try:
            owner = pwd.getpwnam(user)
        except KeyError:
            argv = ["useradd", "--system", "--user-group", "--no-create-home", "--shell=/usr/sbin/nologin"]
            run(
                [*argv, f"--home-dir={self.base.path}", user],
                self.base.path,
                f"the user {user} cannot be made",
            )
            owner = pwd.getpwnam(user)
        release = self.base.release(request["id"])
        _give(self.base.path / "shared/logs", owner)
        env = (release / ".env").resolve()
        for path in (env.parent, env) if env.parent.name == "env" else (env,):
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        write(self.base.path / f"slots/{name}.env", request["env"][name].encode())
        link(self.base.path / f"slots/{name}", f"../releases/{release.name}")
        if not UNIT.exists() or UNIT.read_text() != request["unit"]:
            write(UNIT, request["unit"].encode(), 0o644)
            _systemctl("daemon-reload")

    def _prove(self, name: str, port: int, request: dict[str, Any], *, deep: bool) -> None:
        status = _health(port)
        if status != 200:
            self._give_up(name, f"is not healthy: /health says {status}", request)
        if not deep:
            return
        at = f"http://127.0.0.1:{port}"
        try:
            done = subprocess.run(
                ["./inv", "validate", "--deep", f"--at={at}", "--json"],
                cwd=self.base.path / f"slots/{name}", stdin=subprocess.DEVNULL, capture_output=True,
                user=request["user"], group=request["user"], extra_groups=[], check=False, timeout=PROOF,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.base.path)},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self._give_up(name, f"does not end validate --deep within {PROOF:.0f} s", request)
        if done.returncode:
            self._give_up(name, f"fails validate --deep: {_failed(done)}", request)

    def _give_up(self, name: str, why: str, request: dict[str, Any]) -> NoReturn:
        """Stop a slot that never had traffic; what is in force stays so. Its release is bad as soon as the
        desk has heard of it, unless it was in force before: then it is the host or a vendor that fails, and
        a way back stays."""
        if name == self.base.slot():
            raise Refusal(f"Slot {name}, which is in force, {why}. {_journal(name)}", "see inv -H … logs")
        told = _journal(name)
        _systemctl("kill", "--signal=KILL", _unit(name))
        _systemctl("stop", _unit(name))
        if not self.base.was_in_force(request["id"]):
            self.base.failed(request["id"], f"its slot {why}")
        raise Refusal(
            f"Slot {name} with the new release {why}; it was stopped, what was in force still is. {told}",
            "mend it, then deploy again; add --again if nothing of the release changes",
        )


def obstacle(base: Base) -> str:
    """Why there can be no units and slots on this host; empty where there can."""
    if not Path("/run/systemd/system").is_dir():
        return "systemd does not run here"
    if os.geteuid() != 0:
        return "our login is not root"
    if base.path.parts[1] in ("home", "root", "tmp"):
        return f'{base.path} is out of reach for a service: set path = "/srv/trunkline" in ops.toml'
    return ""


def _unit(name: str) -> str:
    return f"trunkline@{name}.service"


def _leave(names: tuple[str, ...]) -> None:
    """Have slots finish their calls; nobody waits for it."""
    if names:
        _systemctl("stop", "--no-block", *map(_unit, names))


def _systemctl(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["systemctl", "--quiet", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=180,
        check=False,
    )


def _journal(name: str) -> str:
    argv = ["journalctl", "--no-pager", "--lines=5", "--output=cat", f"--unit={_unit(name)}"]
    told = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).stdout
    return "Its last words: " + " / ".join(told.decode("utf-8", "replace").strip().splitlines()[-5:])


def _health(port: int) -> int | str:
    import http.client  # slow to load, and most requests do not ask

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        return f"nothing ({problem})"
    finally:
        connection.close()


def _failed(done: subprocess.CompletedProcess[bytes]) -> str:
    """The findings that were not well, in words."""
    try:
        findings = json.loads(done.stdout)["findings"]
        bad = [one["summary"] for one in findings if one["status"] in ("fail", "unknown")]
        return " ".join(bad[:3]) or f"exit {done.returncode}"
    except (ValueError, KeyError, TypeError):
        return (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-300:]


def _give(folder: Path, owner: pwd.struct_passwd) -> None:
    """A folder and all below it to the service's user; what a link leads to stays whose it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
