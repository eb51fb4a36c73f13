"""Tells systemd how the bridge stands: one datagram (sd_notify(3)); nothing where nobody asked for it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sized
from contextlib import suppress

LOOK = 0.5  # seconds between two looks at the number of calls


def notify(*lines: str) -> None:
    """Send `READY=1`, `STOPPING=1` or `STATUS=…` to the socket in NOTIFY_SOCKET, a path or `@` and a name."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1))


async def tell_calls(live: Sized) -> None:
    """`STATUS=calls=N` whenever the number of live calls has changed."""
    told = -1
    while True:
        if len(live) != told:
            told = len(live)
            notify(f"STATUS=calls={told}")
        await asyncio.sleep(LOOK)
