"""`inv -H` on three hosts with networks of their own: what a folder behind one sshd cannot show."""

from __future__ import annotations

import re
import signal
import time

import psutil
import pytest

from ops.bench.rig.outside import RigHost
from tests.remote.rig.conftest import NAMES, Fleet
from tests.remote.rig.test_rig import soon

pytestmark = pytest.mark.hosts


def running(host: RigHost, *names: str) -> list[str]:
    """The command lines of those of these programs that run on a host."""
    found = []
    for one in host.processes():
        try:
            if one.name() in names:
                found.append(" ".join(one.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def fingerprint(host: RigHost) -> str:
    """What `ssh-keygen -lf` says on the host's own console."""
    return host.run("ssh-keygen", "-lf", "/etc/ssh/rig_host_key.pub").stdout.split()[1]


def test_tasks_run_on_all_hosts(fleet: Fleet) -> None:
    """A chain goes through on all three, each line names its host; --json is one document of three reports."""
    fleet.everywhere()
    done = fleet.desk.inv("-H", NAMES, "status", "logs", "--lines=1", "cleanup", "--now")
    assert done.returncode == 0, done.stdout + done.stderr
    for task in ("status", "cleanup"):
        named = re.findall(f"^(host[123]) │ {task}: twilio SIMULATED", done.stdout, re.MULTILINE)
        assert sorted(named) == ["host1", "host2", "host3"], done.stdout
        assert f"{task} on 3 hosts – succeeded: host1, host2, host3" in done.stdout
    found = fleet.json("status")
    assert found["data"]["succeeded"] == ["host1", "host2", "host3"]
    reports = [row["report"] for row in found["data"]["hosts"].values()]
    assert [(one["task"], one["exit_code"]) for one in reports] == [("status", 0)] * 3


def test_a_host_that_was_set_up_anew_and_one_nobody_knows(fleet: Fleet) -> None:
    """Both are refused with their fingerprints and the way to accept them, and not a task runs; the third works."""
    fleet.everywhere("touch /srv/ran")
    known, anew, unknown = fleet.hosts
    lines = fleet.desk.known_hosts.read_text().splitlines(keepends=True)
    fleet.desk.known_hosts.write_text("".join(lines[:2]))
    key = anew.root / "etc/ssh/rig_host_key"
    kept = {path: path.read_bytes() for path in (key, key.with_suffix(".pub"))}
    for path in kept:
        path.unlink()
    try:
        anew.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/rig_host_key")
        anew.run("systemctl", "restart", "ssh")
        found = fleet.json("status", code=3)
        told = {one["id"]: one for one in found["findings"]}
        for host in (anew, unknown):
            assert found["data"]["hosts"][host.name]["state"] == "refused"
            assert fingerprint(host) in told[f"hosts.{host.name}"]["summary"]
            assert not (host.root / "srv/ran").exists()
        assert "ssh-keygen -R" in told["hosts.host2"]["fix"]
        assert f"ssh {unknown.address}" in told["hosts.host3"]["fix"]
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
        anew.run("systemctl", "restart", "ssh")
    assert (known.root / "srv/ran").exists()


def test_a_cut_link_and_a_dead_host(fleet: Fleet) -> None:
    """A host whose link goes down in the middle of a task is lost within seconds, one that does not answer is
    unreachable; the others have finished. When the link is up the same command goes through."""
    wait = "[ $(hostname) != host2 ] || until [ -e /srv/mended ]; do sleep 0.1; done"
    fleet.everywhere(f"echo begun; {wait}")
    _, cut, _ = fleet.hosts
    fleet.desk.add("dead", address=f"{fleet.rig.gateway}99", user="root")  # nobody's
    with fleet.desk.popen("-H", f"{NAMES},dead", "status") as command:
        assert command.stdout is not None
        begun = {command.stdout.readline().split(" │ ")[0].strip() for _ in fleet.hosts}
        assert begun == {"host1", "host2", "host3"}
        fleet.rig.cut(cut)
        began = time.monotonic()
        try:
            out, err = command.communicate(timeout=25)
        finally:
            fleet.rig.mend(cut)
            (cut.root / "srv/mended").touch()
    assert time.monotonic() - began < 12
    assert command.returncode == 4, out + err
    assert "host2: lost, the connection broke" in out
    assert "dead: unreachable" in out
    assert "status on 4 hosts – succeeded: host1, host3; failed: host2; untouched: dead" in out
    assert "again: inv -H host2,dead status" in out
    again = fleet.desk.inv("-H", NAMES, "status")
    assert again.returncode == 0, again.stdout + again.stderr


def test_ctrl_c_leaves_nothing_on_any_host(fleet: Fleet) -> None:
    """All three work at once; one press ends the task and its children on each, and the command with 130."""
    fleet.everywhere("trap 'exit 130' INT; sleep 600 & echo up; wait")
    with fleet.desk.popen("-H", NAMES, "status") as command:
        assert command.stdout is not None
        assert sorted(command.stdout.readline() for _ in range(3)) == [f"host{n} │ up\n" for n in (1, 2, 3)]
        assert soon(
            lambda: all(running(host, "sleep") for host in fleet.hosts)
        )  # `up` is said a moment before
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=15)
    assert command.returncode == 130, out + err
    assert [running(host, "sleep", "inv") for host in fleet.hosts] == [[], [], []]


def test_a_stack_lives_on_each_host(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    """start, call, status and cleanup on all three, on the ports of each."""
    if not request.config.getoption("--long"):
        pytest.skip("three stacks and their calls take half a minute: --long")
    fleet.everywhere()
    done = fleet.desk.inv("-H", NAMES, "start", "call", timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr
    for host in fleet.hosts:
        assert re.search(f"^{host.name} │ start: ok", done.stdout, re.MULTILINE), done.stdout
    assert "call on 3 hosts – succeeded: host1, host2, host3" in done.stdout
    rows = fleet.json("status")["data"]["hosts"]
    for host in fleet.hosts:
        services = rows[host.name]["report"]["data"]["services"]
        assert {row["state"] for row in services} == {"ready"}
        assert 3000 in {row["port"] for row in services}
    ended = fleet.json("cleanup", "--now")["data"]["hosts"]
    assert [row["report"]["data"]["left"] for row in ended.values()] == [[], [], []]
    assert [running(host, "python", "python3") for host in fleet.hosts] == [[], [], []]
