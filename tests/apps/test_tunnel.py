"""Behind a tunnel the public URL has to be looked for first: who calls meanwhile waits for that."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from tests.apps.inside import Inside, inside, run
from tests.apps.test_bridge import new_call, world
from tests.standin import raw


@contextmanager
def agent(port: Callable[[], int], pause: Callable[[], object]) -> Iterator[str]:
    """An ngrok agent's API that takes its time to tell of the tunnel to a port; gives its URL."""

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        pause()
        tunnel = {"public_url": f"http://127.0.0.1:{port()}", "config": {"addr": str(port())}}
        body = json.dumps({"tunnels": [{"name": "t", "proto": "http", **tunnel}]}).encode()
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
        )

    with raw(answer) as url:
        yield url


def test_a_webhook_waits_for_the_first_look(root: Path) -> None:
    """It comes before the tunnel is known, and is answered as soon as it is."""
    ports: list[int] = []
    asked = threading.Event()

    async def scenario() -> None:
        with agent(lambda: ports[0], lambda: asked.wait(5)) as url:
            async with inside(root, PUBLIC_URL="", NGROK_API_URL=url) as one:
                one.bridge.settings = replace(one.bridge.settings, websocket_port=one.port)
                ports.append(one.port)
                looks = asyncio.create_task(one.bridge.follow_public_url())
                call = asyncio.create_task(one.webhook(new_call()))
                while not (call.done() or one.server.server_state.tasks):
                    await asyncio.sleep(0.01)
                assert one.bridge.door.origin is None
                asked.set()
                answer = await call
                assert (answer.status_code, "<Stream" in answer.text) == (200, True)
                looks.cancel()

    run(scenario)


def test_a_webhook_does_not_wait_for_ever(root: Path) -> None:
    """Where the tunnel is not found in time there is no answer to give."""

    async def scenario() -> None:
        async with inside(root, PUBLIC_URL="") as one:
            assert (await one.webhook(new_call())).status_code == 503

    run(scenario)


def test_an_agent_that_does_not_answer_costs_no_call(root: Path) -> None:
    """It says nothing of the tunnel, which may well carry on: health tells of it, and calls come in. An agent
    that says that there is no tunnel is believed."""
    ports: list[int] = []
    told = threading.Event()
    told.set()

    def pause() -> None:
        if not told.is_set():
            raise ConnectionResetError

    async def until(one: Inside, reason: str | None) -> None:
        async with asyncio.timeout(10):
            while one.bridge.trouble != reason:
                await asyncio.sleep(0.01)

    async def scenario() -> None:
        with agent(lambda: ports[0], pause) as url:
            async with inside(root, PUBLIC_URL="", NGROK_API_URL=url) as one:
                one.bridge.settings = replace(one.bridge.settings, websocket_port=one.port)
                ports.append(one.port)
                looks = asyncio.create_task(one.bridge.follow_public_url())
                await until(one, None)
                told.clear()
                await until(one, "the tunnel's agent does not answer: the public URL may be another by now")
                assert "<Stream" in (await one.webhook(new_call())).text
                ports[0] = 1
                told.set()
                await until(one, "the public URL is not known: no tunnel")
                assert (await one.webhook(new_call())).status_code == 503
                looks.cancel()

    run(scenario)


def test_a_call_that_comes_while_the_bridge_is_started_anew(
    root: Path, free_ports: Callable[[int], list[int]]
) -> None:
    """After kill -9 the webhook that the keeper's port has held is answered by the next bridge, though its
    tunnel's agent is slow."""

    async def scenario() -> None:
        (port,) = free_ports(1)
        with agent(lambda: port, lambda: threading.Event().wait(0.5)) as url:
            async with world(root, port, PUBLIC_URL="", NGROK_API_URL=url) as one:
                assert (await one.webhook(new_call())).status_code == 200
                (bridge,) = psutil.Process(one.process.pid).children()
                bridge.kill()
                assert "<Stream" in (await one.webhook(new_call())).text

    asyncio.run(scenario())
