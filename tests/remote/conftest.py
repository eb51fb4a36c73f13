"""A real sshd of the test's own: on loopback, as the user who runs the tests, with keys made for it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import REPOSITORY

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/id.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
SetEnv SHLVL=1 PATH={python}:/usr/bin:/bin
"""  # the tests' own Python, and (by SHLVL) no start-up file of a login shell: what a person has there is no matter


@dataclass(frozen=True)
class Hosts:
    """A folder to run `inv` in, its ops.toml, its own ~/.ssh, and hosts that are folders behind one sshd."""

    root: Path
    home: Path
    port: int
    folder: Path

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh/known_hosts"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {"HOME": str(self.home)}

    @property
    def user(self) -> str:
        return getpass.getuser()

    def add(self, name: str, **rows: Any) -> Path:
        """A host of ops.toml; its path on the host."""
        path = self.folder / "hosts" / name
        rows = {"address": "127.0.0.1",
                "port": self.port, "path": str(path)} | rows  # fmt: skip
        with (self.root / "ops.toml").open("a") as file:
            file.write(f"[hosts.{name}]\n" + "".join(f"{key} = {value!r}\n" for key, value in rows.items()))
        return path

    def release(self, path: Path, script: str = "") -> Path:
        """A hand-made release in force: `inv` is this repository's, or a shell script."""
        release = path / "releases/one"
        release.mkdir(parents=True)
        (path / "current").symlink_to("releases/one")
        for name in ("tasks.py", "ops", ".env.example"):
            (release / name).symlink_to(REPOSITORY / name)
        (release / "logs").mkdir()
        inv = release / "inv"
        inv.write_text("#!/bin/sh\n" + (script or f'exec {sys.executable} -m invoke "$@"\n'))
        inv.chmod(0o755)
        return release

    def inv(self, *arguments: str, timeout: float = 40) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.root, env=self.environ, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *arguments], cwd=self.root, env=self.environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture
def hosts(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Hosts]:
    """A running sshd that lets the test's own key in, and a project that knows its host key."""
    if SSHD is None or shutil.which("setsid") is None:
        pytest.skip("sshd is not installed here (apt-get install openssh-server)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where a root sshd keeps its children
    folder, (port,) = tmp_path / "sshd", free_ports(1)
    root, home = tmp_path / "project", tmp_path / "home"
    for path in (folder, root / "logs", home / ".ssh"):
        path.mkdir(parents=True)
    for name in ("host_key", "id"):
        make_key(folder / name)
    for name in ("tasks.py", "ops", ".env.example"):
        (root / name).symlink_to(REPOSITORY / name)
    shutil.copy(folder / "id", home / ".ssh/id_ed25519")
    one = Hosts(root, home, port, folder)
    know(one, folder / "host_key.pub")
    (folder / "config").write_text(
        CONFIG.format(port=port, folder=folder, python=Path(sys.executable).resolve().parent)
    )
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=log, env=one.environ) as sshd,
    ):
        _wait_for(port, sshd)
        yield one
        family = psutil.Process(sshd.pid).children(recursive=True)
        for process in (*family, sshd):
            with suppress(psutil.NoSuchProcess):  # a session's that has just ended by itself
                process.terminate()
        psutil.wait_procs(family, timeout=5)


def as_sshd(line: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a remote command line with a standard input that stays open, as it does while the desk lives."""
    read, write = os.pipe()
    try:
        return subprocess.run(["sh", "-c", line], cwd=cwd, stdin=read, capture_output=True, check=False)
    finally:
        os.close(read)
        os.close(write)


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)


def know(hosts: Hosts, public_key: Path, *, port: int | None = None) -> None:
    """Write this key into known_hosts, as the one of 127.0.0.1 on the sshd's port."""
    kind, key, *_ = public_key.read_text().split()
    hosts.known_hosts.write_text(f"[127.0.0.1]:{port or hosts.port} {kind} {key}\n")


def _wait_for(port: int, sshd: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert sshd.poll() is None, "sshd has ended"
            assert time.monotonic() < until, "sshd does not listen"
            time.sleep(0.02)
