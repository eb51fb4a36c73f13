"""What every test gets: a clean environment, free ports, and a look afterwards at what it left behind."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.config import variables

REPOSITORY = Path(__file__).parents[1]

LONGEST = (
    "tests/apps/test_faults.py",
    "tests/apps/test_workers.py",
    "tests/doctor/test_zoo.py",
    "tests/journey/",
    "tests/remote/rig/",
    "tests/remote/test_abreast.py",
    "tests/remote/test_deploy.py",
    "tests/test_docs.py",
    "tests/test_program.py",
    "tests/test_tasks.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="run the contract tests against the real vendors")
    parser.addoption("--long", action="store_true", help="the long fuzz, soak and rig modes")


def pytest_configure() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, `nohup` a closed terminal, and so whatever
    that starts; the tests send both to what they start. A handler ends with us, where to ignore is handed on."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: at the end no worker shall wait for one of them."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No setting of the person who runs the tests reaches a test (but with --live they are the point)."""
    if not request.config.getoption("--live"):
        for name in variables():
            monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def second_belt(request: pytest.FixtureRequest) -> None:
    """A test that has more time of its own (`timeout`) than `faulthandler_timeout` is not cut before."""
    own = request.node.get_closest_marker("timeout")
    belt = float(request.config.getini("faulthandler_timeout"))
    if own is not None and own.args[0] > belt:
        faulthandler.dump_traceback_later(own.args[0] + belt, file=sys.__stderr__, exit=True)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that leaves a child process behind fails; those of its file's fixtures were there before."""
    mine = psutil.Process(os.getpid())
    before = mine.children() if _has_children() else []
    yield
    if not _has_children():
        return
    after = mine.children(recursive=True)  # looked at first: a fixture's hosts start some at any moment
    held = {child for one in before if _lives(one) for child in one.children(recursive=True)}
    left = [one for one in after if one not in {*before, *held} and _lives(one)]
    assert not left, f"left running: {[child.cmdline() for child in left if _lives(child)]}"


def _has_children() -> bool:
    """Whether this process has any child: the kernel tells at once, psutil looks at all processes."""
    try:
        return any((task / "children").read_bytes() for task in Path("/proc/self/task").iterdir())
    except OSError:  # a thread has ended meanwhile, or this kernel tells no children
        return True


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """`free_ports(n)`: n loopback TCP ports that nobody listens on, all different."""
    return _free_ports


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(_free_row(1))
    return list(ports)


def _free_row(length: int) -> int:
    """The first of so many neighbouring free ports. They lie below the range that the kernel gives to
    clients: a client that asks such a port before its service listens could meet itself there."""
    dice = random.SystemRandom()  # two workers must not roll the same ports
    while True:
        first = dice.randrange(12_000, 30_000)
        sockets = [socket.socket() for _ in range(length)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()


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
    with project_in(tmp_path, free_ports(3)) as one:
        yield one


@contextmanager
def project_in(folder: Path, ports: list[int]) -> Iterator[Project]:
    """A project in an empty folder, with ports for the page, the bridge and the tunnel's agent."""
    for name in ("tasks.py", "ops", ".env.example"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "logs").mkdir()
    web, bridge, ngrok = ports
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ |= {"WEBAPP_PORT": str(web), "WEBSOCKET_PORT": str(bridge), "NGROK_PORT": str(ngrok)}
    environ |= {"SIMULATOR_PORT": str(_free_row(3)), "TIMEOUT_ADDITIONAL_LOGS": "5"}
    one = Project(folder, environ)
    yield one
    if (folder / "logs/run/stack.json").exists():
        one.inv("cleanup", "--now")
