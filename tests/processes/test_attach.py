"""Staying with a stack: every change is told, and a signal stops everything."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.processes import identity
from ops.processes.attach import attach
from ops.processes.outcome import ServiceSeen
from tests.processes.conftest import Rig, kill, until

ATTACH = """
import sys
from pathlib import Path
from ops.config import Settings
from ops.processes.attach import attach
outcome = attach(Settings.load(Path(sys.argv[1]), {}), drain_seconds=60.0, meanwhile=lambda: print("on", flush=True))
print(outcome.data["left"], len(outcome.data["receipt"]), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(rig: Rig, number: int) -> None:
    """Ctrl-C or SIGTERM to an attached command stops the stack, with a receipt."""
    rig.start(rig.service("one", "double"))
    process = attached(rig)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == b"[] 3"
    assert rig.members() == []


def test_a_second_ctrl_c_forces(rig: Rig) -> None:
    """While the stop waits for a deaf service, another Ctrl-C kills it at once."""
    rig.start(rig.service("one", "deaf", grace=300.0))
    process = attached(rig)
    process.send_signal(signal.SIGINT)
    until(lambda: (wanted := rig.files.wanted()) and wanted.orders[0].held)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == b"[] 2"


def test_it_tells_of_changes_and_ends_with_the_stack(rig: Rig) -> None:
    """A restart is told; when the stack is stopped from elsewhere it ends with a finding."""
    rig.start(rig.service("one"))
    events: list[object] = []
    steps = iter([lambda: kill(rig.who("one")), lambda: None, rig.stop])
    outcome = attach(rig.settings, progress=events.append, meanwhile=lambda: next(steps, lambda: None)())
    assert outcome.findings[0].id == "services.stopped-elsewhere"
    assert any(isinstance(event, ServiceSeen) and event.name == "one" for event in events)


def attached(rig: Rig) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", ATTACH, str(rig.root)]
    process = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"on\n"
    assert identity.lives(rig.supervisor())
    return process
