"""Three hosts with real systemd and real sshd on a network of their own, and a project that knows them.

They are made by ops/bench/rig in less than a second, fresh for each file of tests, and see this checkout
and its Python, read-only. Where the machine does not allow that, the tests skip and say why; .ci/run sees
to it that they run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.bench.rig.outside import Rig, RigHost, obstacle, rig
from tests.conftest import REPOSITORY
from tests.remote.conftest import Hosts

NAMES = "host1,host2,host3"


@pytest.fixture(scope="module")
def three() -> Iterator[Rig]:
    """Three running hosts, shared by the tests of a file."""
    if problem := obstacle():
        pytest.skip(problem)
    with rig() as running:
        yield running


@dataclass(frozen=True)
class Fleet:
    """The hosts of a rig, and a desk to work on them from: a folder for `inv` that knows their keys."""

    desk: Hosts
    rig: Rig
    path: str  # of the releases on each host; no other test uses it

    @property
    def hosts(self) -> tuple[RigHost, ...]:
        return self.rig.hosts

    def base(self, host: RigHost) -> Path:
        """The folder of the releases on a host, as seen from here."""
        return host.root / self.path.lstrip("/")

    def everywhere(self, script: str = "") -> None:
        """A release made by hand on each host: this repository's tasks, or an `inv` that is a shell script."""
        for host in self.hosts:
            self.desk.release(self.base(host), script)

    def json(self, *arguments: str, hosts: str = NAMES, code: int = 0) -> dict[str, Any]:
        """The one document of `inv -H HOSTS ARGUMENTS --json`, and that it ended with this code."""
        done = self.desk.inv("-H", hosts, *arguments, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stdout.count("\n") == 1, done.stdout
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["exit_code"] == code
        return found


@pytest.fixture
def fleet(three: Rig, tmp_path: Path) -> Fleet:
    """A desk of the test's own before three hosts."""
    root, home = tmp_path / "project", tmp_path / "home"
    for path in (root / "logs", home / ".ssh"):
        path.mkdir(parents=True)
    for name in ("tasks.py", "ops", ".env.example"):
        (root / name).symlink_to(REPOSITORY / name)
    shutil.copy(three.key, home / ".ssh/id_ed25519")
    desk = Hosts(root, home, 22, tmp_path)
    desk.known_hosts.write_text(three.known_hosts())
    path = f"/srv/{tmp_path.name}"
    for host in three.hosts:
        desk.add(host.name, address=host.address, user="root", path=path)
    return Fleet(desk, three, path)
