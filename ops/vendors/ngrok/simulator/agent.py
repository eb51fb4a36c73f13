"""The agent's API, as ngrok.com/docs/agent/api describes it, plus `/_sim/faults` for tests."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ops.journal.write import logger
from ops.vendors.faults import Armed
from ops.vendors.ngrok.simulator import capture, errors, http1
from ops.vendors.ngrok.simulator.edge import Edge
from ops.vendors.ngrok.simulator.faults import Faults, catalogue
from ops.vendors.ngrok.simulator.http1 import BadMessage, Head

log = logger(__name__)
VERSION = "3.30.0"
BODY_LIMIT = 1 << 20
_LOCAL = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)
_REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 403: "Forbidden"} | {
    404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large", 502: "Bad Gateway",
}  # fmt: skip


class Refusal(Exception):
    """An answer in the API's error shape: its own code, the HTTP status, a message and the reason."""

    def __init__(self, status: int, code: int, message: str, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.shape = {"error_code": code, "status_code": status, "msg": message, "details": {"err": reason}}


class Agent:
    """All tunnels of this agent and the API that lists, starts, stops and inspects them."""

    def __init__(self, faults: Faults, *, inspect: bool = True) -> None:
        self.faults = faults
        self.inspect = inspect
        self.edges: dict[str, Edge] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, port: int, *, tries: int = 20) -> None:
        """Listen on loopback at `port`, or, as a second agent does, at the next free one."""
        for candidate in range(port, port + tries):
            try:
                self._server = await asyncio.start_server(
                    self._accept, "127.0.0.1", candidate, limit=http1.HEAD_LIMIT
                )
            except OSError:
                if candidate == port + tries - 1:
                    raise
                continue
            self.port = self._server.sockets[0].getsockname()[1]
            return

    async def tunnel(self, name: str, host: str, port: int, edge_port: int) -> Edge:
        """Start one tunnel to host:port under 127.0.0.1:edge_port."""
        edge = Edge(name, (host, port), self.faults, inspect=self.inspect)
        await edge.open(edge_port)
        self.edges[name] = edge
        return edge

    async def close(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(edge.close() for edge in self.edges.values()))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                async with asyncio.timeout(60):
                    head = await http1.read_head(reader, "request")
                    if head is None:
                        return
                    content = await _content(head, reader)
                status, shown = await self._answer(head, content)
                lasting = "close" not in head.words("connection") and status != 413
                writer.write(_encoded(status, shown, head.method, lasting))
                await writer.drain()
                if not lasting:
                    return
        except BadMessage as bad:
            writer.write(_encoded(bad.status, {"msg": str(bad)}, "GET", False))
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, head: Head, content: bytes | None) -> tuple[int, Any]:
        if not _LOCAL.fullmatch(head.get("host")):
            return 403, {"msg": "this API answers to localhost alone"}
        if content is None:
            return 413, {"msg": f"the body is longer than {BODY_LIMIT} bytes"}
        parts = urlsplit(head.target)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        try:
            return await self._route(head.method, path, query, content)
        except Refusal as refusal:
            return refusal.status, refusal.shape

    async def _route(
        self, method: str, path: list[str], query: Mapping[str, str], content: bytes
    ) -> tuple[int, Any]:
        match method, path:
            case "GET", ["api"]:
                paths = ("tunnels", "requests/http", "status")
                return 200, {"uri": "/api", **{f"{p.split('/')[0]}_uri": f"/api/{p}" for p in paths}}
            case "GET", ["api", "tunnels"]:
                armed = self.faults.take("list")
                return 200, {
                    "tunnels": [_listed(_shown(edge), armed) for edge in self.edges.values()],
                    "uri": "/api/tunnels",
                }
            case "POST", ["api", "tunnels"]:
                return 201, _shown(await self._start(_json(content)))
            case "GET", ["api", "tunnels", name]:
                return 200, _shown(self._edge(name))
            case "DELETE", ["api", "tunnels", name]:
                await self._edge(name).close()
                del self.edges[name]
                return 204, None
            case "GET", ["api", "requests", "http"]:
                limit = query.get("limit", "50")
                if not re.fullmatch(r"\d{1,6}", limit, re.ASCII):
                    raise Refusal(400, 104, "invalid limit", f"limit must be an integer, got {limit!r}")
                return 200, capture.listing(self._captured(), int(limit), query.get("tunnel_name", ""))
            case "GET", ["api", "requests", "http", id]:
                return 200, self._exchange(id).shown()
            case "POST", ["api", "requests", "http"]:
                entry = self._exchange(str(_json(content).get("id", "")))
                await self._edge(entry.tunnel).replay(entry)
                return 204, None
            case "DELETE", ["api", "requests", "http"]:
                for edge in self.edges.values():
                    edge.captured.clear()
                return 204, None
            case "GET", ["api", "status"]:
                leg = {"region": "local", "latency": "0.1ms"}
                lost = self.faults.take("status") is not None
                session = {"legs": [] if lost else [leg]}
                return 200, {
                    "status": "reconnecting" if lost else "online",
                    "agent_version": VERSION, "session": session, "uri": "/api/status",
                }  # fmt: skip
            case _, ["_sim", "faults"]:
                return await self._faults(method, content)
            case _:
                raise Refusal(404, 100, "not found", f"{method} /{'/'.join(path)} does not exist")

    async def _start(self, asked: Mapping[str, Any]) -> Edge:
        name = str(asked.get("name") or f"tunnel-{secrets.token_hex(4)}")
        host, port = _upstream(asked.get("addr"))
        if asked.get("proto", "http") != "http":
            raise Refusal(400, 102, "invalid tunnel configuration", "only proto http is simulated")
        if name in self.edges:
            url = self.edges[name].public_url
            reason = errors.STARTUP["ERR_NGROK_334"].format(url=url) + "\n\nERR_NGROK_334\n"
            raise Refusal(502, 103, "failed to start tunnel", reason)
        return await self.tunnel(name, host, port, 0)

    async def _faults(self, method: str, content: bytes) -> tuple[int, Any]:
        if method == "DELETE":
            self.faults.clear()
            return 204, None
        if method == "POST":
            asked = dict(_json(content))
            try:
                armed = self.faults.arm(str(asked.pop("name", "")), **asked)
            except (ValueError, TypeError) as problem:
                raise Refusal(400, 102, "unknown fault", str(problem)) from None
            log.info("fault.armed", armed.fault.about, fault=armed.fault.name, times=armed.times)
            if armed.fault.where == "now" and self.faults.take("now"):
                for edge in self.edges.values():
                    await edge.move()
            return 201, armed.shown()
        known = [{"name": f.name, "about": f.about, **f.defaults} for f in catalogue().values()]
        return 200, {"catalogue": known, "armed": [armed.shown() for armed in self.faults.armed]}

    def _edge(self, name: str) -> Edge:
        if name not in self.edges:
            raise Refusal(404, 100, "tunnel not found", f"no tunnel called {name!r}")
        return self.edges[name]

    def _captured(self) -> list[capture.Exchange]:
        found = [entry for edge in self.edges.values() for entry in edge.captured]
        return sorted(found, key=lambda entry: entry.started, reverse=True)

    def _exchange(self, id: str) -> capture.Exchange:
        for entry in self._captured():
            if entry.id == id:
                return entry
        raise Refusal(404, 100, "request not found", f"no captured request {id!r}")


