"""deploy, rollback and releases against a real sshd: old or new, never a mix, and again until it holds."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ops.commands import deploy as command
from ops.commands.deploy import unfit
from ops.config import Settings
from ops.errors import OpsError
from ops.remote import build, deliver
from ops.remote.apply import Link, connect
from ops.remote.deliver import Delivery, Order
from ops.remote.hosts import Host
from ops.remote.outcome import HostResult
from ops.report import Printer
from tests.conftest import REPOSITORY
from tests.remote.conftest import Hosts

ORDER = Order("tester@here", "here", "a test", keep=5)
INV = f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m invoke "$@"\n'


@pytest.fixture
def project(hosts: Hosts) -> Hosts:
    """A project under git whose release runs with this repository's Python."""
    return under_git(hosts)


def under_git(hosts: Hosts) -> Hosts:
    (hosts.root / "tasks.py").unlink()
    shutil.copy(REPOSITORY / "tasks.py", hosts.root / "tasks.py")
    (hosts.root / "inv").write_text(INV)
    (hosts.root / "inv").chmod(0o755)
    (hosts.root / "agent.txt").write_text("one")
    (hosts.root / ".gitignore").write_text("/ops\n/logs/\n/.env*\n/ops.toml\n/dist/\n*.env\n")
    git(hosts, "init", "--quiet")
    commit(hosts)
    return hosts


