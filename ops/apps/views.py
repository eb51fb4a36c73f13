"""What one may see of the bridge: health for everybody, the rest on this machine alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ops.apps.agent import offered
from ops.apps.door import is_local

if TYPE_CHECKING:
    from ops.apps.switchboard import Switchboard

BEHIND = 500  # messages that a watcher of /logs may be behind; then it loses some


class Views:
    """The pages of one bridge."""

    def __init__(self, bridge: Switchboard) -> None:
        self._bridge = bridge
        self._watchers: set[asyncio.Queue[str]] = set()
        self.on_watched: Callable[[bool], None] = lambda wanted: None  # hears of each change

    def routes(self) -> list[Route | WebSocketRoute]:
        """All of them; `/health` alone answers strangers."""
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/metrics", _private(self.metrics), methods=["GET"]),
            Route("/public-url", _private(self.public_url), methods=["GET"]),
            Route("/tools", _private(self.tools), methods=["GET"]),
            WebSocketRoute("/logs", self.logs),
        ]

    async def health(self, request: Request) -> Response:
        """200 to take calls, 503 while draining; the details only for this machine."""
        bridge = self._bridge
        status = "draining" if bridge.draining else "degraded" if bridge.trouble else "ok"
        body: dict[str, Any] = {"status": status}
        if _local(request):
            now = asyncio.get_running_loop().time()
            body |= {
                "live_calls": len(bridge.live),
                "calls": [
                    {"call_sid": sid, "seconds": round(now - call.began, 1)}
                    for sid, call in bridge.live.items()
                ],
                "public_url": bridge.door.origin,
            }
            if bridge.trouble:
                body["reason"] = bridge.trouble
        return JSONResponse(body, 503 if bridge.draining else 200)

    async def metrics(self, request: Request) -> Response:
        """Prometheus text."""
        bridge = self._bridge
        tasks = len(asyncio.all_tasks())
        now = {"live_calls": len(bridge.live), "draining": int(bridge.draining), "tasks": tasks}
        return PlainTextResponse(bridge.gauges.text(now))

    async def public_url(self, request: Request) -> Response:
        """The public origin, in the form that the public Node demo's page asks for."""
        return JSONResponse({"publicUrl": self._bridge.door.origin or ""})

    async def tools(self, request: Request) -> Response:
        """The agent's tools as the model is told of them."""
        bridge = self._bridge
        return JSONResponse(
            offered(bridge.toolbox, transfers=bridge.settings.twilio_agent_number is not None)
        )

    async def logs(self, socket: WebSocket) -> None:
        """The model's events of all calls as they come, without audio; read only."""
        origin = socket.headers.get("origin")
        if not _local(socket) or (
            origin and not origin.startswith(("http://localhost:", "http://127.0.0.1:"))
        ):
            await socket.close(1008)
            return
        await socket.accept()
        waiting: asyncio.Queue[str] = asyncio.Queue(BEHIND)
        self._watchers.add(waiting)
        self.on_watched(True)
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            while not gone.done():
                getting = asyncio.ensure_future(waiting.get())
                await asyncio.wait((getting, gone), return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    break
                await socket.send_text(getting.result())
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._watchers.discard(waiting)
            self.on_watched(self.watched)
            gone.cancel()

    @property
    def watched(self) -> bool:
        """Whether somebody wants to see the messages of the model."""
        return bool(self._watchers)

    def watch(self, call_sid: str) -> Callable[[str | bytes], None]:
        """Takes one call's messages of the model for those who watch."""

        def tell(text: str | bytes) -> None:
            if not self._watchers or len(text) > 60_000:
                return
            try:
                told = json.dumps({**json.loads(text), "call_sid": call_sid})
            except (ValueError, TypeError, RecursionError):
                return
            for waiting in self._watchers:
                if not waiting.full():
                    waiting.put_nowait(told)

        return tell


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _local(connection: HTTPConnection) -> bool:
    peer = connection.client.host if connection.client else ""
    return is_local(peer, connection.headers.get("host", ""), connection.headers)


def _private(endpoint: Any) -> Any:
    async def guarded(request: Request) -> Response:
        answer = await endpoint(request) if _local(request) else PlainTextResponse("Not Found", 404)
        assert isinstance(answer, Response)
        return answer

    return guarded
