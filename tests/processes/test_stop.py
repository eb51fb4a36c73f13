"""Stopping: everything is gone, in order, with a receipt; live calls are drained first."""

from __future__ import annotations

import _thread
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ops.processes import identity
from ops.processes.identity import Identity
from ops.processes.outcome import Drains
from ops.processes.plan import stop_waves
from ops.processes.sole import be_the_supervisor
from tests.processes.conftest import SERVE, Rig, kill, until


def test_a_stop_ends_all_and_gives_a_receipt(rig: Rig) -> None:
    """Each process is on the receipt with pid, signal and time; ports are free; state files are gone."""
    one = rig.service("one")
    rig.start(one)
    pid = rig.pid("one")
    data = rig.stop().data
    row = next(row for row in data["receipt"] if row["name"] == "one")
    assert row["pid"] == pid
    assert row["signal"] == "SIGTERM"
    assert row["gone"] is True
    assert row["ms"] >= 0
    assert data["left"] == []
    assert data["ports_freed"] == [one.port]
    assert not rig.files.stack_path.exists()
    assert not rig.files.wanted_path.exists()


@pytest.mark.parametrize("supervised", [True, False], ids=["supervised", "orphaned"])
def test_no_helper_escapes(rig: Rig, supervised: bool) -> None:
    """A helper in its own session, double-forked, or double-forked without an environment is ended
    too; the last kind only while a supervisor lives, as documented."""
    kinds = ("setsid", "double", "naked")
    rig.start(*(rig.service(kind, kind, port=0) for kind in kinds))
    first = {rig.who(kind) for kind in kinds}
    helpers: dict[Identity, str] = {}

    def all_there() -> bool:  # a service is ready before it has forked its helper
        helpers.clear()
        helpers.update(
            {member.identity: member.service for member in rig.members() if member.identity not in first}
        )
        return sorted(helpers.values()) == ["", "double", "setsid"]

    until(all_there)
    if not supervised:
        rig.kill_supervisor()
    rig.stop()
    escaped = [who for who in helpers if identity.lives(who)]
    for who in escaped:
        kill(who)
    assert [helpers[who] for who in escaped] == ([] if supervised else [""])


def test_a_deaf_child_is_killed_after_its_grace(rig: Rig) -> None:
    """SIGKILL always comes last, after `grace` seconds."""
    rig.start(rig.service("one", "deaf", grace=0.3))
    row = next(row for row in rig.stop().data["receipt"] if row["name"] == "one")
    assert row["signal"] == "SIGKILL"
    assert 250 <= row["ms"] < 20_000


def test_a_shell_wrapper_takes_its_child_along(rig: Rig) -> None:
    """The program behind a shell that passes no signal on is ended, and at once."""
    port = rig.port()
    rig.start(rig.service("one", port=port, argv=("sh", "-c", f"{sys.executable} -S {SERVE} {port}; true")))
    began = time.monotonic()
    assert len([row for row in rig.stop().data["receipt"] if row["name"] == "one"]) == 2
    assert time.monotonic() - began < 3.0


def test_a_suspended_service_is_ended(rig: Rig) -> None:
    """SIGSTOP does not keep a service from hearing its stop signal."""
    rig.start(rig.service("one"))
    kill(rig.who("one"), signal.SIGSTOP)
    row = next(row for row in rig.stop().data["receipt"] if row["name"] == "one")
    assert row["signal"] == "SIGTERM"


def test_a_suspended_supervisor_does_not_hinder_a_stop(rig: Rig) -> None:
    """A supervisor that does not listen is ended as well, and starts nothing meanwhile."""
    rig.start(rig.service("one", "double"))
    who = rig.kill_supervisor(signal.SIGSTOP)
    assert rig.stop().data["left"] == []
    assert not identity.lives(who)


def test_a_stop_is_never_undone(rig: Rig) -> None:
    """Nothing starts a service again that a person has stopped, whatever its restart policy."""
    rig.start(rig.service("one", restart="always"))
    rig.stop()
    time.sleep(0.3)
    assert rig.members() == []


def test_stop_of_nothing_is_fine(rig: Rig) -> None:
    """Where nothing runs, a stop says so and fails nothing."""
    outcome = rig.stop(reset=True)
    assert [finding.status for finding in outcome.findings] == ["skip"]
    assert outcome.data["receipt"] == []


