"""Ports, services and command lines, with real listeners and processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ops import checks
from ops.config import Settings
from ops.doctor import ports, security, services
from ops.services import Ready, Service
from ops.world import World
from tests.standin import StandIn

TODAY = date(2026, 11, 23)


@contextlib.contextmanager
def _program(code: str, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that has said that it is ready."""
    argv = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], **env})
    try:
        assert process.stdout
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


LISTEN = (
    "import socket, sys, time; s = socket.create_server((sys.argv[1], int(sys.argv[2])));"
    "print('ready', flush=True); time.sleep(60)"
)


def _service(root: Path, port: int, **changes: Any) -> Service:
    return replace(Service("web", ("web",), root, ports=(port,)), **changes)


def _world(root: Path, service: Service, **running: Any) -> World:
    world = World.of(Settings.load(root, {}), today=TODAY)
    stack = (
        {"services": [{"name": service.name, "state": "ready", "restarts": 0, **running}]}
        if running
        else None
    )
    return replace(world, table=(service,), stack=stack)


def test_a_free_port_is_well(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Nothing listens: the service can have its port."""
    service = _service(root, *free_ports(1))
    assert ports.held("port.web", service, _world(root, service)).status == "ok"


def test_a_stranger_on_our_port_is_named(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Number, command and age of the holder, and how to get the port."""
    (port,) = free_ports(1)
    service = _service(root, port)
    with _program(LISTEN, "127.0.0.1", str(port)) as process:
        found = ports.held("port.web", service, _world(root, service))
    assert found.status == "fail"
    assert found.evidence["pid"] == process.pid
    assert "take-over" in (found.fix or "")


def test_our_own_service_on_its_port_is_well(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """A process with this project's marks holds its port rightly while the stack runs, else it is left over."""
    (port,) = free_ports(1)
    service = _service(root, port)
    with _program(LISTEN, "127.0.0.1", str(port), TRUNKLINE_ROOT=str(root)):
        assert ports.held("port.web", service, _world(root, service, pid=1)).status == "ok"
        assert ports.held("port.web", service, _world(root, service)).fix == "end it: `inv cleanup`"


def test_two_services_on_one_port_clash(root: Path) -> None:
    """Both names are told."""
    settings = Settings.load(root, {"WEBAPP_PORT": "8081"})
    found = ports.clashes(World.of(settings, today=TODAY))
    assert found.status == "fail"
    assert "websocket-server and webapp" in found.summary
    assert ports.clashes(World.of(Settings.load(root, {}), today=TODAY)).status == "ok"


def test_no_stack_is_one_failure_and_the_rest_waits(root: Path) -> None:
    """Before the first start one finding says `inv start`; nothing else fails or is unknown."""
    found = {one.id: one for one in checks.run(Settings.load(root, {}))}
    assert found["service.stack"].fix == "start it: `inv start`"
    bad = {id for id, one in found.items() if one.status in ("fail", "unknown")}
    assert {id for id in bad if not id.startswith("port.")} == {"service.stack"}
    assert found["webhook.signed"].evidence["waits_for"] == "service.stack"


def test_run_state_without_a_living_process_is_no_stack(root: Path) -> None:
    """A stack.json that a power cut left behind does not count as running."""
    run = root / "logs" / "run"
    run.mkdir(exist_ok=True)
    settings = Settings.load(root, {})
    (run / "stack.json").write_text('{"supervisor":{"pid":1,"start_ticks":1,"boot_id":"x"},"services":[]}')
    assert checks.look(settings).stack is None
    (run / "stack.json").write_text("{broken")
    assert checks.look(settings).stack is None


def test_settings_that_changed_since_the_start_are_pointed_out(root: Path) -> None:
    """The stack was started live, the settings now say simulated: the .env is gone or changed."""
    service = _service(root, 1)
    world = replace(_world(root, service), stack={"services": [], "vendors": {"twilio": "live"}})
    found = services.running(world)
    assert found.status == "warn"
    assert "twilio was live, the settings now say simulated" in found.summary


@pytest.mark.parametrize(
    ("ready", "running", "status"),
    [
        (Ready("http", "/health"), {"pid": 1}, "ok"),
        (Ready("http", "/health", contains="draining"), {"pid": 1}, "fail"),
        (Ready("http", "/nothing"), {"pid": 1}, "fail"),
        (Ready("tcp"), {"pid": 1}, "ok"),
        (Ready("alive"), {"state": "ready"}, "ok"),
        (Ready("alive"), {"state": "unready", "reason": "late"}, "fail"),
        (Ready("http", "/health"), {"state": "failed", "reason": "died 5 times"}, "fail"),
        (Ready("http", "/health"), {"restarts": 4}, "warn"),
    ],
    ids=str,
)
def test_a_service_is_asked_as_its_readiness_says(
    ready: Ready, running: dict[str, Any], status: str, root: Path
) -> None:
    """HTTP, TCP or life; a state of failed and many restarts count too."""
    with StandIn().up() as standin:
        service = _service(root, standin.port, ready=ready)
        found = services.answers("service.web", service, _world(root, service, **running))
    assert found.status == status
    if running.get("reason"):
        assert running["reason"] in found.summary


def test_a_service_that_is_gone_fails(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The run state says ready, but nobody answers."""
    service = _service(root, *free_ports(1), ready=Ready("http", "/health"))
    found = services.answers("service.web", service, _world(root, service, pid=1))
    assert found.status == "fail"
    assert "nothing listens" in found.summary


def _secret_world(root: Path) -> tuple[World, str]:
    secret = "sk-" + secrets.token_hex(20)
    return World.of(Settings.load(root, {"OPENAI_API_KEY": secret}), today=TODAY), secret


def test_a_secret_in_a_command_line_is_found(root: Path) -> None:
    """The process is named by number; the secret is not shown."""
    world, secret = _secret_world(root)
    code = "import time; print('ready', flush=True); time.sleep(60)"
    assert security.command_lines(world).status == "ok"
    with _program(code, f"--key={secret}") as process:
        found = security.command_lines(world)
    assert found.status == "fail"
    assert found.evidence["pids"] == [process.pid]
    assert secret not in str(found.to_dict())


def test_anyones_ngrok_token_in_a_command_line_is_found() -> None:
    """The token of an agent that was started by hand need not be one of ours."""
    assert security.NGROK_TOKEN.search(f"/usr/bin/ngrok http 8081 --authtoken {'2aB' * 9}")
    assert security.NGROK_TOKEN.search(f"ngrok http --authtoken={'2aB' * 9} 8081")
    assert not security.NGROK_TOKEN.search("ngrok http 8081 --inspect=false")
    assert not security.NGROK_TOKEN.search("vim notes-on-ngrok.md")


def test_a_secret_in_an_environment_is_well(root: Path) -> None:
    """The environment of a process is its owner's alone."""
    world, secret = _secret_world(root)
    code = "import time; print('ready', flush=True); time.sleep(60)"
    with _program(code, OPENAI_API_KEY=secret):
        assert security.command_lines(world).status == "ok"


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", "ok"), ("::1", "ok"), ("::ffff:127.0.0.1", "ok"), ("0.0.0.0", "warn"), ("::", "warn")],
)
def test_a_private_port_that_listens_everywhere_is_found(address: str, status: str) -> None:
    """A listener of ours on another address than loopback is named; others' ports are not ours to judge."""
    found = security.judge_listeners([(address, 8081), ("0.0.0.0", 22)], {8081: "websocket-server"})
    assert found.status == status


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", "ok"), ("0.0.0.0", "warn")])
def test_the_listeners_of_this_machine_can_be_read(root: Path, address: str, status: str) -> None:
    """A real listener is seen where it listens."""
    with socket.create_server((address, 0)) as own:
        service = _service(root, own.getsockname()[1])
        assert security.listeners(_world(root, service)).status == status
