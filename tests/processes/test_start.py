"""Starting: ready and ours, once, and never over somebody else's port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.processes import identity
from ops.processes.outcome import ServiceSeen, TakesOver
from ops.services import Ready
from tests.processes.conftest import SERVE, Rig, until


def test_start_returns_when_all_answer(rig: Rig) -> None:
    """After `start` every service answers, and the data has what the specification names."""
    one, two = rig.service("one"), rig.service("two")
    outcome = rig.start(one, two)
    assert [finding.status for finding in outcome.findings] == ["ok"]
    for row, service in zip(outcome.data["services"], (one, two), strict=True):
        assert row["state"] == "ready"
        assert row["port"] == service.port
        assert row["restarts"] == 0
        with socket.create_connection(("127.0.0.1", service.port or 0), timeout=1):
            pass
    assert identity.identify(outcome.data["supervisor"]["pid"])


def test_second_start_keeps_the_processes(rig: Rig) -> None:
    """`start` on a healthy stack changes nothing: same pids, same supervisor."""
    services = rig.service("one"), rig.service("two")
    first = rig.start(*services).data
    second = rig.start(*services).data
    assert [row["pid"] for row in first["services"]] == [row["pid"] for row in second["services"]]
    assert first["supervisor"] == second["supervisor"]


def test_two_starts_at_once_give_one_set(rig: Rig) -> None:
    """Two commands at the same instant: one process for each service, one supervisor, both succeed."""
    services = rig.service("one"), rig.service("two", "setsid")
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: rig.start(*services), range(2)))
    assert not any(outcome.failed for outcome in outcomes)
    pids = [[row["pid"] for row in outcome.data["services"]] for outcome in outcomes]
    assert pids[0] == pids[1]
    assert sorted(member.service for member in rig.members()) == ["one", "two", "two"]


def test_services_wait_for_what_they_come_after(rig: Rig) -> None:
    """A service starts only once those in its `after` are ready."""
    slow = rig.service("slow", "sleep=0.3")
    quick = rig.service("quick", after=("slow",))
    seen: list[ServiceSeen] = []
    outcome = rig.start(quick, slow, progress=lambda event: seen.append(event))  # type: ignore[arg-type]
    assert not outcome.failed
    slow_at, quick_at = (rig.row(name)["life"]["launched"] for name in ("slow", "quick"))
    assert quick_at - slow_at >= 0.3
    assert any(event.name == "quick" and "slow" in event.reason for event in seen)


def test_a_held_port_is_refused_and_its_holder_named(rig: Rig) -> None:
    """A stranger on a port: a failed finding with pid, command, age and folder; nothing is started."""
    port = rig.port()
    with stranger(port, rig.root) as process:
        outcome = rig.start(rig.service("one"), rig.service("two", port=port))
        finding = outcome.findings[0]
        assert finding.status == "fail"
        assert finding.evidence["pid"] == process.pid
        assert "serve.py" in finding.evidence["command"]
        assert finding.evidence["cwd"] == str(rig.root)
        assert finding.evidence["stack"] is None
        assert f"pid {process.pid}" in finding.summary
        assert rig.members() == []
        assert not rig.files.stack_path.exists()


def test_take_over_shows_the_holder_then_ends_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `take_over` the named holder is told of, ended, and the port is ours."""
    monkeypatch.setattr("ops.processes.take_over.GRACE", 0.3)
    port = rig.port()
    events: list[object] = []
    with stranger(port, rig.root, "deaf") as process:
        outcome = rig.start(rig.service("one", port=port), take_over=True, progress=events.append)
        assert not outcome.failed
        assert process.wait(5) == -signal.SIGKILL  # it is deaf to SIGTERM
    shown = [event for event in events if isinstance(event, TakesOver)]
    assert [event.holder.pid for event in shown] == [process.pid]


def test_take_over_never_ends_ourselves(rig: Rig) -> None:
    """A port held by the asking process, or one above it, stays held."""
    with socket.create_server(("127.0.0.1", 0)) as ours:
        outcome = rig.start(rig.service("one", port=ours.getsockname()[1]), take_over=True)
        assert outcome.failed


def test_an_impostor_is_never_ready(rig: Rig) -> None:
    """A stranger that answers 200 on the port of a service that lives does not make it ready."""
    rig.settings = replace(rig.settings, timeout_service_startup=1.0)
    port = rig.port()
    victim = rig.service("victim", port=0, ports=(port,), ready=Ready("http", "/"))
    found = []
    thread = threading.Thread(target=lambda: found.append(rig.start(victim)))
    thread.start()
    until(lambda: rig.files.stack_path.exists() and rig.row("victim")["pid"])
    with stranger(port, rig.root) as impostor:
        until(lambda: answers(port))
        thread.join(10)
        assert found[0].failed
        assert f"pid {impostor.pid}" in found[0].findings[0].summary
        assert rig.row("victim")["state"] != "ready"


def test_a_death_while_probing_fails_at_once(rig: Rig) -> None:
    """A service that dies before it is ready fails the start, with its last lines as evidence."""
    began = time.monotonic()
    outcome = rig.start(rig.service("good"), rig.service("bad", "crash"))
    assert time.monotonic() - began < 20
    finding = outcome.findings[0]
    assert finding.status == "fail"
    assert finding.id == "services.bad"
    assert "exited with code 3" in finding.summary
    assert finding.evidence["last_lines"] == ["Error: the shop has no door"]