def test_live_calls_are_drained_within_the_limit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with live calls gets SIGTERM, is waited for beyond its grace, and what it holds is told."""
    monkeypatch.setattr("ops.processes.apply.AFTER_DRAIN", 0.0)
    calls = rig.root / "calls"
    calls.touch()
    rig.start(rig.service("one", "calls=2", drains=True, grace=0.0))
    events: list[Drains] = []

    def tell(event: object) -> None:
        if isinstance(event, Drains):
            events.append(event)
            calls.unlink(missing_ok=True)

    row = next(
        row for row in rig.stop(drain_seconds=20.0, progress=tell).data["receipt"] if row["name"] == "one"
    )
    assert row["signal"] == "SIGTERM"
    assert (events[0].live_calls, events[0].oldest_seconds) == (2, 41.0)
    assert 0 < events[0].left <= 20.0


def test_draining_has_a_limit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that do not end are cut off after `drain_seconds`; with `now` nobody waits for them."""
    monkeypatch.setattr("ops.processes.apply.AFTER_DRAIN", 0.2)
    (rig.root / "calls").touch()
    for options in ({"drain_seconds": 0.3}, {"now": True}):
        rig.start(rig.service("one", "calls=1", drains=True))
        began = time.monotonic()
        rig.stop(**options)
        assert time.monotonic() - began < 3.0


def test_what_may_carry_calls_outlives_them(rig: Rig) -> None:
    """Dependents end before what they need; a service that drains ends before all that may carry its calls."""
    bridge = rig.service("bridge", after=("tunnel",), drains=True)
    tunnel, page, vendor = (
        rig.service("tunnel"),
        rig.service("page", after=("bridge",)),
        rig.service("vendor"),
    )
    assert stop_waves((vendor, tunnel, page, bridge)) == [("page",), ("bridge",), ("tunnel", "vendor")]


def test_ctrl_c_during_a_stop_forces(rig: Rig) -> None:
    """An interrupt while a stop waits kills what is left at once; the stop still finishes its count."""
    rig.start(rig.service("one", "deaf", grace=60.0))
    threading.Timer(0.5, _thread.interrupt_main).start()
    began = time.monotonic()
    assert rig.stop().data["left"] == []
    assert time.monotonic() - began < 10.0


def test_a_start_waits_for_a_slow_stop(rig: Rig) -> None:
    """`start` during a slow stop begins when the stop is through, with new processes."""
    service = rig.service("one", "deaf", grace=0.8)
    rig.start(service)
    before = rig.pid("one")
    thread = threading.Thread(target=rig.stop)
    thread.start()
    until(lambda: (wanted := rig.files.wanted()) and wanted.orders[0].held)
    outcome = rig.start(service)
    thread.join()
    assert not outcome.failed
    assert rig.pid("one") != before
    assert identity.lives(rig.who("one"))
    assert len(rig.members()) == 1


def test_reset_clears_run_state_but_not_locks(rig: Rig) -> None:
    """`reset` removes what earlier runs left in logs/run; locks and simulator credentials stay."""
    rig.start(rig.service("one"))
    (rig.files.folder / "old").write_text("x")
    rig.stop()
    assert (rig.files.folder / "old").exists()
    rig.stop(reset=True)
    assert not (rig.files.folder / "old").exists()
    assert (rig.files.folder / "stand-in.key").exists()


LATE = """
import sys, time
from pathlib import Path
from ops.processes.sole import be_the_supervisor
from ops.processes.run_files import RunFiles
from ops.processes.supervisor import Supervisor
files = RunFiles(Path(sys.argv[1]))
assert be_the_supervisor(files.folder)
wanted = files.wanted()
print("up", flush=True)
time.sleep(0.3)
Supervisor(files, wanted).run()
"""


def test_a_supervisor_that_comes_up_unseen_escapes_no_stop(rig: Rig) -> None:
    """One that an interrupted start had begun, without marks yet, while a stop is under way: it is found
    by its lock, and what it starts is ended."""
    rig.start(rig.service("one"))
    rig.kill_supervisor()
    late: list[subprocess.Popen[bytes]] = []

    def comes_up(_: object) -> None:
        if not late:
            argv = [sys.executable, "-c", LATE, str(rig.root)]
            late.append(subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE))
            assert late[0].stdout
            assert late[0].stdout.readline() == b"up\n"

    assert rig.stop(progress=comes_up).data["left"] == []
    late[0].communicate(timeout=10)
    assert rig.members() == []


def test_there_is_never_a_second_supervisor(rig: Rig) -> None:
    """While one lives no other gets its place, whoever starts it."""
    rig.start(rig.service("one"))
    assert not be_the_supervisor(rig.files.folder, patience=0.05)


def test_sigterm_ends_a_supervisor_with_its_services(rig: Rig) -> None:
    """`kill SUPERVISOR` is an orderly stop, as a machine that goes down asks for."""
    rig.start(rig.service("one", "double"))
    who = rig.supervisor()
    kill(who, signal.SIGTERM)
    until(lambda: not identity.lives(who))
    assert rig.members() == []


def test_a_stop_spares_who_asks_and_strangers(rig: Rig) -> None:
    """A process that merely shares the folder is not touched, nor the one that asks."""
    bystander = subprocess.Popen([sys.executable, "-S", str(SERVE), "0"], cwd=rig.root)
    try:
        rig.start(rig.service("one"))
        rig.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