def git(hosts: Hosts, *arguments: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(
        ["git", *who, *arguments], cwd=hosts.root, env=hosts.environ, check=True, capture_output=True
    )


def commit(hosts: Hosts, **files: str) -> None:
    for name, text in files.items():
        (hosts.root / name.replace("_", ".")).write_text(text)
    git(hosts, "add", "-A")
    git(hosts, "commit", "--quiet", "-m", "change")


def report(hosts: Hosts, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = hosts.inv(*arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == code
    return found


def in_force(path: Path) -> str:
    """What the release in force says; it is complete."""
    assert (path / "current/COMPLETE").exists()
    return (path / "current/agent.txt").read_text()


def test_a_release_arrives_and_its_tasks_run(project: Hosts) -> None:
    """Shipped to both hosts, verified, in force, with its own environment file; a second time nothing is sent."""
    (project.root / "host.env").write_text("LOG_LEVEL=WARNING\n")
    paths = {name: project.add(name, env_file="host.env") for name in ("one", "two")}
    found = report(project, "-H", "one,two", "deploy")
    assert found["data"]["succeeded"] == ["one", "two"]
    warned = {one["id"] for one in found["findings"] if one["status"] == "warn"}
    assert warned == {"deploy.units", "deploy.env-file"}
    for path in paths.values():
        assert in_force(path) == "one"
        env = path / "current/.env"
        assert (env.read_text(), stat.S_IMODE(env.stat().st_mode)) == ("LOG_LEVEL=WARNING\n", 0o600)
        assert stat.S_IMODE((path / "shared/env").stat().st_mode) == 0o700
        assert json.loads((path / "audit.jsonl").read_text())["to"] == found["data"]["hosts"]["one"]["to"]
        assert not (path / "lock.json").exists()
        assert not list(path.glob("incoming*"))
    again = report(project, "-H", "one,two", "deploy")["data"]["hosts"]["two"]
    assert (again["new"], again["sent_bytes"], again["from"]) == (False, 0, again["to"])
    status = report(project, "-H", "one", "status")["data"]["hosts"]["one"]
    assert (status["state"], status["report"]["task"]) == ("ok", "status")


def test_forth_and_back(project: Hosts) -> None:
    """A change sends only what changed; rollback returns in one command; what was left is bad, and stays so."""
    path = project.add("one")
    first = report(project, "-H", "one", "deploy")["data"]["hosts"]["one"]["to"]
    commit(project, agent_txt="two")
    second = report(project, "-H", "one", "deploy")["data"]["hosts"]["one"]
    assert (second["from"], in_force(path)) == (first, "two")
    assert second["sent_bytes"] < 1000
    back = report(project, "-H", "one", "rollback")["data"]["hosts"]["one"]
    assert (back["from"], back["to"], in_force(path)) == (second["to"], first, "one")
    listed = report(project, "-H", "one", "releases")["data"]["hosts"]["one"]["releases"]
    assert {row["id"]: row["state"] for row in listed} == {first: "current", second["to"]: "bad"}
    refused = report(project, "-H", "one", "deploy", code=3)
    assert "marked bad" in refused["findings"][0]["summary"]
    assert in_force(path) == "one"
    renamed = report(project, "-H", "one", "deploy", "--again")["data"]["hosts"]["one"]
    assert (renamed["to"] != second["to"], in_force(path)) == (True, "two")
    assert report(project, "-H", "one", "rollback", "--to", second["to"], code=3)
    actions = [json.loads(line)["action"] for line in (path / "audit.jsonl").read_text().splitlines()]
    assert actions == ["deploy", "deploy", "rollback", "deploy"]


def test_a_dry_run_changes_nothing(project: Hosts) -> None:
    """It says what would be sent and switched, and what is left out; not even a folder is made."""
    path = project.add("one")
    (project.root / "agent.txt").write_text("uncommitted")
    found = report(project, "-H", "one", "deploy", "--dry-run")
    summaries = {one["id"]: one["summary"] for one in found["findings"]}
    assert "would send" in summaries["plan.one"]
    assert "1 uncommitted changes" in summaries["deploy.uncommitted"]
    assert not path.exists()
    report(project, "-H", "one", "deploy", "--dirty")
    assert in_force(path) == "uncommitted"


def test_a_release_that_cannot_run_stops_at_the_first_host(project: Hosts) -> None:
    """The first host keeps what it had, the others are untouched, and the mended one goes through."""
    paths = [project.add(name) for name in ("one", "two", "three")]
    report(project, "-H", "one,two,three", "deploy")
    commit(project, inv="#!/bin/sh\necho cannot >&2; exit 1\n", agent_txt="broken")
    found = report(project, "-H", "one,two,three", "deploy", code=3)
    assert (found["data"]["failed"], found["data"]["untouched"]) == (["one"], ["two", "three"])
    assert found["data"]["retry"] == "inv -H one,two,three deploy"
    assert "cannot list its tasks: cannot" in found["findings"][0]["summary"]
    assert report(project, "-H", "one", "deploy", code=3)  # what could not run does not count the next time
    assert [in_force(path) for path in paths] == ["one"] * 3
    commit(project, inv=INV, agent_txt="mended")
    report(project, "-H", "one,two,three", "deploy", "--wave", "1")
    assert [in_force(path) for path in paths] == ["mended"] * 3


def test_a_host_that_cannot_be_asked_keeps_all_untouched(project: Hosts) -> None:
    """Before anything is sent every host has answered, and the proxies before them: else none is touched, and
    all are to be named again."""
    path = project.add("one")
    project.add("gone", port=1)
    found = report(project, "-H", "one,gone", "deploy", code=4)
    assert found["data"]["untouched"] == ["one", "gone"]
    assert found["data"]["retry"] == "inv -H one,gone deploy"
    project.add("edge", port=1, role="proxy")
    with (project.root / "ops.toml").open("a") as file:
        file.write("[proxy]\nport = 8000\n")
    for task in ("deploy", "rollback"):
        found = report(project, "-H", "one", task, code=4)
        assert (found["data"]["untouched"], found["data"]["retry"]) == (["one"], f"inv -H one {task}")
        assert [one["id"] for one in found["findings"]] == ["hosts.one", "hosts.edge"]
    assert not path.exists()


def test_a_host_that_is_not_fit_says_what_to_do() -> None:
    """An old Python; and units for a login that is not root: sudo is not used, so both ways out are named."""
    host = Host("web1", "127.0.0.1")
    facts = {"python": "3.11.2", "systemd": True, "root": False, "login": "ann"}
    told = unfit(host, facts, slots=True)
    assert told is not None
    assert "log in as ann" in told.message
    assert 'user = "root" in [hosts.web1]' in told.fix
    assert "take [proxy] out" in told.fix
    assert unfit(Host("edge", "127.0.0.1", role="proxy"), facts, slots=False) is not None
    for fits in (facts | {"root": True}, facts | {"systemd": False}):
        assert unfit(host, fits, slots=True) is None
    assert unfit(host, facts, slots=False) is None
    old = unfit(host, facts | {"python": "3.10.12"}, slots=False)
    assert old is not None
    assert "3.10.12" in old.message


def test_two_at_once(project: Hosts) -> None:
    """Somebody else's lock is respected, with holder and reason, and can be taken over; of one folder only one deploys."""
    path = project.add("one")
    path.mkdir(parents=True)
    held = {
        "token": "t",
        "holder": "ann@desk",
        "place": "elsewhere",
        "reason": "new voice",
        "since": "2026-11-23",
    }
    (path / "lock.json").write_text(json.dumps(held))
    told = report(project, "-H", "one", "deploy", code=3)["findings"][0]
    assert "ann@desk deploys here since 2026-11-23 (new voice)" in told["summary"]
    assert "--take-lock" in told["fix"]
    assert not (path / "current").exists()
    report(project, "-H", "one", "deploy", "--take-lock")
    assert in_force(path) == "one"
    (project.root / "logs/run").mkdir(exist_ok=True)
    with FileLock(project.root / "logs/run/deploy.lock"):
        told = report(project, "-H", "one", "deploy", code=3)["findings"][-1]
    assert "Another deploy of this project" in told["summary"]


def test_without_hosts_it_is_a_bad_setting(project: Hosts) -> None:
    """deploy alone does not guess where to."""
    for task in ("deploy", "rollback", "releases"):
        assert f"inv -H web1,web2 {task}" in report(project, task, code=2)["findings"][-1]["fix"]


def test_ctrl_c_finishes_the_step_at_hand_and_goes_no_further(project: Hosts) -> None:
    """The host at work ends with the new release, whole; the next one is untouched; 130, and no lock stays."""
    paths = [project.add(name) for name in ("one", "two")]
    commit(project, inv=f"#!/bin/sh\ntouch {project.root}/logs/up; sleep 1\n")
    with project.popen("-H", "one,two", "deploy", "--json") as running:
        while not (project.root / "logs/up").exists():
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
    found = json.loads(out)
    assert (running.returncode, found["exit_code"]) == (130, 130)
    assert (found["data"]["succeeded"], found["data"]["untouched"]) == (["one"], ["two"])
    assert in_force(paths[0]) == "one"
    assert not (paths[0] / "lock.json").exists()
    assert not paths[1].exists()


def test_ctrl_c_while_hosts_are_asked_is_no_success(project: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had answered by then is untouched, and to be named again."""

    def answered(works: Sequence[Delivery], _: object) -> None:
        works[0].result = HostResult("one", "ok")
        raise KeyboardInterrupt

    for name in ("one", "two"):
        project.add(name)
    monkeypatch.setattr(command, "together", answered)
    settings = Settings.load(project.root, {})
    found = command.deploy(settings, Printer(json=True, no_color=True), "one,two", command.DeployOptions())
    assert (found.interrupted, found.data["untouched"]) == (True, ["one", "two"])
    assert found.data["retry"] == "inv -H one,two deploy"


class Cut(Link):
    """A link that breaks before its n-th piece of work."""

    left = 10**9

    def run(self, command: str, **more: Any) -> int:  # type: ignore[override]
        self._break()
        return super().run(command, **more)

    def put(self, *arguments: Any) -> None:
        self._break()
        super().put(*arguments)

    def _break(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.close()


def test_cut_anywhere_it_is_old_or_new_and_converges(project: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link breaks at each step in turn: the release in force is whole, and the same command mends all."""
    monkeypatch.setenv("HOME", str(project.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    path = project.add("one")
    host = Host("one", "127.0.0.1", port=project.port, path=str(path))

    def ship(text: str, after: int) -> bool:
        commit(project, agent_txt=text)
        load = deliver.cargo(build.project(project.root, dirty=False), (), f"LOG_LEVEL=INFO\n# {text}\n")
        link = connect(host)
        link.__class__ = Cut
        link.left = after  # type: ignore[attr-defined]
        try:
            deliver.ship(link, threading.Event(), load, ORDER, lambda *_: None)
        except OpsError:
            return False
        finally:
            link.close()
        return True

    assert ship("0", 10**9)
    steps = 0
    whole = False
    while not whole:
        before, new = in_force(path), f"{steps + 1}"
        whole = ship(new, steps)
        now = in_force(path)
        assert now in (before, new)
        assert (path / "current/.env").read_text().endswith(f"# {now}\n")
        steps += 1
    assert steps > 4
    assert in_force(path) == f"{steps}"
    assert not list(path.glob("releases/.new*"))


@pytest.mark.timeout(90)
def test_a_host_without_an_index_gets_its_wheels(project: Hosts) -> None:
    """The wheels of the lock file travel along, the environment is made from them alone, and is used again."""
    wheel = project.root / "dist/tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    rows = {
        "tiny.py": "WORD = 'tiny'\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**rows, "tiny-1.0.dist-info/RECORD": "".join(f"{n},,\n" for n in rows)}.items():
            archive.writestr(name, text)
    lock = f"tiny==1.0 --hash=sha256:{build.digest(wheel.read_bytes())}\n"
    commit(
        project,
        requirements_lock=lock,
        inv="#!/bin/sh\nexec .venv/bin/python -c 'import tiny; print(tiny.WORD)'\n",
    )
    path = project.add("one")
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "-H", "one", "deploy"], cwd=project.root, capture_output=True, text=True,
        env=project.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (path / "current/.venv/lib").exists()
    cksum = subprocess.run(["cksum"], input=lock, capture_output=True, text=True, check=True).stdout
    assert (path / "current/.venv/.lock").read_text() == cksum
    assert "one │ tiny" in project.inv("-H", "one", "status").stdout
    commit(project, agent_txt="two")
    assert report(project, "-H", "one", "deploy")["data"]["hosts"]["one"]["sent_bytes"] < 1000
    assert len(list((path / "venvs").iterdir())) == 1
