"""The bridge as a process: it holds the callers' sockets, until SIGTERM and the end of the last call.

`python -m ops.apps.bridge` alone, or with `--fd N` on the listening socket of `ops.apps.keeper`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from ops.apps import loop as event_loop
from ops.apps.carrier import Carrier
from ops.apps.listener import Take, listener
from ops.apps.notify import notify, tell_calls
from ops.apps.streams import Stream
from ops.apps.switchboard import Switchboard
from ops.apps.tickets import LIFE, SOON
from ops.apps.transports import FROM_PHONE, Socket
from ops.config import Settings
from ops.journal import write as journal
from ops.vendors.openai import wire

if TYPE_CHECKING:
    from ops.apps.workers import Workers

TICK = 1.0  # seconds: answers bear the time to the second
LAST_WORDS = 3.0  # seconds for calls that were ended at once to close their sockets

log = journal.logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain. It tells systemd when it serves, and waits to be
    told to leave, where uvicorn looks ten times a second: each look would be a waking of its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaves = asyncio.Event()

    def leave(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._leaves.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # it also sets the time that answers bear
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaves.wait(), TICK)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def drain(bridge: Switchboard, server: _Server) -> None:
    """No new calls; leave when the last one is over, or did not come back."""
    if bridge.draining:
        return
    bridge.draining = True
    notify("STOPPING=1")
    log.info("bridge.draining", f"Draining: {len(bridge.live)} calls live.", live=len(bridge.live))
    await bridge.idle.wait()
    while _any_on_the_way(bridge):
        await asyncio.sleep(0.1)
        await bridge.idle.wait()
    server.leave()


async def leave_at_once(bridge: Switchboard, server: _Server) -> None:
    """End every call, and leave when their sockets are closed: until then, who asks is told that we leave."""
    bridge.draining = True  # both orders may have come in one moment
    for call in list(bridge.live.values()):
        call.end("the bridge was told to stop now")
    with suppress(TimeoutError):
        await asyncio.wait_for(bridge.idle.wait(), LAST_WORDS)
    server.leave()


def _any_on_the_way(bridge: Switchboard) -> bool:
    """Whether a stream may yet come, or show its ticket: of a call that lost one, or has had none yet."""
    within = LIFE if bridge.opening else SOON  # a stream that is there already may still show an old one
    return bridge.any_on_the_way_back() or bridge.tickets.expected(time.monotonic(), within=within) > 0


async def orphaned(bridge: Switchboard, server: _Server) -> None:
    """The keeper is gone: free the port for the next one, and leave after the last call."""
    log.warning("bridge.orphaned", "The keeper is gone: the port is given up, the calls are finished.")
    for listening in server.servers:
        listening.close()
    await drain(bridge, server)


async def serve(settings: Settings, given: socket.socket | None = None, orders: int | None = None) -> None:
    """Serves until SIGTERM and the end of the last call; a second SIGTERM ends it at once."""
    bridge, server, carrier = public_port(settings)
    loop = asyncio.get_running_loop()
    looks = (bridge.follow_public_url(), event_loop.watch(bridge.gauges.lags), tell_calls(bridge.live))
    background = [loop.create_task(look) for look in looks]
    if not isinstance(carrier, Carrier):
        background.append(loop.create_task(carrier.run()))
        await carrier.begun.wait()  # a stream that comes at once finds a worker

    told = {"signal": 0, "keeper": 0}  # how often to stop; the same order may come both ways

    def on_stop(way: str, times: int = 1) -> None:
        told[way] += times
        leaving = leave_at_once if max(told.values()) > 1 else drain
        background.append(loop.create_task(leaving(bridge, server)))

    def on_orders(pipe: int) -> None:
        if came := os.read(pipe, 64):
            on_stop("keeper", len(came))
        else:
            loop.remove_reader(pipe)
            background.append(loop.create_task(orphaned(bridge, server)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop, "signal")
    if orders is not None:
        loop.add_reader(orders, on_orders, orders)
    event_loop.collect_seldom()
    log.success("service.started", f"The bridge listens on port {settings.websocket_port}.")
    try:
        await server.serve([given] if given is not None else None)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        bridge.book.close()


def public_port(settings: Settings) -> tuple[Switchboard, _Server, Carrier | Workers]:
    """The switchboard, the server of the one port on which strangers may try, and who carries the calls."""
    bridge = Switchboard(settings)
    carrier, streams, take = _carried(bridge)
    paths = Starlette(routes=[*bridge.routes(), *streams])
    paths.router.redirect_slashes = False  # a path is right or wrong
    strangers = settings.max_unauthenticated_per_address
    server = _Server(
        uvicorn.Config(
            paths,
            host=settings.websocket_address,
            port=settings.websocket_port,
            http=listener(strangers, bridge.refused, take, bridge.door.media_path),
            ws="websockets-sansio",
            ws_max_size=FROM_PHONE,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
    )
    return bridge, server, carrier


@dataclass(frozen=True)
class Here:
    """The phone's streams, carried by this process itself."""

    bridge: Switchboard
    carrier: Carrier

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        return self.bridge.admit(peer, signatures)

    async def attend(self, socket: Socket) -> None:
        await self.carrier.attend(socket, Stream(self.bridge, socket.peer))


def _carried(bridge: Switchboard) -> tuple[Carrier | Workers, list[WebSocketRoute], Take | None]:
    """Who carries the calls, on the library of the settings, and how the phone's streams get there."""
    settings = bridge.settings
    if settings.websocket_workers > 1:
        from ops.apps.workers import Workers

        workers = Workers(bridge, wire.__name__)
        return workers, [], workers.take
    if settings.websocket_library == "picows":
        from ops.apps.transports import on_picows

        carrier = Carrier(settings, on_picows.dial, wire)
        return carrier, [], on_picows.PhoneDoor(Here(bridge, carrier)).take
    from ops.apps.transports import on_websockets

    carrier = Carrier(settings, on_websockets.dial, wire)
    stream = partial(on_websockets.stream, Here(bridge, carrier))
    return carrier, [WebSocketRoute(bridge.door.media_path, stream)], None


def main() -> None:
    """Settings come from the environment alone."""
    parser = argparse.ArgumentParser(prog="python -m ops.apps.bridge")
    parser.add_argument("--fd", type=int, help="a listening socket to serve on, in place of one of our own")
    parser.add_argument("--orders", type=int, help="a pipe: a byte to stop, its end when the keeper is gone")
    options = parser.parse_args()
    for handle in (options.fd, options.orders):
        if handle is not None:
            os.set_inheritable(handle, False)  # a worker that had the port would keep it from others
    given = socket.socket(fileno=options.fd) if options.fd is not None else None
    settings = Settings.load(Path.cwd(), files=False)
    journal.setup("websocket-server", settings.logs, level=settings.log_level, secrets=settings.secrets)
    try:
        if settings.twilio_account_sid is None or settings.twilio_auth_token is None:
            log.error(
                "service.failed",
                "Expected TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN in the environment: without them no "
                "signature can be checked. Start it with inv start, or set both.",
            )
            sys.exit(2)
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, given, options.orders))
    finally:
        journal.close()


if __name__ == "__main__":
    main()