def test_a_command_that_does_not_exist_is_said_plainly(rig: Rig) -> None:
    """A missing program or folder fails the start with its name."""
    outcome = rig.start(rig.service("gone", argv=("no-such-program-here",), port=0))
    assert "no-such-program-here: No such file" in outcome.findings[0].summary
    outcome = rig.start(rig.service("gone", cwd=rig.root / "nowhere", port=0))
    assert "nowhere" in outcome.findings[0].summary


def test_only_adds_to_what_runs(rig: Rig) -> None:
    """`only` starts the named services and leaves the others as they are."""
    services = rig.service("one"), rig.service("two"), rig.service("three")
    assert not rig.start(*services, only=("one",)).failed
    before = rig.pid("one")
    assert [row["name"] for row in rig.status().data["services"]] == ["one"]
    assert not rig.start(*services, only=("two",)).failed
    assert sorted(row["name"] for row in rig.status().data["services"]) == ["one", "two"]
    assert rig.pid("one") == before


def test_an_unknown_name_lists_the_known_ones(rig: Rig) -> None:
    """`only` with a name that does not exist is a usage error that names those that do."""
    with pytest.raises(OpsError, match="nonesuch") as caught:
        rig.start(rig.service("one"), rig.service("two"), only=("nonesuch",))
    assert "one, two" in caught.value.fix
    assert caught.value.exit_code == 2


def test_changed_settings_replace_that_service_alone(rig: Rig) -> None:
    """A service whose environment changed is started anew; the others keep their processes."""
    one, two = rig.service("one", env={"COLOUR": "red"}), rig.service("two")
    rig.start(one, two)
    before = rig.pid("one"), rig.pid("two")
    events: list[object] = []
    rig.start(replace(one, env={"COLOUR": "blue"}), two, progress=events.append)
    assert rig.pid("one") != before[0]
    assert rig.pid("two") == before[1]
    assert any("env COLOUR" in str(event) for event in events)


def test_what_is_no_longer_ordered_is_ended(rig: Rig) -> None:
    """A full start ends services that are no longer part of the table."""
    one, two = rig.service("one"), rig.service("two")
    rig.start(one, two)
    rig.start(one)
    assert [member.service for member in rig.members()] == ["one"]
    assert [row["name"] for row in rig.status().data["services"]] == ["one"]


@pytest.mark.parametrize(
    ("ready", "faults"),
    [
        (Ready("tcp"), ()),
        (Ready("log", "open for b.siness"), ("sleep=0.1", "say=open for business")),
        (Ready("command", f"{sys.executable} -S -c 'import os; os.stat(\"flag\")'"), ()),
        (Ready("alive"), ()),
    ],
    ids=lambda value: value.probe if isinstance(value, Ready) else "",
)
def test_every_way_of_being_ready(rig: Rig, ready: Ready, faults: tuple[str, ...]) -> None:
    """A listening socket, a line of output, a command, or merely living make a service ready."""
    if ready.probe == "command":
        threading.Timer(0.3, (rig.root / "flag").touch).start()
    assert not rig.start(rig.service("one", *faults, ready=ready)).failed


def test_a_wrapped_service_is_ready_through_its_tree(rig: Rig) -> None:
    """Behind a shell that stays, the socket belongs to a child: that is still the service's own."""
    port = rig.port()
    argv = ("sh", "-c", f"{sys.executable} -S {SERVE} {port} & wait")
    assert not rig.start(rig.service("one", port=port, argv=argv)).failed


STARTER = """
import sys
from pathlib import Path
from ops.config import Settings
from ops.processes.start import start
from ops.services import Ready, Service
root, serve, *ports = sys.argv[1:]
settings = Settings.load(Path(root), {})
def one(name, port, *after):
    argv = (sys.executable, "-S", serve, port, "sleep=0.1", "double")
    return Service(name, argv, Path(root), (int(port),), Ready("http", "/"), after=after)
services = [one("a", ports[0]), one("b", ports[1], "a")]
print("go", flush=True)
start(settings, services)
"""


@pytest.mark.parametrize(
    ("number", "delay"),
    [
        *[(signal.SIGTERM, delay) for delay in (0.02, 0.08, 0.15, 0.25)],
        *[(signal.SIGKILL, delay) for delay in (0.05, 0.15)],
    ],
)
def test_a_signal_at_any_moment_of_start(rig: Rig, number: int, delay: float) -> None:
    """However far a start had come when SIGTERM ended it, nothing of it is left, though its services
    had begun; after SIGKILL a stop finds and ends it all."""
    ports = [rig.port(), rig.port()]
    argv = [sys.executable, "-c", STARTER, str(rig.root), str(SERVE), *map(str, ports)]
    process = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=-1, stderr=-1)
    assert process.stdout
    assert process.stdout.readline() == b"go\n"
    time.sleep(delay)
    begun = process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=20)
    if number == signal.SIGTERM and begun:
        assert rig.members() == []
    assert rig.stop(now=True).data["left"] == []
    assert rig.members() == []
    assert not any(answers(port) for port in ports)


class stranger:
    """A process of no stack that listens on a port."""

    def __init__(self, port: int, cwd: Path, *faults: str) -> None:
        self._argv = [sys.executable, "-S", "-E", str(SERVE), str(port), *faults]
        self._port, self._cwd = port, cwd

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(self._argv, cwd=self._cwd)
        until(lambda: answers(self._port))
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False
