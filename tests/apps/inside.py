"""A bridge inside the test's own process, on a real socket: so that one of its controls can be taken away."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import uvicorn
import uvloop
from websockets.asyncio.server import serve

from ops.apps.bridge import public_port
from ops.apps.carrier import Carrier
from ops.apps.switchboard import Switchboard
from ops.apps.workers import Workers
from ops.config import Settings
from tests.apps.test_bridge import REPOSITORY, Bridge, Model


@dataclass
class Inside(Bridge):
    """A bridge and what it is made of."""

    bridge: Switchboard
    server: uvicorn.Server
    carrier: Carrier | Workers


@asynccontextmanager
async def inside(root: Path, model: Model | None = None, **settings: str) -> AsyncIterator[Inside]:
    """A bridge that answers, with the public port that strangers would find; nothing of it is left."""
    account, token, model = "AC" + secrets.token_hex(16), secrets.token_hex(16), model or Model()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with serve(model.serve, "127.0.0.1", 0) as upstream:
            environ = {
                "TWILIO_ACCOUNT_SID": account, "TWILIO_AUTH_TOKEN": token,
                "OPENAI_REALTIME_URL": f"ws://127.0.0.1:{next(iter(upstream.sockets)).getsockname()[1]}",
                "PUBLIC_URL": f"http://127.0.0.1:{port}", "RETRY_INTERVAL": "0.1", **settings,
            }  # fmt: skip
            bridge, server, carrier = public_port(Settings.load(root, environ, files=False))
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listening])
            async with running(carrier, environ):
                try:
                    yield Inside(port, root, model, account, token, bridge, server, carrier)
                finally:
                    await _ended(bridge, server)


@asynccontextmanager
async def running(carrier: Carrier | Workers, environ: dict[str, str]) -> AsyncIterator[None]:
    """The workers where there are several: processes, which get their settings by the environment."""
    if isinstance(carrier, Carrier):
        yield
        return
    with patch.dict(os.environ, {"PYTHONPATH": str(REPOSITORY), **environ}):
        keeping = asyncio.create_task(carrier.run())
        try:
            async with asyncio.timeout(10):
                while len(carrier.bridge.gauges.elsewhere) < carrier.bridge.settings.websocket_workers:
                    await asyncio.sleep(0.01)
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def _ended(bridge: Switchboard, server: uvicorn.Server) -> None:
    for listener in server.servers:
        listener.close()
    for call in list(bridge.live.values()):
        call.end("the test is over")
    await asyncio.wait_for(bridge.idle.wait(), 10)
    for connection in list(server.server_state.connections):
        connection.transport.abort()  # type: ignore[union-attr]
    bridge.book.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """On the loop that the bridge runs on; half a minute at most."""

    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())
