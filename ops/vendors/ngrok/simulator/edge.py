"""The public side of a tunnel: takes HTTP requests and websockets, and really forwards them.

The public Host is kept, `X-Forwarded-For`, `-Proto` and `-Host` are ngrok's own (what the client sent under
these names is dropped), bodies stream in both directions, an upgrade becomes a plain pipe.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ops.journal.write import logger
from ops.vendors.ngrok.simulator import errors, http1
from ops.vendors.ngrok.simulator.capture import KEPT, Exchange, Meter, keep
from ops.vendors.ngrok.simulator.faults import Faults
from ops.vendors.ngrok.simulator.http1 import BadMessage, Head
from ops.vendors.ngrok.simulator.pipe import cancelled, pipe

log = logger(__name__)
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 60.0
HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "te", "upgrade")
FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded")


class Edge:
    """One tunnel: a listening socket, the local port behind it, and what went through."""

    def __init__(self, name: str, upstream: tuple[str, int], faults: Faults, *, inspect: bool = True) -> None:
        self.name = name
        self.inspect = inspect
        self.upstream = upstream
        self.faults = faults
        self.port = 0
        self.offline = False
        self.connections = Meter()
        self.requests = Meter()
        self.captured: deque[Exchange] = deque(maxlen=KEPT)
        self._server: asyncio.Server | None = None
        self._retired: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self, port: int) -> None:
        """Listen on loopback; a port of 0 takes any free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=http1.HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def move(self) -> None:
        """Come back under another address; who still asks at the old one hears that it is offline."""
        assert self._server is not None
        self._retired.append(self._server)
        await self.open(0)

    async def close(self) -> None:
        """Stop listening and end what is still passing through."""
        for server in [*self._retired, *([self._server] if self._server else [])]:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        began = time.monotonic()
        self.connections.begin()
        local = writer.get_extra_info("sockname")[1]
        try:
            await _Client(self, reader, writer, local).serve()
        except (ConnectionError, asyncio.CancelledError, TimeoutError):
            pass
        finally:
            self.connections.end(time.monotonic(), time.monotonic() - began)
            self._tasks.discard(task)
            writer.close()

    def exchange(self, head: Head, remote: str) -> Exchange:
        """A new entry of the inspector, newest first."""
        entry = Exchange(f"airt_{next(self._numbers):08d}", self.name, remote, datetime.now(UTC), head)
        if self.inspect:
            self.captured.appendleft(entry)
        return entry

    async def replay(self, entry: Exchange) -> None:
        """Send a captured request to the local port once more, through this edge."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = entry.request.without(("connection", "transfer-encoding", "content-length"))
        length = ("Content-Length", str(len(entry.request_body)))
        writer.write(head.plus(("Connection", "close"), length).encode() + entry.request_body)
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                while await reader.read(http1.PIECE):
                    pass
        writer.close()


class _Client:
    """One connection at the edge, request after request."""

    def __init__(
        self, edge: Edge, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, local: int
    ) -> None:
        self.edge, self.reader, self.writer, self.local = edge, reader, writer, local
        self.remote = writer.get_extra_info("peername")[0]

    async def serve(self) -> None:
        first = b""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    head = await http1.read_head(self.reader, "request", first)
                if head is None:
                    return
                following = await self._one(head)
            except BadMessage as bad:
                text = f"{bad}\n".encode()
                reason = "Request Header Fields Too Large" if bad.status == 431 else "Bad Request"
                refusal = http1.response(
                    f"{bad.status} {reason}", "text/plain", text, ("Connection", "close")
                )
                self.writer.write(refusal)
                with suppress(ConnectionError):
                    await self.writer.drain()
                return
            if following is None:
                return
            async with asyncio.timeout(IDLE_SECONDS):
                first = await following
            if not first:
                return

    async def _one(self, head: Head) -> asyncio.Task[bytes] | None:
        """Forward one request; the task that reads on, or None when the connection is done."""
        edge = self.edge
        entry = edge.exchange(head, self.remote)
        edge.requests.begin()
        began = time.monotonic()
        try:
            refusal = await self._refusal(head)
            if refusal is not None:
                entry.response = _head_of(refusal)
                self.writer.write(refusal)
                await self.writer.drain()
                return None
            return await self._forward(head, entry)
        finally:
            entry.seconds = time.monotonic() - began
            edge.requests.end(time.monotonic(), entry.seconds)
            log.debug(
                "edge.request", method=head.method, target=head.target.split("?")[0],
                status=entry.response.status if entry.response else None, ms=round(entry.seconds * 1000),
            )  # fmt: skip

    async def _refusal(self, head: Head) -> bytes | None:
        edge = self.edge
        host = head.get("host")
        known = {f"{name}:{edge.port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        if edge.offline or self.local != edge.port or host.lower() not in known:
            return errors.page("ERR_NGROK_3200", host=host)
        fault = edge.faults.take("request")
        if fault is None:
            return None
        if fault.fault.name == "delay":
            await asyncio.sleep(fault.numbers["seconds"])
            return None
        code = {
            "offline": "ERR_NGROK_3200", "rate-limit": "ERR_NGROK_702",
            "bad-gateway": "ERR_NGROK_3004", "refuse": "ERR_NGROK_8012",
        }[fault.fault.name]  # fmt: skip
        return errors.page(code, host=host, upstream=self._upstream, reason="asked for by a fault")

    @property
    def _upstream(self) -> str:
        return f"http://{self.edge.upstream[0]}:{self.edge.upstream[1]}"

    async def _forward(self, head: Head, entry: Exchange) -> asyncio.Task[bytes] | None:
        upgrading = "upgrade" in head.words("connection") and bool(head.get("upgrade"))
        how, length = http1.framing(head)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                up_reader, up_writer = await asyncio.open_connection(
                    *self.edge.upstream, limit=http1.HEAD_LIMIT
                )
        except (OSError, TimeoutError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
            self._answer(
                entry, errors.page("ERR_NGROK_8012", upstream=self._upstream, reason=reason or "timed out")
            )
            return None
        sending = asyncio.create_task(self._send(head, upgrading, how, length, up_writer, entry))
        try:
            try:
                answer = await self._final_head(up_reader)
            except (BadMessage, ConnectionError):
                answer = None
            if answer is None:
                self._answer(entry, errors.page("ERR_NGROK_3004"))
                return None
            entry.response = answer
            if upgrading and answer.status == 101:
                await sending
                self.writer.write(answer.encode())
                await pipe(self.reader, self.writer, up_reader, up_writer, self.edge.faults.take("tunnel"))
                return None
            return await self._respond(head, answer, entry, up_reader, sending)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, BadMessage):
                await sending
            up_writer.close()

    def _answer(self, entry: Exchange, answer: bytes) -> None:
        entry.response = _head_of(answer)
        self.writer.write(answer)

    async def _send(
        self,
        head: Head,
        upgrading: bool,
        how: http1.Framing,
        length: int,
        up_writer: asyncio.StreamWriter,
        entry: Exchange,
    ) -> None:
        passed = head.without((*HOP_BY_HOP, *head.words("connection"), *FORWARDED))
        passed = passed.plus(
            ("X-Forwarded-For", self.remote),
            ("X-Forwarded-Host", head.get("host")),
            ("X-Forwarded-Proto", urlsplit(self.edge.public_url).scheme),
            *((("Connection", "Upgrade"), ("Upgrade", head.get("upgrade"))) if upgrading else ()),
            *(() if upgrading else (("Connection", "close"),)),
        )
        up_writer.write(passed.encode())
        async for piece in http1.body(self.reader, how, length):
            keep(entry.request_body, piece)
            up_writer.write(piece)
            await up_writer.drain()

    async def _final_head(self, up_reader: asyncio.StreamReader) -> Head | None:
        while (answer := await http1.read_head(up_reader, "response")) is not None:
            if answer.status == 101 or answer.status >= 200:
                return answer
            self.writer.write(answer.encode())  # 100 Continue, 103 Early Hints
        return None

    async def _respond(
        self,
        head: Head,
        answer: Head,
        entry: Exchange,
        up_reader: asyncio.StreamReader,
        sending: asyncio.Task[None],
    ) -> asyncio.Task[bytes] | None:
        how, length = http1.framing(answer, response_to=head.method)
        lasting = (
            how != "close" and "close" not in head.words("connection") and head.start.endswith("HTTP/1.1")
        )
        passed = answer.without(("connection", "keep-alive"))
        self.writer.write(passed.plus(("Connection", "keep-alive" if lasting else "close")).encode())

        async def copy() -> None:
            async for piece in http1.body(up_reader, how, length):
                keep(entry.response_body, piece)
                self.writer.write(piece)
                await self.writer.drain()
            await self.writer.drain()

        if not sending.done():  # the answer came before the request was complete
            await copy()
            return None
        copying, reading = asyncio.create_task(copy()), asyncio.create_task(self.reader.read(1))
        goes_on = False
        try:
            await asyncio.wait((copying, reading), return_when=asyncio.FIRST_COMPLETED)
            client_left = reading.done() and not reading.result()
            if copying.done() or not client_left:
                await copying
                goes_on = lasting
        except BadMessage:
            self.writer.transport.abort()  # a cut answer must not look complete
        finally:
            await cancelled(copying, *(() if goes_on else (reading,)))
        return reading if goes_on else None


def _head_of(answer: bytes) -> Head:
    start, *lines = answer.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
    return Head(
        start, tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    )