def _shown(edge: Edge) -> dict[str, Any]:
    now = time.monotonic()
    return {
        "name": edge.name,
        "ID": f"sim-{edge.name}",
        "uri": f"/api/tunnels/{edge.name}",
        "public_url": edge.public_url,
        "proto": "http",
        "config": {"addr": f"http://{edge.upstream[0]}:{edge.upstream[1]}", "inspect": edge.inspect},
        "metrics": {
            "conns": edge.connections.shown(now, gauge=True),
            "http": edge.requests.shown(now, gauge=False),
        },
    }


def _listed(shown: dict[str, Any], armed: Armed | None) -> dict[str, Any]:
    """A tunnel as the list shows it while a fault is armed."""
    if armed is None:
        return shown
    changes: dict[str, Any] = {"inspect": True}
    if armed.fault.name == "elsewhere":
        changes = {"addr": f"http://127.0.0.1:{int(armed.numbers['port'])}"}
    return shown | {"config": shown["config"] | changes}


def _upstream(addr: Any) -> tuple[str, int]:
    found = re.fullmatch(r"(?:http://)?(?:(localhost|127\.0\.0\.1):)?(\d{1,5})", str(addr))
    if not found or not 0 < int(found[2]) < 65536:
        raise Refusal(
            400, 102, "invalid tunnel configuration", f"addr must be a local port or address, got {addr!r}"
        )
    return "127.0.0.1", int(found[2])


def _json(content: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    raise Refusal(400, 101, "invalid request body", "the body must be a JSON object")


async def _content(head: Head, reader: asyncio.StreamReader) -> bytes | None:
    """The whole body, or None when it is too long."""
    how, length = http1.framing(head)
    if how == "chunked":
        raise BadMessage(400, "send a Content-Length")
    if length > BODY_LIMIT:
        return None
    return b"".join([piece async for piece in http1.body(reader, how, length)])


def _encoded(status: int, shown: Any, method: str, lasting: bool) -> bytes:
    content = b"" if shown is None else json.dumps(shown).encode()
    connection = ("Connection", "keep-alive" if lasting else "close")
    whole = http1.response(
        f"{status} {_REASONS.get(status, 'Error')}", "application/json", content, connection
    )
    return whole[: len(whole) - len(content)] if method == "HEAD" else whole
