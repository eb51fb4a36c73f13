"""deploy to three hosts: one first, nothing secret in an argument, and a link cut in the middle."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.bench.rig.outside import RigHost
from tests.remote.rig.conftest import NAMES, Fleet
from tests.remote.test_deploy import INV, commit, in_force, under_git

pytestmark = pytest.mark.hosts
BROKEN = "#!/bin/sh\necho cannot >&2; exit 1\n"
WATCH = """
import glob, sys
seen = set()
print("watching", flush=True)
while not glob.glob("/srv/unwatch"):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            seen.add(open(path, "rb").read())
        except OSError:
            pass
sys.stdout.buffer.write(b"\\n".join(seen))
"""


@contextmanager
def watched(host: RigHost, seen: list[str]) -> Iterator[None]:
    """Every command line that a host has meanwhile, as long as it lives for some milliseconds."""
    (host.root / "srv/unwatch").unlink(missing_ok=True)
    with subprocess.Popen(
        ["nsenter", f"--target={host.leader}", "--all", "--", "python3", "-c", WATCH],
        stdout=subprocess.PIPE, text=True,
    ) as watcher:  # fmt: skip
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "watching\n"
        try:
            yield
        finally:
            (host.root / "srv/unwatch").touch()
            seen.append(watcher.stdout.read())


def test_one_host_first_and_no_further_than_a_failure(fleet: Fleet) -> None:
    """The first host has the release before the others begin; one that cannot run it keeps all the others."""
    under_git(fleet.desk)
    fleet.json("deploy")
    switched = [(fleet.base(host) / "current").lstat().st_mtime_ns for host in fleet.hosts]
    begun = [
        min(path.lstat().st_mtime_ns for path in fleet.base(host).glob("store/*")) for host in fleet.hosts
    ]
    assert switched[0] < min(begun[1:])
    assert [in_force(fleet.base(host)) for host in fleet.hosts] == ["one"] * 3
    commit(fleet.desk, inv=BROKEN, agent_txt="broken")
    found = fleet.json("deploy", code=3)
    assert (found["data"]["failed"], found["data"]["untouched"]) == (["host1"], ["host2", "host3"])
    assert [in_force(fleet.base(host)) for host in fleet.hosts] == ["one"] * 3
    assert [len(list((fleet.base(host) / "releases").iterdir())) for host in fleet.hosts[1:]] == [1, 1]
    commit(fleet.desk, inv=INV, agent_txt="mended")
    fleet.json("deploy")
    assert [in_force(fleet.base(host)) for host in fleet.hosts] == ["mended"] * 3


def test_secrets_are_in_no_argument(fleet: Fleet) -> None:
    """While a release with an environment file is shipped and run, no process of the host has it in its words."""
    project = under_git(fleet.desk)
    secret = f"sk-{secrets.token_hex(20)}"
    (project.root / "host.env").write_text(f"OPENAI_API_KEY={secret}\n")
    (project.root / "host.env").chmod(0o600)
    host = fleet.hosts[0]
    project.add(
        "watched", address=host.address, user="root", path=f"{fleet.path}-watched", env_file="host.env"
    )
    seen: list[str] = []
    with watched(host, seen):
        fleet.json("deploy", hosts="watched")
        fleet.json("status", hosts="watched")
        assert host.run("sh", "-c", "sleep 0.2 # control").returncode == 0
    assert "# control" in seen[0]
    assert "receiver" in seen[0]
    assert secret not in seen[0]
    kept = host.run("sh", "-c", f"grep -rl {secret} / --include=*.env --include=.env 2>/dev/null; true")
    ours = [path for path in kept.stdout.split() if path.startswith("/srv")]
    assert len(ours) == 1
    assert host.run("stat", "-c", "%a %U", ours[0]).stdout == "600 root\n"


@pytest.mark.parametrize("word", ["sending", "installing"])
def test_a_link_cut_in_the_middle_of_a_deploy(
    fleet: Fleet, word: str, request: pytest.FixtureRequest
) -> None:
    """The host has the old release or the new one, whole, and the same command brings the new one everywhere."""
    if word == "sending" and not request.config.getoption("--long"):
        pytest.skip("each cut takes ten seconds: --long, and 30 of them in `inv bench deploy`")
    under_git(fleet.desk)
    fleet.json("deploy")
    commit(fleet.desk, inv=f"{INV}# slower\n".replace("exec", "sleep 0.5; exec"), agent_txt="two")
    host = fleet.hosts[1]
    with fleet.desk.popen("-H", NAMES, "deploy") as command:
        assert command.stderr is not None
        while not command.stderr.readline().startswith(f"host2 │ {word}"):
            assert command.poll() is None
        fleet.rig.cut(host)
        try:
            out, err = command.communicate(timeout=30)
        finally:
            fleet.rig.mend(host)
    assert command.returncode == 4, out + err
    assert "host2: lost, the connection broke" in out
    assert [in_force(fleet.base(one)) for one in (fleet.hosts[0], fleet.hosts[2])] == ["two"] * 2
    assert in_force(fleet.base(host)) in ("one", "two")
    fleet.json("deploy")
    assert [in_force(fleet.base(one)) for one in fleet.hosts] == ["two"] * 3
    assert not (fleet.base(host) / "lock.json").exists()
