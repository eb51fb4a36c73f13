"""What every test gets: a clean environment, free ports, and a look afterwards at what it left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ops.config import variables


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
