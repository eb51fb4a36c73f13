"""Releases on a host: their contents taken in, installed, verified, put in force, taken back, removed."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

from ops.remote.receiver.base import Base
from ops.remote.receiver.environments import environment
from ops.remote.receiver.files import (
    Refusal,
    content,
    in_use,
    link,
    plain,
    relative,
    run,
    settle,
    whole,
    write,
)

CHUNK = 1 << 20


class Releases:
    """What can be done with the releases of a folder; every step may be repeated."""

    def __init__(self, base: Base) -> None:
        self.base = base

    def missing(self, request: dict[str, Any]) -> dict[str, Any]:
        """Which of these contents are not here."""
        hashes = request["hashes"]
        return {"missing": [one for one in hashes if not (self.base.path / "store" / content(one)).exists()]}

    def absorb(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take the contents of an uploaded bundle into the store, each verified by its hash."""
        bundle = self.base.path / plain(request["bundle"])
        store = self.base.path / "store"
        store.mkdir(exist_ok=True)
        count = 0
        with tarfile.open(bundle) as archive:
            for member in archive:
                source = archive.extractfile(member)
                if not member.isreg() or source is None:
                    raise Refusal("The bundle holds something else than files.", "ship again")
                name = content(member.name)
                temporary = store / f".{name}"
                found = hashlib.sha256()
                with temporary.open("wb") as file:
                    while data := source.read(CHUNK):
                        found.update(data)
                        file.write(data)
                    settle(file)
                if found.hexdigest() != name:
                    raise Refusal("A file was damaged on its way.", "ship again")
                temporary.replace(store / name)
                count += 1
        bundle.unlink()
        return {"count": count}

    def install(self, request: dict[str, Any]) -> dict[str, Any]:
        """Unpack a release beside the others, verify it, try it, and only then let it count."""
        manifest = request["manifest"]
        release = self.base.release(manifest["id"])
        env = self._environment(request.get("env"))
        if (release / "COMPLETE").exists():
            self._verify(release, manifest["files"])
            if (release / "BAD").exists():
                raise Refusal(
                    f"Release {release.name} was marked bad: {(release / 'BAD').read_text().strip()}.",
                    "change something, or add --again to ship the same under a new name",
                )
            return {"new": False}
        fresh = release.with_name(f".new-{release.name}")
        for old in (fresh, release):
            shutil.rmtree(old, ignore_errors=True)
        for row in manifest["files"]:
            self._place(fresh, row)
        (self.base.path / "shared/logs").mkdir(parents=True, exist_ok=True)
        (fresh / "logs").symlink_to("../../shared/logs")
        (fresh / ".env").symlink_to(f"../../{env}")
        fresh.rename(release)
        if manifest["lock"]:
            (release / ".venv").symlink_to(f"../../venvs/{environment(self.base.path, release, manifest)}")
        self._verify(release, manifest["files"])
        run(["./inv", "--list"], release, "the release cannot list its tasks")
        run(["sync", "--file-system", "."], release, "the release cannot be brought onto the disk")
        write(release / "COMPLETE", json.dumps(manifest).encode())
        return {"new": True}

    def switch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put a release in force; what was in force before is on record first."""
        return self._switch(self.base.release(request["id"]), request, "deploy")

    def back(self, request: dict[str, Any]) -> dict[str, Any]:
        """Which release a rollback would put in force: the one before, or a named one."""
        now = self.base.current()
        target = request.get("to") or self.base.before(now)
        if target is None:
            raise Refusal("There is no earlier good release here.", "inv -H … releases shows what there is")
        release = self.base.release(target)
        if not (release / "COMPLETE").exists() or (release / "BAD").exists() or target == now:
            raise Refusal(
                f"{target} is not an earlier good release.", "inv -H … releases shows what there is"
            )
        return {"from": now, "to": target}

    def rollback(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put that release in force again; the one in force now is marked bad."""
        found = self.back(request)
        if found["from"] is not None:
            self.base.mark_bad(found["from"], f"rolled back by {request['holder']}")
        return self._switch(self.base.release(found["to"]), request, "rollback")

    def return_to(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put the slot in force again that was so before a switch which never led new calls elsewhere."""
        return self._switch(self.base.release(request["id"]), request, "return")

    def releases(self, request: dict[str, Any]) -> dict[str, Any]:
        """All complete releases, the newest first."""
        now = self.base.current()
        before = self.base.before(now)
        rows = []
        for release in self.base.complete():
            manifest = json.loads((release / "COMPLETE").read_text())
            bad = release / "BAD"
            state = "current" if release.name == now else "bad" if bad.exists() else "good"
            rows.append(
                {
                    "id": release.name, "state": state, "previous": release.name == before,
                    "label": manifest["label"], "made": manifest["made"],
                    "reason": bad.read_text().strip() if bad.exists() else "",
                }
            )  # fmt: skip
        return {"releases": rows}

    def prune(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove releases but the newest, the one in force, the one before, and any that a process uses."""
        now = self.base.current()
        kept = {now, self.base.before(now), *self.base.in_slots()} | {
            one.name for one in self.base.complete()[: request["keep"]]
        }
        gone = []
        for release in (self.base.path / "releases").iterdir():
            if release.name not in kept and not in_use(release):
                (release / "COMPLETE").unlink(missing_ok=True)  # first it no longer counts
                shutil.rmtree(release)
                gone.append(release.name)
        manifests = [json.loads((one / "COMPLETE").read_text()) for one in self.base.complete()]
        wanted = {
            row["sha256"] for one in manifests for row in (*one["files"], *one["wheels"]) if "sha256" in row
        }
        for stored in (self.base.path / "store").glob("*"):
            if stored.name not in wanted:
                stored.unlink()
        venvs = {
            (one / ".venv").readlink().name for one in self.base.complete() if (one / ".venv").is_symlink()
        }
        for venv in (self.base.path / "venvs").glob("*"):
            if venv.name not in venvs and not in_use(venv):
                shutil.rmtree(venv)
        return {"removed": gone}

    def _switch(self, release: Path, request: dict[str, Any], action: str) -> dict[str, Any]:
        """One link is replaced: it leads to the release, or to the slot that runs it."""
        if not (release / "COMPLETE").exists():
            raise Refusal(f"Release {release.name} is not complete.", "ship it again")
        now, slot_now, slot = self.base.current(), self.base.slot(), request.get("slot")
        told = {"from": now, "to": release.name, "who": request["holder"], "reason": request["reason"]}
        told = {"ts": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "action": action} | told
        told |= {"slot": slot} if slot else {}
        if now != release.name:
            self.base.append("history.jsonl", told)
        link(self.base.path / "current", f"slots/{plain(slot)}" if slot else f"releases/{release.name}")
        if self.base.current() != release.name:
            raise Refusal(f"Slot {slot} runs another release.", "deploy again")
        self.base.append("audit.jsonl", told)
        return {"from": now, "to": release.name, "slot_from": slot_now}

    def _place(self, release: Path, row: dict[str, Any]) -> None:
        path = release / relative(row["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in row:
            path.symlink_to(row["link"])
            return
        shutil.copyfile(self.base.path / "store" / content(row["sha256"]), path)
        path.chmod(0o755 if row["executable"] else 0o644)

    def _verify(self, release: Path, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            path = release / relative(row["path"])
            try:
                same = (
                    str(path.readlink()) == row["link"] if "link" in row
                    else hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
                )  # fmt: skip
            except OSError:
                same = False
            if not same:
                if "sha256" in row and (stored := self.base.path / "store" / row["sha256"]).exists():
                    whole(stored)
                raise Refusal(
                    f"{path} is not what was shipped.", "add --again to ship the same under a new name"
                )

    def _environment(self, text: str | None) -> str:
        """Where a release finds its environment file: by content, so going back goes back in this, too."""
        if text is None:
            return "shared/.env"
        name = f"shared/env/{hashlib.sha256(text.encode()).hexdigest()[:12]}.env"
        (self.base.path / "shared/env").mkdir(parents=True, exist_ok=True)
        (self.base.path / "shared/env").chmod(0o700)
        path = self.base.path / name
        if not path.exists():  # named by its content; a service that runs may own it
            write(path, text.encode())
        return name
