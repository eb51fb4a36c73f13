"""The program: what it prints when it may not start, and how it ends."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

Ports = Callable[[int], list[int]]


def _argv(root: Path, api: int, edge: int, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "ops.vendors.ngrok.simulator", f"--api-port={api}", f"--edge-port={edge}",
        "--forward=9", f"--root={root}", *more,
    ]  # fmt: skip


def test_it_starts_and_ends_on_sigterm(free_ports: Ports, root: Path) -> None:
    """Ready when the API lists the tunnel; exit code 0; both ports are free again."""
    api, edge = free_ports(2)
    process = subprocess.Popen(_argv(root, api, edge))
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                tunnels = httpx.get(f"http://127.0.0.1:{api}/api/tunnels").json()["tunnels"]
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
        assert tunnels[0]["public_url"] == f"http://127.0.0.1:{edge}"
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
    assert "tunnel.online" in (root / "logs" / "ngrok.jsonl").read_text()


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        ("malformed-token", "ERR_NGROK_105"),
        ("invalid-token", "ERR_NGROK_107"),
        ("session-limit", "ERR_NGROK_108"),
        ("already-online", "ERR_NGROK_334"),
    ],
)
def test_it_may_refuse_to_start(free_ports: Ports, root: Path, fault: str, number: str) -> None:
    """ngrok's words and number, and exit code 1."""
    ended = subprocess.run(
        _argv(root, *free_ports(2), f"--fault={fault}"), capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 1
    assert number in ended.stderr


def test_a_malformed_token_in_the_environment_is_105(free_ports: Ports, root: Path) -> None:
    """As the agent says before it asks anybody; the token is not repeated."""
    token = "abc" + secrets.token_hex(4)
    ended = subprocess.run(
        _argv(root, *free_ports(2)), capture_output=True, text=True, timeout=20,
        env={**os.environ, "NGROK_AUTH_TOKEN": token},
    )  # fmt: skip
    assert ended.returncode == 1
    assert "ERR_NGROK_105" in ended.stderr
    assert token not in ended.stderr


def test_a_taken_edge_port_is_an_endpoint_already_online(free_ports: Ports, root: Path) -> None:
    """334 names the endpoint."""
    [api] = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        edge = taken.getsockname()[1]
        ended = subprocess.run(_argv(root, api, edge), capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert f"http://127.0.0.1:{edge}" in ended.stderr
    assert "ERR_NGROK_334" in ended.stderr
