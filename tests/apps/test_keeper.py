"""The process that keeps the public port: signals, deaths, and what callers meet meanwhile."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from ops.apps.keeper import Keeper, listen

REPOSITORY = Path(__file__).parents[2]


@asynccontextmanager
async def keeper(
    root: Path, port: int, *options: str, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.apps.keeper", *options,
        cwd=root,
        env={
            "PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"], "WEBSOCKET_PORT": str(port),
            "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
            "OPENAI_API_KEY": "sk-" + secrets.token_hex(16), "PUBLIC_URL": f"http://127.0.0.1:{port}", **settings,
        },
    )  # fmt: skip
    left: list[psutil.Process] = []
    try:
        async with asyncio.timeout(15):
            while (await get(port)) != 200:
                await asyncio.sleep(0.02)
        left = psutil.Process(process.pid).children()
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 20)
        await asyncio.to_thread(psutil.wait_procs, left, 5)


async def get(port: int, path: str = "/health", method: str = "GET") -> int:
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.request(method, f"http://127.0.0.1:{port}{path}", timeout=10)).status_code
    except httpx.TransportError:
        return 0


def test_sigterm_ends_keeper_and_bridge(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """One signal to the keeper drains the bridge; both end with 0 and the port is free."""

    async def scenario() -> None:
        (port,) = free_ports(1)
        async with keeper(root, port) as process:
            (bridge,) = psutil.Process(process.pid).children()
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0
            assert not bridge.is_running()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0

    asyncio.run(scenario())


def test_told_to_stop_without_end_it_ends_in_peace(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """A SIGTERM that comes while the keeper is already ending does not turn its exit code into a signal's."""

    async def scenario() -> None:
        async with keeper(root, *free_ports(1)) as process:
            signalled = psutil.Process(
                process.pid
            )  # `process.terminate` would take the exit code from asyncio
            while process.returncode is None:
                with suppress(psutil.NoSuchProcess):
                    signalled.terminate()
                await asyncio.sleep(0.001)
            assert process.returncode == 0

    asyncio.run(scenario())


def test_a_request_waits_while_the_bridge_is_started_anew(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """After kill -9 of the bridge the next request is answered by its successor, not refused."""

    async def scenario() -> None:
        (port,) = free_ports(1)
        async with keeper(root, port) as process:
            (bridge,) = psutil.Process(process.pid).children()
            bridge.kill()
            await asyncio.to_thread(psutil.wait_procs, [bridge], 5)
            assert await get(port) == 200
            (successor,) = psutil.Process(process.pid).children()
            assert successor.pid != bridge.pid
            successor.send_signal(signal.SIGTERM)  # to the process that holds the sockets: all of it ends
            assert await asyncio.wait_for(process.wait(), 20) == 0

    asyncio.run(scenario())


def test_a_bridge_without_its_keeper_frees_the_port_and_leaves(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """kill -9 of the keeper: the bridge has no calls, so it goes."""

    async def scenario() -> None:
        (port,) = free_ports(1)
        async with keeper(root, port) as process:
            (bridge,) = psutil.Process(process.pid).children()
            process.kill()
            await process.wait()
            _, alive = await asyncio.to_thread(psutil.wait_procs, [bridge], 5)
            assert not alive

    asyncio.run(scenario())


def test_without_a_supervisor_it_rotates_its_logs(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """What grew too large or old goes into the archive, by the keeper of a slot alone."""

    async def scenario() -> None:
        (port,) = free_ports(1)
        large = root / "logs/earlier.jsonl"
        large.parent.mkdir(exist_ok=True)
        with large.open("wb") as file:
            file.truncate(65 << 20)
        async with keeper(root, port):
            assert large.exists()
        async with keeper(root, port, "--keep-logs"), asyncio.timeout(5):
            while not any((root / "logs/archive").glob("earlier-*.jsonl")):
                await asyncio.sleep(0.02)
        assert not large.exists()

    asyncio.run(scenario())


def test_while_there_is_no_bridge_it_answers_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An apology to a new call; a live one that wants to come back is not hung up but held, until the next bridge
    is there for Twilio to ask again."""

    async def scenario() -> None:
        with listen(0) as listening:
            port, one = listening.getsockname()[1], Keeper(listening)
            answering = asyncio.create_task(asyncio.to_thread(one._answer_for, 20.0))
            try:
                assert await get(port, "/twiml", "POST") == 200
                assert await get(port, "/status", "POST") == 200
                paths = ("/resume?asked=1", "/resume/one?asked=1")
                held = [asyncio.create_task(get(port, path, "POST")) for path in paths]
                assert await get(port) == 503
                done, _ = await asyncio.wait(held, timeout=0.2)
                assert not done
                monkeypatch.setattr("ops.apps.keeper.HELD", 2)
                held.append(asyncio.create_task(get(port, "/resume?asked=1", "POST")))
                assert await held[0] == 503  # the oldest makes room
            finally:
                one.asked_to_stop += 1
                await get(port)
                await answering
                for handle in (*one._wakeup, *one._orders):
                    os.close(handle)
            assert await asyncio.gather(*held) == [503, 503, 503]

    asyncio.run(scenario())


def test_a_bridge_without_credentials_is_not_tried_again(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """Unusable settings end both with 2 and a sentence, at once."""

    async def scenario() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.apps.keeper", cwd=root,
            env={
                "PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"], "WEBSOCKET_PORT": str(free_ports(1)[0]),
            },
        )  # fmt: skip
        return await asyncio.wait_for(process.wait(), 20)

    assert asyncio.run(scenario()) == 2
    assert (root / "logs/websocket-server.jsonl").read_text().count("TWILIO_AUTH_TOKEN") == 1


def test_a_port_that_is_taken_is_a_failure(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The keeper ends with 1 and says which port."""
    (port,) = free_ports(1)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()

        async def scenario() -> int:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ops.apps.keeper", cwd=root,
                env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"], "WEBSOCKET_PORT": str(port)},
            )  # fmt: skip
            return await asyncio.wait_for(process.wait(), 20)

        assert asyncio.run(scenario()) == 1
    assert str(port) in (root / "logs/websocket-keeper.jsonl").read_text()
