"""Where a person would deploy from: a clone of this checkout, the keys of a rig, `inv` with a stopwatch."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.bench.bridge.phone import Door
from ops.bench.rig.outside import CHECKOUT, Rig
from ops.errors import OpsError

PATIENCE = 240.0  # seconds for one command
BASE = "/srv/trunkline"  # of the releases on each host
ENV = "host.env"
CAPS = {"MAX_LIVE_CALLS": "1000", "MAX_SIGNED_CALLS_PER_HOUR": "100000"}
WHO = ("-c", "user.name=Bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
KEPT = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Ran:
    """A command line: what it took, how it ended, and its document or what it said instead."""

    seconds: float
    code: int
    document: dict[str, Any]
    said: str

    @property
    def hosts(self) -> dict[str, Any]:
        return dict(self.document.get("data", {}).get("hosts", {}))


@dataclass(frozen=True)
class Line:
    """How calls come in: the public origin, the model's URL, the rows of [proxy], the host whose role that is
    (none: HAProxy stands on each host), and credentials of the moment."""

    origin: str
    model: str
    rows: str
    proxy: str = ""
    account: str = field(default_factory=lambda: f"AC{secrets.token_hex(16)}")
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    @property
    def door(self) -> Door:
        return Door(webhook=f"{self.origin}/twiml", account=self.account, token=self.token)

    @property
    def environment(self) -> str:
        """The environment file of the hosts."""
        rows = {
            "TWILIO_ACCOUNT_SID": self.account, "TWILIO_AUTH_TOKEN": self.token, "PUBLIC_URL": self.origin,
            "OPENAI_API_KEY": f"sk-{secrets.token_hex(16)}", "OPENAI_REALTIME_URL": self.model, **CAPS,
        }  # fmt: skip
        return "".join(f"{name}={text}\n" for name, text in rows.items())


@dataclass(frozen=True)
class Desk:
    """A folder with a clone of the checkout's last commit, and a home that knows the hosts of a rig."""

    root: Path
    home: Path

    @staticmethod
    def set_up(folder: Path, rig: Rig, wheels: Path, line: Line | None = None) -> Desk:
        """Clone the checkout into a folder; the wheels fetched for it are kept in another one.

        With a `line` releases run in slots, behind HAProxy; without, they are only put in force.
        """
        desk = Desk(folder / "project", folder / "home")
        (desk.home / ".ssh").mkdir(parents=True, mode=0o700)
        shutil.copy(rig.key, desk.home / ".ssh/id_ed25519")
        (desk.home / ".ssh/known_hosts").write_text(rig.known_hosts())
        desk.git("clone", "--quiet", "--depth=1", CHECKOUT.as_uri(), str(desk.root), cwd=folder)
        table = f"[proxy]\n{line.rows}" if line else ""
        for host in rig.hosts:
            table += f'[hosts.{host.name}]\naddress = "{host.address}"\nuser = "root"\npath = "{BASE}"\n'
            if line:
                table += 'role = "proxy"\n' if host.name == line.proxy else f'env_file = "{ENV}"\n'
        (desk.root / "ops.toml").write_text(table)
        (desk.root / ENV).touch(mode=0o600)
        (desk.root / ENV).write_text(line.environment if line else "")
        (desk.root / "dist").symlink_to(wheels)
        return desk

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the person but the way to packages: pip's and uv's settings."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in KEPT or name.startswith(("PIP_", "UV_"))
        }
        config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return {**kept, "HOME": str(self.home), "XDG_CONFIG_HOME": config}

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *arguments], cwd=self.root, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def inv(self, *arguments: str, code: int | None = 0) -> Ran:
        """Run `inv ARGUMENTS` from a fresh interpreter; raises OpsError when it ends with another code."""
        began = time.perf_counter()
        with self.popen(*arguments) as command:
            try:
                out, err = command.communicate(timeout=PATIENCE)
            except BaseException:
                command.kill()
                raise
        ran = Ran(time.perf_counter() - began, command.returncode, _document(out), out + err)
        if code is not None and ran.code != code:
            told = f"inv {' '.join(arguments)} ended with {ran.code}, expected {code}"
            raise OpsError(f"{told}: {ran.said.strip()[-800:]}", fix="run the same by hand")
        return ran

    def change(self, text: str) -> None:
        """Commit a small change: one file of one line."""
        (self.root / "change.txt").write_text(f"{text}\n")
        self.git("add", "change.txt")
        self.git("commit", "--quiet", "-m", "change")

    def edit(self, path: str, old: str, new: str) -> None:
        """Commit another text in place of one that a file has once."""
        text = (self.root / path).read_text()
        if text.count(old) != 1:
            raise OpsError(
                f"{path} does not have {old[:60]!r} once.", fix="bring the bench up to date with it"
            )
        (self.root / path).write_text(text.replace(old, new))
        self.git("commit", "--quiet", "--all", "-m", "edit")

    def git(self, *arguments: str, cwd: Path | None = None) -> None:
        """Run git here; raises OpsError when it fails."""
        done = subprocess.run(
            ["git", *WHO, *arguments], cwd=cwd or self.root, capture_output=True, text=True, check=False,
            env=self.environment,
        )  # fmt: skip
        if done.returncode:
            raise OpsError(f"git {arguments[0]}: {done.stderr.strip()}", fix="bench from a git checkout")


def give(uv: Path | None, rig: Rig) -> None:
    """Put uv on the hosts, or take away what they see of this machine's."""
    for host in rig.hosts:
        for place in ("usr/local/bin/uv", "usr/bin/uv"):
            (host.root / place).unlink(missing_ok=True)
        if uv is not None:
            shutil.copy(uv, host.root / "usr/local/bin/uv")


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
