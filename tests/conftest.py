"""What every test gets: a clean environment, free ports, and a look afterwards at what it left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.config import variables

REPOSITORY = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="run the contract tests against the real vendors")
    parser.addoption("--long", action="store_true", help="the long fuzz, soak and rig modes")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No setting of the person who runs the tests reaches a test (but with --live they are the point)."""
    if not request.config.getoption("--live"):
        for name in variables():
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that leaves a child process behind fails."""
    yield
    left = [child for child in psutil.Process(os.getpid()).children(recursive=True) if _lives(child)]
    assert not left, f"left running: {[child.cmdline() for child in left if _lives(child)]}"


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """`free_ports(n)`: n loopback TCP ports that nobody listens on, all different."""

    def pick(count: int) -> list[int]:
        sockets = [socket.socket() for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        return ports

    return pick


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty project folder."""
    (tmp_path / "logs").mkdir()
    return tmp_path


@dataclass(frozen=True)
class Project:
    """A folder with our tasks and no settings, on ports of its own: `inv` runs in it as a user's would."""

    root: Path
    environ: dict[str, str]

    def inv(self, *arguments: str, timeout: float = 50, **environ: str) -> subprocess.CompletedProcess[str]:
        """`inv ARGUMENTS` from a real command line."""
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.root, env=self.environ | environ, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def json(self, *arguments: str, **environ: str) -> dict[str, Any]:
        """The one JSON document of a task."""
        done = self.inv(*arguments, "--json", **environ)
        assert done.stdout.count("\n") == 1, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode, done.stderr
        return document


@pytest.fixture
def project(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Project]:
    """A project of its own; whatever it left running is stopped at the end."""
    for name in ("tasks.py", "ops", ".env.example"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "logs").mkdir()
    web, bridge, ngrok = free_ports(3)
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ |= {"WEBAPP_PORT": str(web), "WEBSOCKET_PORT": str(bridge), "NGROK_PORT": str(ngrok)}
    environ |= {"SIMULATOR_PORT": str(_three_in_a_row()), "TIMEOUT_ADDITIONAL_LOGS": "5"}
    one = Project(tmp_path, environ)
    yield one
    if (tmp_path / "logs/run/stack.json").exists():
        one.inv("cleanup", "--now")


def _three_in_a_row() -> int:
    """The first of three neighbouring free ports: the simulators follow one another."""
    while True:
        first = socket.socket()
        first.bind(("127.0.0.1", 0))
        port: int = first.getsockname()[1]
        others = [socket.socket(), socket.socket()]
        try:
            for offset, one in enumerate(others, 1):
                one.bind(("127.0.0.1", port + offset))
            return port
        except OSError:
            continue
        finally:
            for one in (first, *others):
                one.close()
