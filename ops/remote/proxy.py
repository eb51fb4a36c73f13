"""HAProxy in front of the slots: its settings from ops.toml, its configuration as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ops.errors import Fault

SOCKET = "/run/haproxy/trunkline.sock"
BACKEND = "bridges"
SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
ADDRESS = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)
CERTIFICATE = re.compile(r"/[A-Za-z0-9._/-]+", re.ASCII)


@dataclass(frozen=True)
class Proxy:
    """`[proxy]` of ops.toml: where it listens, with which certificate, and how long calls may go on.

    `max_calls` is the most that one slot gets; further callers wait for a moment, then get 503. Without a
    `certificate` it speaks plain HTTP, for something else in front of it.
    """

    port: int = 443
    certificate: str | None = None
    max_calls: int = 500
    drain_hours: float = 4.0


@dataclass(frozen=True)
class Server:
    """One slot as the proxy knows it. `weight` 0: it keeps its calls and gets no new ones."""

    name: str
    address: str
    port: int
    weight: int


def read(table: Mapping[str, Any]) -> tuple[Proxy | None, tuple[Fault, ...]]:
    """The proxy of ops.toml, None where there is none, and what is wrong with it."""
    rows = table.get("proxy")
    if rows is None:
        return None, ()
    known = [spec.name for spec in fields(Proxy)]
    if not isinstance(rows, Mapping):
        return None, (_fault("[proxy] is no table.", "write [proxy] and one row a value"),)
    number, hours = rows.get("max_calls", 1), rows.get("drain_hours", 1)
    wrong = {
        "port": not (type(rows.get("port", 1)) is int and 1 <= rows.get("port", 1) <= 65535),
        "certificate": not CERTIFICATE.fullmatch(str(rows.get("certificate", "/x"))),
        "max_calls": not (type(number) is int and 1 <= number <= 100_000),
        "drain_hours": not (type(hours) in (int, float) and 0.01 <= hours <= 72),
        **{key: True for key in rows if key not in known},
    }
    faults = [
        _fault(
            f"[proxy] {key[:80]!r} cannot be {str(rows.get(key))[:80]!r}.", f"known are {', '.join(known)}"
        )
        for key, is_wrong in wrong.items()
        if is_wrong
    ]
    return (None if faults else Proxy(**rows)), tuple(faults)


def configuration(
    proxy: Proxy, servers: Sequence[Server], socket: str = SOCKET, user: str = "haproxy"
) -> str:
    """The whole configuration. A call's webhook goes to the slot with the fewest connections; its stream and
    its return go to the same slot, named in their path, also when that one gets no new calls."""
    for one in servers:
        if not SERVER.fullmatch(one.name) or not ADDRESS.fullmatch(one.address):
            raise ValueError(f"expected a server's name and address, got {one.name!r} at {one.address!r}")
    tls = f" ssl crt {proxy.certificate} alpn http/1.1" if proxy.certificate else ""
    most = proxy.max_calls * max(1, sum(one.weight > 0 for one in servers))
    rows = "".join(
        f"    server {one.name} {one.address}:{one.port} maxconn {proxy.max_calls} weight {one.weight}\n"
        for one in servers
    )
    kept = "".join(
        f"    use-server {one.name} if {{ path /call/{one.name} /resume/{one.name} }}\n" for one in servers
    )
    return TEXT.format(
        socket=socket, user=user, hours=round(proxy.drain_hours * 3600), port=proxy.port, tls=tls, most=most,
        room=most + 200,
        backend=BACKEND, kept=kept, servers=rows,
    )  # fmt: skip


def _fault(message: str, fix: str) -> Fault:
    return Fault("proxy", f"ops.toml: {message}", fix, "ops.toml")


TEXT = """\
# Written by deploy: changes here are lost.
global
    log /dev/log local0
    user {user}
    group {user}
    maxconn {room}
    stats socket {socket} mode 660 level admin expose-fd listeners
    hard-stop-after {hours}s

defaults
    mode http
    log global
    option httplog
    option forwardfor
    option redispatch
    retries 3
    timeout connect 3s
    timeout queue 5s
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel {hours}s

frontend public
    bind :{port}{tls}
    maxconn {most}
    default_backend {backend}

backend {backend}
    balance leastconn
    option persist
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host health.invalid
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1
{kept}{servers}"""
