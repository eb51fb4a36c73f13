"""Whom the vendors' own clients talk to: our simulators, or with `--live` the real services.

The assertions are the same for both. With `--live` the credentials come from .env and the
environment, as for every command; a test whose vendor has none is skipped.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from ops.config import Settings

PROJECT = Path(__file__).parents[2]
NUMBER = "+12025550100"
OTHER = "+12025550199"


@dataclass(frozen=True)
class Vendor:
    """Where a vendor is asked, and whether it is the real one."""

    settings: Settings
    live: bool


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that leaves a child process behind fails; a simulator serves a whole file."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]
    assert not left, f"left running: {left}"


@pytest.fixture(scope="session")
def live(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--live"))


@pytest.fixture(scope="module")
def twilio_vendor(live: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """Twilio itself, or the simulator of it."""
    if live:
        yield _real("twilio")
        return
    environ = {
        "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16),
        "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "TWILIO_PHONE_NUMBER": NUMBER,
        "TWILIO_AGENT_NUMBER": OTHER,
    }
    root = tmp_path_factory.mktemp("twilio")
    with _simulator("ops.vendors.twilio.simulator", environ, root, "--voice-url=http://127.0.0.1:9/") as url:
        yield Vendor(Settings.load(root, environ | {"TWILIO_API_URL": url}), live=False)


@pytest.fixture(scope="module")
def openai_vendor(live: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """OpenAI itself, or the simulator of it."""
    if live:
        yield _real("openai")
        return
    environ = {"OPENAI_API_KEY": "sk-" + secrets.token_hex(20)}
    root = tmp_path_factory.mktemp("openai")
    with _simulator("ops.vendors.openai.simulator", environ, root) as url:
        realtime = url.replace("http", "ws") + "/v1/realtime"
        addresses = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_REALTIME_URL": realtime}
        yield Vendor(Settings.load(root, environ | addresses), live=False)


def _real(vendor: str) -> Vendor:
    settings = Settings.load(PROJECT)
    if settings.vendors[vendor] != "live":
        pytest.skip(f"no credentials of {vendor}")
    return Vendor(settings, live=True)


@contextmanager
def _simulator(module: str, environ: dict[str, str], root: Path, *arguments: str) -> Iterator[str]:
    """Runs a simulator as a program of its own until the block ends; gives its base URL."""
    port = _free_port()
    argv = [sys.executable, "-m", module, f"--port={port}", *arguments]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **environ}
    (root / "logs").mkdir()
    process = subprocess.Popen(argv, env=env, cwd=root)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"the simulator ended with {process.returncode}"
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} was not healthy within {seconds:g} s")


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
