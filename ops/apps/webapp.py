"""The private page on WEBAPP_PORT, for this machine alone: services, live calls, reports, errors.

GET /                       the page
GET /events                 server-sent events: one for each section of the page, when it changed
GET /health                 200
GET /calls/SID/FILE         report.html, report.json or call.wav of one call

A request must name this machine in its Host header and may not come from another site's page or
through a proxy: everything else is 403, so neither DNS rebinding nor a tunnel reaches the page.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ops.apps.guard import Guard, page_policy
from ops.apps.overview import CALL_SID, Overview, now
from ops.config import Settings
from ops.journal import write as journal

LOOK = 0.25  # seconds between two looks at the files: what a person calls at once
ASK = 1.0  # seconds between two questions to the services' ports
KEEP_ALIVE = 15.0  # seconds after which a silent event stream says that it lives
VIEWERS = 32  # event streams at once
FILES = {"report.html": "text/html", "report.json": "application/json", "call.wav": "audio/wav"}
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; media-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

log = journal.logger(__name__)


class Page:
    """The page's routes, and the one watcher that all its viewers share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self.viewers = 0
        self._html = Path(__file__).with_name("page.html").read_text("utf-8")
        self._policy = page_policy(self._html)
        self._overview = Overview(settings)
        self._health: dict[int, dict[str, Any]] = {}
        self._sections: dict[str, str] = {}
        self._changed = asyncio.Condition()

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/events", self.events, methods=["GET"]),
            Route("/calls/{sid}/{name}", self.file, methods=["GET"]),
        ]

    async def page(self, request: Request) -> Response:
        return Response(self._html, media_type="text/html", headers={"Content-Security-Policy": self._policy})

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "viewers": self.viewers})

    async def file(self, request: Request) -> Response:
        """One file that a call left."""
        sid, name = request.path_params["sid"], request.path_params["name"]
        path = self.settings.logs / "calls" / sid / name
        if name not in FILES or not CALL_SID.fullmatch(sid) or not path.is_file() or path.is_symlink():
            return PlainTextResponse("There is no such file.\n", 404)
        policy = REPORT_POLICY if name == "report.html" else "default-src 'none'"
        return FileResponse(path, media_type=FILES[name], headers={"Content-Security-Policy": policy})

    async def events(self, request: Request) -> Response:
        """Each section once, then again whenever it changed."""
        if self.viewers >= VIEWERS:
            return PlainTextResponse("The page is open too often.\n", 503, headers={"Retry-After": "5"})
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        self.viewers += 1
        seen: dict[str, str] = {}
        try:
            yield "retry: 1000\n\n"
            while not self.stopping.is_set():
                sections = self._sections
                for name, text in sections.items():
                    if seen.get(name) != text:
                        yield f"event: {name}\ndata: {text}\n\n"
                seen = sections
                if not await self._news(sections):
                    yield ": still here\n\n"
        finally:
            self.viewers -= 1

    async def _news(self, sections: dict[str, str]) -> bool:
        """Wait until there are other sections than these, or the end; False when neither came for a while."""
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self.stopping.is_set() or self._sections is not sections),
                    KEEP_ALIVE,
                )
            except TimeoutError:
                return False
        return True

    async def stop(self) -> None:
        """End every event stream."""
        self.stopping.set()
        async with self._changed:
            self._changed.notify_all()

    async def watch(self) -> None:
        """Look at the files again and again while somebody views the page."""
        while not self.stopping.is_set():
            if self.viewers:
                try:
                    sections = await asyncio.to_thread(self._overview.look, dict(self._health), now())
                    await self._publish({name: json.dumps(value) for name, value in sections.items()})
                except Exception:
                    log.exception("page.look-failed", "A look at the logs failed.")
                    await asyncio.sleep(5)
            await asyncio.sleep(LOOK)

    async def _publish(self, sections: dict[str, str]) -> None:
        if sections != self._sections:
            self._sections = sections
            async with self._changed:
                self._changed.notify_all()

    async def ask(self) -> None:
        """Ask every service's port again and again while somebody views the page."""
        async with httpx.AsyncClient(trust_env=False, timeout=ASK, verify=False) as client:
            while not self.stopping.is_set():
                if self.viewers:
                    stack = json.loads(self._sections.get("stack", '{"services": []}'))
                    ports = {one["port"] for one in stack["services"] if isinstance(one["port"], int)}
                    ports |= {self.settings.websocket_port}
                    answers = await asyncio.gather(*(_asked(client, port) for port in ports))
                    self._health = dict(zip(ports, answers, strict=True))
                await asyncio.sleep(ASK if self._health else LOOK)

    def close(self) -> None:
        self._overview.close()


async def _asked(client: httpx.AsyncClient, port: int) -> dict[str, Any]:
    """What a local port answers to GET /health; any HTTP answer shows that it lives."""
    try:
        answer = await client.get(f"http://127.0.0.1:{port}/health")
    except httpx.HTTPError:
        return {"answers": False}
    found: dict[str, Any] = {"answers": True, "status": answer.status_code}
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        calls = body.get("calls")
        found |= {"live_calls": body.get("live_calls"), "public_url": body.get("public_url")}
        found["calls"] = [one for one in calls if isinstance(one, dict)] if isinstance(calls, list) else []
    return found


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours end the event streams first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Serve the page until SIGTERM or SIGINT."""
    page = Page(settings)
    server = _Server(
        uvicorn.Config(
            Guard(Starlette(routes=page.routes()), settings.webapp_port),
            host="127.0.0.1",
            port=settings.webapp_port,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )
    loop = asyncio.get_running_loop()
    background = [loop.create_task(page.watch()), loop.create_task(page.ask())]

    def on_signal() -> None:
        background.append(loop.create_task(page.stop()))
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    log.success("service.started", f"The page is at http://127.0.0.1:{settings.webapp_port}/.")
    try:
        await server.serve()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        page.close()


def main() -> None:
    """`python -m ops.apps.webapp`: settings come from the environment alone."""
    settings = Settings.load(Path.cwd(), files=False)
    journal.setup("webapp", settings.logs, level=settings.log_level, secrets=settings.secrets)
    try:
        asyncio.run(serve(settings))
    finally:
        journal.close()


if __name__ == "__main__":
    main()
