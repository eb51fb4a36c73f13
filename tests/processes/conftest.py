"""A rig: a project folder of its own, small services in it, and the proof that nothing is left of them."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.config import Settings
from ops.processes import identity
from ops.processes.census import census
from ops.processes.identity import Identity
from ops.processes.outcome import Outcome
from ops.processes.run_files import RunFiles
from ops.processes.start import start
from ops.processes.status import status
from ops.processes.stop import stop
from ops.services import Ready, Service

SERVE = Path(__file__).parent / "programs" / "serve.py"


class Rig:
    """One stack under test."""

    def __init__(self, root: Path, free_ports: Callable[[int], list[int]]) -> None:
        self.root, self.files = root, RunFiles(root)
        self.settings = Settings.load(
            root,
            {
                "TIMEOUT_SERVICE_STARTUP": "10",
                "MAX_RETRIES_SERVICES": "3",
                "PUBLIC_URL": "http://127.0.0.1:1",
            },
        )
        self._ports = free_ports

    def port(self) -> int:
        return self._ports(1)[0]

    def service(self, name: str, *faults: str, port: int | None = None, **more: Any) -> Service:
        """`serve.py` with these faults, on a free port; port 0 for none."""
        port = self.port() if port is None else port
        more.setdefault("ready", Ready("http", "/") if port else Ready("alive"))
        more.setdefault("ports", (port,) if port else ())
        argv = (sys.executable, "-S", "-E", str(SERVE), str(port), *faults)
        return Service(name, more.pop("argv", argv), more.pop("cwd", self.root), **more)

    def start(self, *services: Service, **options: Any) -> Outcome:
        return start(self.settings, services, **options)

    def stop(self, **options: Any) -> Outcome:
        return stop(self.settings, **{"drain_seconds": 5.0, **options})

    def status(self, **options: Any) -> Outcome:
        return status(self.settings, **options)

    def row(self, name: str) -> dict[str, Any]:
        """How a service stands, from the state file."""
        stack = json.loads(self.files.stack_path.read_text())
        return next(row for row in stack["services"] if row["name"] == name)

    def pid(self, name: str) -> int:
        return int(self.row(name)["pid"])

    def stands(self, name: str, **expected: Any) -> int | None:
        """Its pid while its row says all that is expected; one look, so that nothing changes in between."""
        row = self.row(name)
        return row["pid"] if all(row[key] == value for key, value in expected.items()) else None

    def who(self, name: str) -> Identity:
        stack = self.files.stack()
        assert stack
        standing = stack.standing(name)
        assert standing
        assert standing.identity
        return standing.identity

    def supervisor(self) -> Identity:
        stack = self.files.stack()
        assert stack
        assert stack.supervisor
        return stack.supervisor

    def kill_supervisor(self, number: int = signal.SIGKILL) -> Identity:
        who = self.supervisor()
        assert identity.signal_process(who, number)
        if number == signal.SIGKILL:
            until(lambda: not identity.lives(who))
        return who

    def members(self) -> list[Any]:
        wanted = self.files.wanted()
        return census(wanted.token if wanted else None, self.root)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for a condition; what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return found


def kill(who: Identity, number: int = signal.SIGKILL) -> None:
    assert identity.signal_process(who, number)


@pytest.fixture
def rig(root: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Rig]:
    """A rig that fails the test when a process of its stack outlives the last stop."""
    rig = Rig(root, free_ports)
    yield rig
    outcome = rig.stop(now=True)
    assert outcome.data["left"] == []
    assert rig.members() == []
