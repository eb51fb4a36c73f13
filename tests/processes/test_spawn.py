"""What a service finds when it begins."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from ops.processes import spawn


def test_a_service_may_open_what_500_calls_need(tmp_path: Path) -> None:
    """The soft limit of open files goes up to what is useful, as far as the hard one allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    command = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    path = tmp_path / "out"
    with path.open("wb") as output:
        gate = spawn.fork([sys.executable, "-c", command], tmp_path, dict(os.environ), output.fileno())
        assert gate.open() is None
        os.waitpid(gate.identity.pid, 0)
    wanted = spawn.DESCRIPTORS if hard == resource.RLIM_INFINITY else min(spawn.DESCRIPTORS, hard)
    assert int(path.read_text()) >= wanted


def test_nothing_runs_before_the_gate_opens(tmp_path: Path) -> None:
    """A child whose supervisor goes away before the gate opens never becomes the service."""
    path = tmp_path / "ran"
    with (tmp_path / "out").open("wb") as output:
        gate = spawn.fork(["touch", str(path)], tmp_path, dict(os.environ), output.fileno())
        gate.abandon()
        _, status = os.waitpid(gate.identity.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 125
    assert not path.exists()
