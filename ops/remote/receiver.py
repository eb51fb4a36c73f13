"""Runs on a host and keeps the releases there, below one folder. It travels as text and needs only Python.

    releases/ID/      one release: its files, `.env` and `.venv` as links, `logs` shared; it counts from the
                      moment that its file COMPLETE (its manifest) is there, which is written last
    current           a link to the release in force, replaced in one step
    store/            contents by their SHA-256, as they arrived; what releases share is sent once
    venvs/KEY/        environments, by lock file and Python
    shared/           logs, and environment files (0600)
    lock.json         who deploys, since when and why; history.jsonl, audit.jsonl: what was done

A request is one JSON object on standard input, the answer one on standard output, behind a one-time word.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from pathlib import Path
from typing import Any

HASH = re.compile("[0-9a-f]{64}")
ID = re.compile("[0-9a-f]{12}")
CHUNK = 1 << 20


class Refusal(Exception):
    """What cannot be done, and what to do about it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Base:
    """The folder of releases, and what can be done with it; one command at a time."""

    def __init__(self, path: str) -> None:
        self.path = Path(path) if path.startswith("/") else Path.home() / path

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out the steps of a request in their order, all of them or up to the first that is refused."""
        steps = [{**request, **step} for step in request["steps"]]
        if all(step["do"] in ("facts", "missing") for step in steps):  # asks only, and leaves no trace
            return self._carry_out(steps)
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".mutex").open("w") as mutex:
            fcntl.flock(mutex, fcntl.LOCK_EX)
            return self._carry_out(steps)

    def _carry_out(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        free = {
            "facts": self.facts, "missing": self.missing, "lock": self.lock, "releases": self.releases,
        }  # fmt: skip
        locked = {
            "unlock": self.unlock, "absorb": self.absorb, "install": self.install, "switch": self.switch,
            "rollback": self.rollback, "prune": self.prune,
        }  # fmt: skip
        told: dict[str, Any] = {}
        for step in steps:
            if step["do"] in locked:
                self._holds(step["token"])
            told |= (free | locked)[step["do"]](step)
        return told

    def facts(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a plan depends on."""
        libc, version = platform.libc_ver()
        return {
            "python": platform.python_version(),
            "platform": sysconfig.get_platform(),
            "libc": f"{libc}-{version}",
            "uv": shutil.which("uv") is not None,
            "systemd": Path("/run/systemd/system").is_dir(),
            "base": str(self.path),
            "current": self._current(),
            "free": shutil.disk_usage(next(p for p in (self.path, *self.path.parents) if p.is_dir())).free,
            "lock": self._read("lock.json"),
        }

    def lock(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take the lock; one left behind by a dead run of the same project may be taken over."""
        held = self._read("lock.json")
        if held and held["place"] != request["place"] and not request["take"]:
            raise Refusal(
                f"{held['holder']} deploys here since {held['since']} ({held['reason']}).",
                "wait for it; if it is dead, add --take-lock",
            )
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        kept = {key: request[key] for key in ("token", "holder", "place", "reason")}
        self._write(self.path / "lock.json", json.dumps(kept | {"since": since}).encode())
        return {}

    def unlock(self, request: dict[str, Any]) -> dict[str, Any]:
        (self.path / "lock.json").unlink()
        return {}

    def missing(self, request: dict[str, Any]) -> dict[str, Any]:
        """Which of these contents are not here."""
        hashes = request["hashes"]
        return {"missing": [one for one in hashes if not (self.path / "store" / _hash(one)).exists()]}

    def absorb(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take the contents of an uploaded bundle into the store, each verified by its hash."""
        bundle = self._inside(request["bundle"])
        store = self.path / "store"
        store.mkdir(exist_ok=True)
        count = 0
        with tarfile.open(bundle) as archive:
            for member in archive:
                source = archive.extractfile(member)
                if not member.isreg() or source is None:
                    raise Refusal("The bundle holds something else than files.", "ship again")
                name = _hash(member.name)
                temporary = store / f".{name}"
                found = hashlib.sha256()
                with temporary.open("wb") as file:
                    while data := source.read(CHUNK):
                        found.update(data)
                        file.write(data)
                    _settle(file)
                if found.hexdigest() != name:
                    raise Refusal("A file was damaged on its way.", "ship again")
                temporary.replace(store / name)
                count += 1
        bundle.unlink()
        return {"count": count}

    def install(self, request: dict[str, Any]) -> dict[str, Any]:
        """Unpack a release beside the others, verify it, try it, and only then let it count."""
        manifest = request["manifest"]
        release = self._release(manifest["id"])
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
        (self.path / "shared/logs").mkdir(parents=True, exist_ok=True)
        (fresh / "logs").symlink_to("../../shared/logs")
        (fresh / ".env").symlink_to(f"../../{env}")
        fresh.rename(release)
        if manifest["lock"]:
            (release / ".venv").symlink_to(f"../../venvs/{self._venv(release, manifest)}")
        self._verify(release, manifest["files"])
        _run(["./inv", "--list"], release, "the release cannot list its tasks")
        self._write(release / "COMPLETE", json.dumps(manifest).encode())
        return {"new": True}

    def switch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put a release in force; what was in force before is on record first."""
        return self._switch(self._release(request["id"]), request, "deploy")

    def rollback(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return to the release in force before, or to a named one; the one in force now is marked bad."""
        now = self._current()
        target = request.get("to") or self._before(now)
        if target is None:
            raise Refusal("There is no earlier good release here.", "inv -H … releases shows what there is")
        release = self._release(target)
        if not (release / "COMPLETE").exists() or (release / "BAD").exists() or target == now:
            raise Refusal(
                f"{target} is not an earlier good release.", "inv -H … releases shows what there is"
            )
        if request.get("dry"):
            return {"from": now, "to": target}
        if now is not None:
            self._write(self._release(now) / "BAD", f"rolled back by {request['holder']}".encode())
        return self._switch(release, request, "rollback")

    def releases(self, request: dict[str, Any]) -> dict[str, Any]:
        """All complete releases, the newest first."""
        now = self._current()
        before = self._before(now)
        rows = []
        for release in self._complete():
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
        now = self._current()
        kept = {now, self._before(now)} | {one.name for one in self._complete()[: request["keep"]]}
        gone = []
        for release in (self.path / "releases").iterdir():
            if release.name not in kept and not _in_use(release):
                (release / "COMPLETE").unlink(missing_ok=True)  # first it no longer counts
                shutil.rmtree(release)
                gone.append(release.name)
        manifests = [json.loads((one / "COMPLETE").read_text()) for one in self._complete()]
        wanted = {
            row["sha256"] for one in manifests for row in (*one["files"], *one["wheels"]) if "sha256" in row
        }
        for content in (self.path / "store").glob("*"):
            if content.name not in wanted:
                content.unlink()
        venvs = {(one / ".venv").readlink().name for one in self._complete() if (one / ".venv").is_symlink()}
        for venv in (self.path / "venvs").glob("*"):
            if venv.name not in venvs and not _in_use(venv):
                shutil.rmtree(venv)
        return {"removed": gone}

    def _switch(self, release: Path, request: dict[str, Any], action: str) -> dict[str, Any]:
        if not (release / "COMPLETE").exists():
            raise Refusal(f"Release {release.name} is not complete.", "ship it again")
        now = self._current()
        told = {"from": now, "to": release.name, "who": request["holder"], "reason": request["reason"]}
        told = {"ts": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "action": action} | told
        if now != release.name:
            self._append("history.jsonl", told)
            new = self.path / ".next"
            new.unlink(missing_ok=True)
            new.symlink_to(f"releases/{release.name}")
            new.replace(self.path / "current")
            _settle_folder(self.path)
        self._append("audit.jsonl", told)
        return {"from": now, "to": release.name}

    def _before(self, now: str | None) -> str | None:
        """The release that was in force before `now`, complete and good; of several the latest."""
        rows = []
        with contextlib.suppress(FileNotFoundError), (self.path / "history.jsonl").open() as file:
            for line in file:
                with contextlib.suppress(ValueError):  # the last line may have been cut off
                    rows.append(json.loads(line))
        seen = {one.name for one in self._complete() if not (one / "BAD").exists()}
        for row in reversed(rows):
            if row["to"] == now and row["from"] in seen and row["from"] != now:
                return str(row["from"])
        earlier = [row["to"] for row in reversed(rows) if row["to"] in seen and row["to"] != now]
        return str(earlier[0]) if earlier else None

    def _venv(self, release: Path, manifest: dict[str, Any]) -> str:
        """The environment for this lock file and Python, made from the wheels that came along."""
        wheels = "".join(sorted(row["sha256"] for row in manifest["wheels"]))
        key = hashlib.sha256(f"{manifest['lock']} {sys.version} {wheels}".encode()).hexdigest()[:16]
        venv = self.path / "venvs" / key
        if (venv / "COMPLETE").exists():
            return key
        shutil.rmtree(venv, ignore_errors=True)
        links = self.path / "venvs" / f".wheels-{key}"
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir(parents=True)
        for row in manifest["wheels"]:
            os.link(self.path / "store" / _hash(row["sha256"]), links / _plain(row["name"]))
        offline = [
            "--no-index",
            f"--find-links={links}",
            "--require-hashes",
            "-r",
            str(release / "requirements.lock"),
        ]
        if uv := shutil.which("uv"):
            _run(
                [uv, "venv", "--quiet", "--python", sys.executable, str(venv)],
                release,
                "uv cannot make .venv",
            )
            argv = [uv, "pip", "install", "--quiet", "--offline", "--python", str(venv / "bin/python")]
        else:
            fix = "apt-get install python3-venv, or install uv"
            _run(
                [sys.executable, "-m", "venv", str(venv)],
                release,
                "python3 cannot make a virtual environment",
                fix,
            )
            argv = [
                str(venv / "bin/python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
        _run([*argv, *offline], release, "the wheels cannot be installed")
        told = subprocess.run(
            ["cksum"], input=(release / "requirements.lock").read_bytes(), capture_output=True, check=True
        )
        (venv / ".lock").write_bytes(told.stdout)  # what ./inv compares, so that it sets up nothing itself
        shutil.rmtree(links)
        self._write(venv / "COMPLETE", b"")
        return key

    def _place(self, release: Path, row: dict[str, Any]) -> None:
        path = release / _relative(row["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in row:
            path.symlink_to(row["link"])
            return
        shutil.copyfile(self.path / "store" / _hash(row["sha256"]), path)
        path.chmod(0o755 if row["executable"] else 0o644)

    def _verify(self, release: Path, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            path = release / _relative(row["path"])
            try:
                same = (
                    str(path.readlink()) == row["link"] if "link" in row
                    else hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
                )  # fmt: skip
            except OSError:
                same = False
            if not same:
                raise Refusal(
                    f"{path} is not what was shipped.", "add --again to ship the same under a new name"
                )

    def _environment(self, text: str | None) -> str:
        """Where a release finds its environment file: by content, so going back goes back in this, too."""
        if text is None:
            return "shared/.env"
        name = f"shared/env/{hashlib.sha256(text.encode()).hexdigest()[:12]}.env"
        (self.path / "shared/env").mkdir(parents=True, exist_ok=True)
        (self.path / "shared/env").chmod(0o700)
        self._write(self.path / name, text.encode())
        return name

    def _complete(self) -> list[Path]:
        found = [path.parent for path in (self.path / "releases").glob("[0-9a-f]*/COMPLETE")]
        return sorted(found, key=lambda one: (one / "COMPLETE").stat().st_mtime_ns, reverse=True)

    def _current(self) -> str | None:
        try:
            return (self.path / "current").readlink().name
        except OSError:
            return None

    def _release(self, id: str) -> Path:
        if not ID.fullmatch(id):
            raise Refusal(f"{id!r} names no release.", "inv -H … releases shows what there is")
        (self.path / "releases").mkdir(exist_ok=True)
        return self.path / "releases" / id

    def _holds(self, token: str) -> None:
        held = self._read("lock.json")
        if not held or held["token"] != token:
            raise Refusal(
                f"The lock went to {(held or {}).get('holder', 'nobody')}.", "see who deploys, then again"
            )

    def _inside(self, name: str) -> Path:
        return self.path / _plain(name)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _write(self, path: Path, data: bytes) -> None:
        """A file for its owner alone, there in one step or not at all."""
        temporary = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            _settle(file)
        temporary.replace(path)
        _settle_folder(path.parent)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self.path / name).open("a") as file:
            file.write(json.dumps(row) + "\n")
            _settle(file)


def _run(argv: list[str], cwd: Path, failed: str, fix: str = "mend it, then deploy again") -> None:
    done = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=600, env={**os.environ, "PIP_NO_INPUT": "1", "UV_PYTHON_DOWNLOADS": "never"}, check=False,
    )  # fmt: skip
    if done.returncode:
        tail = done.stdout.decode("utf-8", "replace").strip().splitlines()[-5:]
        raise Refusal(f"{failed}: {' / '.join(tail) or f'exit {done.returncode}'}", fix)


def _in_use(folder: Path) -> bool:
    """Whether a process works in this folder or runs a program of it."""
    inside = str(folder) + "/"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if f"{(process / 'cwd').readlink()}/".startswith(inside) or any(
                one.startswith(inside) for one in words
            ):
                return True
    return False


def _hash(text: str) -> str:
    if not HASH.fullmatch(text):
        raise Refusal("A content is not named by its hash.", "ship again")
    return text


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._+-]+", name) or name.startswith("."):
        raise Refusal(f"{name!r} is no plain file name.", "ship again")
    return name


def _relative(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or not path or {"", ".", ".."} & set(parts):
        raise Refusal(f"{path!r} leads out of the release.", "rename it")
    return path


def _settle(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _settle_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main() -> None:
    """Read one request from standard input, carry it out, answer."""
    request = json.loads(sys.stdin.buffer.read())
    os.umask(0o022)
    answer: dict[str, Any]
    try:
        answer = {"ok": Base(request["base"]).answer(request)}
    except Refusal as refusal:
        answer = {"refused": str(refusal), "fix": refusal.fix}
    except OSError as problem:
        answer = {"refused": f"{problem}.", "fix": "check the rights and the space on the host's disk"}
    sys.stdout.write(f"\x1e{request['word']} {json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
