"""The supervisor on standby: it becomes the supervisor once told to, and is nobody before and otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.processes import census, identity, observe
from ops.processes.standby import standing_by
from tests.conftest import Project
from tests.processes.conftest import Rig, until


def test_it_becomes_the_supervisor(rig: Rig) -> None:
    """A start with one on standby takes its token; its process ends, and its child supervises."""
    with standing_by(rig.root) as standby:
        assert standby
        outcome = rig.start(rig.service("one"), standby=standby)
        assert not outcome.failed
        assert standby.process.returncode == 0
    wanted = rig.files.wanted()
    assert wanted
    assert wanted.token == standby.token
    assert census.supervisors(None, rig.root) == [rig.supervisor()]


def test_nobody_waits_for_one_that_waits_itself(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command sees no supervisor in it, and does not wait until it has come up."""
    with standing_by(rig.root) as standby:
        assert standby
        until(lambda: census.TOKEN.encode() in _environ(standby.process.pid))
        monkeypatch.setattr(observe, "RESTORED", 60.0)
        assert observe.look(rig.files).supervisor is None
        assert rig.members() == []
        assert not rig.start(rig.service("one")).failed  # a command without one of its own
        assert standby.process.poll() is None


def test_none_is_made_where_one_works(rig: Rig) -> None:
    """A second start has nobody on standby."""
    rig.start(rig.service("one"))
    with standing_by(rig.root) as standby:
        assert standby is None


def test_it_ends_untold(rig: Rig) -> None:
    """A start that was refused leaves no process."""
    with standing_by(rig.root) as standby:
        assert standby
    assert standby.process.returncode == 0
    assert census.supervisors(None, rig.root) == []


def test_one_that_died_is_done_without(rig: Rig) -> None:
    """A start whose standby is gone begins a supervisor as if there had been none."""
    with standing_by(rig.root) as standby:
        assert standby
        who = identity.identify(standby.process.pid)
        assert who
        assert identity.signal_process(who, signal.SIGKILL)
        standby.process.wait()
        assert not rig.start(rig.service("one"), standby=standby).failed


def test_it_ends_with_a_command_that_is_killed(project: Project) -> None:
    """kill -9 of a command leaves nobody on standby."""
    program = (
        "import sys, pathlib\nfrom ops.processes.standby import standing_by\n"
        "with standing_by(pathlib.Path(sys.argv[1])) as one:\n    print(one.process.pid, flush=True)\n    input()"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", program, str(project.root)],
        cwd=project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert command.stdout
    assert command.stdin
    who = identity.identify(int(command.stdout.readline()))
    assert who
    command.kill()
    command.wait()
    command.stdout.close()
    command.stdin.close()
    until(lambda: not identity.lives(who))


def test_start_begins_the_one_on_standby(project: Project) -> None:
    """`inv basic` from a real command line has the supervisor that stood by, and leaves no second one."""
    document = project.json("basic", "--only", "webapp")
    assert document["ok"], document
    assert len(census.supervisors(None, project.root)) == 1


def _environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_it_loads_nothing_that_a_start_does_not_need() -> None:
    """Every start waits for its imports: no compressor, nothing that starts programs another way."""
    ask = "import sys, ops.processes.supervisor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    needless = {"subprocess", "gzip", "bz2", "shutil", "random", "ops.journal.rotate", "ops.findings"}
    assert needless.isdisjoint(loaded.split())


def test_a_start_gives_its_orders_before_it_loads_the_rest() -> None:
    """What waiting and telling need is loaded while the services start."""
    ask = "import sys, ops.commands.start; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    later = {"ops.processes.awaiting", "ops.journal.redact", "gzip", "bz2", "shutil", "rich", "httpx"}
    assert later.isdisjoint(loaded.split())
