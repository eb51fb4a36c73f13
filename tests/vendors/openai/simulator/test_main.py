"""The program: it starts, tells its health, takes faults from its arguments, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.vendors.openai.simulator.rig import MODEL


def test_the_program(free_ports: Callable[[int], list[int]], root: Path) -> None:
    """Ready in time, its key is the environment's, and SIGTERM ends it although a socket is open."""
    [port], key = free_ports(1), "sk-" + secrets.token_hex(20)
    argv = [sys.executable, "-m", "ops.vendors.openai.simulator", f"--port={port}", f"--root={root}"]
    process = subprocess.Popen([*argv, "--fault=rate-limit"], env={**os.environ, "OPENAI_API_KEY": key})

    async def use() -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await _ready(http)
            assert (await http.get("/v1/models")).status_code == 401
            bearer = {"Authorization": f"Bearer {key}"}
            assert (await http.get("/v1/models", headers=bearer)).status_code == 200
            url = f"ws://127.0.0.1:{port}/v1/realtime?model={MODEL}"
            with pytest.raises(InvalidStatus):
                await connect(url, additional_headers=bearer)
            await http.delete("/_sim/faults")
            async with connect(url, additional_headers=bearer) as socket:
                await socket.recv()
                process.terminate()
                assert await asyncio.to_thread(process.wait, 20) == 0  # although we stay

    try:
        asyncio.run(use())
    finally:
        process.kill()
        process.wait()
    journal = (root / "logs" / "openai-simulator.jsonl").read_text()
    assert "session.created" in journal
    assert "simulator.stopped" in journal
    assert key not in journal


async def _ready(http: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            if (await http.get("/health")).status_code == 200:
                return
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
