"""The rig itself: its hosts are machines of their own, and nothing of it is left, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ops.bench.rig import outside
from ops.bench.rig.outside import Rig, obstacle, rig
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.hosts
UNIT = "[Service]\nExecStart=/bin/sleep 1000\n"
HELD = """
import sys
from ops.bench.rig.outside import rig
with rig(1) as one:
    print(one.keeper, one.token, flush=True)
    sys.stdin.read()
"""


def soon(true: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def traces(rig_token: str) -> list[str]:
    """What the rig of this name has on this machine beside its processes."""
    groups = [str(Path(root) / rig_token) for root in outside.inside.control_groups()]
    folders = [str(path) for path in Path(tempfile.gettempdir()).glob(f"{rig_token}-*")]
    links = f"/sys/class/net/{outside.link_name(rig_token)}"
    return [path for path in (*groups, *folders, links) if Path(path).exists()]


def test_each_host_is_a_machine_of_its_own(three: Rig) -> None:
    """systemd is PID 1 and content, in groups of its host; a unit of one name on two is two; files are apart."""
    first, second, _ = three.hosts
    for host in three.hosts:
        assert host.run("systemctl", "is-system-running", "--wait").stdout == "running\n"
        assert f"{three.token}/{host.name}" in Path(f"/proc/{host.leader}/cgroup").read_text()
        assert host.run("cat", "/proc/1/comm", "/etc/hostname").stdout == f"systemd\n{host.name}\n"
    assert len({(host.root / "etc/machine-id").read_text() for host in three.hosts}) == 3
    for host in (first, second):
        (host.root / "etc/systemd/system/same.service").write_text(UNIT)
        host.run("systemctl", "daemon-reload")
        assert host.run("systemctl", "start", "same").returncode == 0
    assert first.run("systemctl", "stop", "same").returncode == 0
    assert second.run("systemctl", "is-active", "same").stdout == "active\n"
    assert not (three.hosts[2].root / "etc/systemd/system/same.service").exists()
    assert not Path("/etc/systemd/system/same.service").exists()
    assert first.run("touch", str(REPOSITORY / "tasks.py")).returncode != 0


def test_two_rigs_are_apart_and_leave_nothing(three: Rig) -> None:
    """Another one beside it gets another network; when it ends, it takes all of its own and nothing else."""
    with rig(1) as other:
        assert other.gateway != three.gateway
        leader = other.hosts[0].leader
        assert psutil.pid_exists(leader)
        assert len(traces(other.token)) >= 3
    assert not psutil.pid_exists(leader)
    assert not psutil.pid_exists(other.keeper)
    assert three.hosts[0].run("true").returncode == 0
    assert traces(other.token) == []
    assert traces(three.token) != []


@pytest.mark.parametrize("victim", ["owner", "keeper"])
def test_a_killed_rig_leaves_nothing(victim: str) -> None:
    """kill -9 of whoever asked for it, or of its keeper: hosts, mounts, links and groups are gone."""
    if problem := obstacle():
        pytest.skip(problem)
    with subprocess.Popen(
        [sys.executable, "-c", HELD], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, token = owner.stdout.readline().split()
        keeper = psutil.Process(int(pid))
        family = keeper.children(recursive=True)
        assert len(family) > 3
        assert len(traces(token)) >= 2
        if victim == "owner":
            owner.kill()
        else:
            keeper.kill()
    assert psutil.wait_procs([keeper, *family], timeout=10)[1] == []
    assert soon(lambda: not traces(token)), traces(token)


def test_where_it_cannot_be_built_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, with what to install where that helps."""
    monkeypatch.setattr(outside, "PROGRAMS", ("no-such-program",))
    if os.geteuid() == 0:
        assert "needs no-such-program (apt-get install " in (obstacle() or "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in (obstacle() or "")
