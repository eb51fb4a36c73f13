"""Every listening TCP socket of this machine, as the kernel tells it: sock_diag(7), else /proc/net/tcp.

The kernel walks its whole table of connections for each look into /proc/net/tcp, also for the few that
listen: milliseconds, and a start looks dozens of times. Asked over netlink for those that listen alone,
it answers in a hundredth of that.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NETLINK, _SOCK_DIAG = 16, 4  # AF_NETLINK, NETLINK_SOCK_DIAG
_BY_FAMILY, _DONE, _ERROR = 20, 3, 2  # SOCK_DIAG_BY_FAMILY, NLMSG_DONE, NLMSG_ERROR
_REQUEST, _DUMP = 0x1, 0x300
_LISTEN = 10  # TCP_LISTEN, and `0A` in /proc
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ASK = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states
_TOLD = struct.Struct(
    "=BBxx2s2x16s16x12x12xII"
)  # struct inet_diag_msg: family, state, port, source, uid, inode
_PROC: dict[int, str] = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}


class Listening(NamedTuple):
    """One listening socket; `address` is of 4 or 16 bytes, in network order."""

    address: bytes
    port: int
    inode: int
    uid: int


def listening() -> Iterator[Listening]:
    """All of them, IPv4 first."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            yield from by_netlink(family)
        except OSError:  # an old kernel, or a sandbox that lets nobody ask
            yield from by_proc(family)


def by_netlink(family: int) -> list[Listening]:
    """Those of one address family. Raises OSError where the kernel does not answer."""
    found: list[Listening] = []
    with socket.socket(_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        asked = _ASK.pack(family, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
        size = _HEADER.size + len(asked)
        netlink.sendto(_HEADER.pack(size, _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + asked, (0, 0))
        while True:
            data = netlink.recv(1 << 16)
            at = 0
            while at < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind == _DONE:
                    return found
                if kind == _ERROR or length < _HEADER.size:
                    raise OSError("the kernel tells no sockets")
                told, state, port, source, uid, inode = _TOLD.unpack_from(data, at + _HEADER.size)
                if told == family and state == _LISTEN:
                    address = source[:4] if family == socket.AF_INET else source
                    found.append(Listening(address, int.from_bytes(port, "big"), inode, uid))
                at += (length + 3) & ~3


def by_proc(family: int) -> Iterator[Listening]:
    """Those of one address family, read from /proc; none where it cannot be read."""
    try:
        lines = Path(_PROC[family]).read_text("ascii").splitlines()[1:]
    except (OSError, KeyError):
        return
    for line in lines:
        fields = line.split()
        if int(fields[3], 16) == _LISTEN:
            host, _, port = fields[1].partition(":")
            words = (bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8))
            yield Listening(b"".join(words), int(port, 16), int(fields[9]), int(fields[7]))
