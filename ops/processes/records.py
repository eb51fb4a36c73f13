"""The two run files as values: what commands ordered, and how it stands. Pure.

    wanted.json   written by commands under the stack lock, read by the supervisor; holds the
                  services' environments, so it is readable by its owner alone
    stack.json    written by the supervisor alone, read by everyone; no secrets

Reading is forgiving: a file that is truncated, of another kind or from a later version is None.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ops.processes.identity import Identity
from ops.processes.plan import Order
from ops.processes.state import Life
from ops.services import Ready, Service

WANTED = "trunkline/wanted@1"
STACK = "trunkline/stack@1"


@dataclass(frozen=True)
class Wanted:
    """What shall run. `generation` grows with every change, and comes back in `Stack.seen`."""

    generation: int
    token: str
    root: Path
    mode: str = "start"
    vendors: Mapping[str, str] = field(default_factory=dict)
    public_url: str | None = None
    most_quick_deaths: int = 5
    startup: float = 30.0
    orders: tuple[Order, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        return tuple(order.service for order in self.orders)

    def held(self, names: frozenset[str] | None = None) -> Wanted:
        """The next generation, with these services (or all) not to be started again."""
        orders = tuple(
            replace(order, held=order.held or names is None or order.service.name in names)
            for order in self.orders
        )
        return replace(self, generation=self.generation + 1, orders=orders)

    def renewed(self, names: frozenset[str]) -> Wanted:
        """The next generation, with these services to be started anew."""
        orders = tuple(
            replace(order, held=False, serial=order.serial + 1) if order.service.name in names else order
            for order in self.orders
        )
        return replace(self, generation=self.generation + 1, orders=orders)


@dataclass(frozen=True)
class Standing:
    """How one service stands: its life, its process, and what its last run said at its end."""

    name: str
    life: Life = field(default_factory=Life)
    identity: Identity | None = None
    spec: str = ""
    serial: int = 0
    since: float = 0.0  # wall clock, of the last change of state
    ports: tuple[int, ...] = ()
    url: str | None = None
    output_from: int = 0  # where this run's output begins in its .out file
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stack:
    """How the whole stands, as the supervisor last wrote it."""

    token: str
    started: float  # wall clock
    seen: int  # the generation of orders that this already carries out
    supervisor: Identity | None
    mode: str = "start"
    vendors: Mapping[str, str] = field(default_factory=dict)
    public_url: str | None = None
    lost: Mapping[str, int] = field(default_factory=dict)  # what could not be written, by kind
    services: tuple[Standing, ...] = ()

    def standing(self, name: str) -> Standing | None:
        return next((one for one in self.services if one.name == name), None)


def spec_of(service: Service, token: str) -> str:
    """A fingerprint of what its process was started with, keyed, so that it tells no secret."""
    return json.dumps(
        {
            part: hmac.new(token.encode(), repr(value).encode(), hashlib.sha256).hexdigest()[:12]
            for part, value in _started_with(service).items()
        }
    )


def spec_changes(service: Service, spec: str, token: str) -> str | None:
    """What differs from a recorded fingerprint, in words ("env OPENAI_MODEL"); None: nothing does."""
    if spec == (now := spec_of(service, token)):
        return None
    try:
        before, after = json.loads(spec), json.loads(now)
        parts = [part for part in {**after, **before} if before.get(part) != after.get(part)]
    except (ValueError, AttributeError, TypeError):
        return "how it was started is not known"
    return ", ".join(sorted(parts)) or None


def _started_with(service: Service) -> dict[str, Any]:
    parts = {"command": service.argv, "folder": str(service.cwd)}
    return parts | {f"env {name}": value for name, value in service.env.items()}


# Reading and writing as text.


def wanted_text(wanted: Wanted) -> str:
    data = {"schema": WANTED, **asdict(wanted), "root": str(wanted.root), "vendors": dict(wanted.vendors)}
    return json.dumps(data, default=_plain)


def read_wanted(text: str) -> Wanted | None:
    try:
        data = json.loads(text)
        if data.pop("schema") != WANTED:
            return None
        orders = tuple(Order(_service(o["service"]), o["serial"], o["held"]) for o in data.pop("orders"))
        return Wanted(**{**data, "root": Path(data["root"])}, orders=orders)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def stack_text(stack: Stack, iso: Mapping[float, str]) -> str:
    """`iso` gives the written form of each wall-clock time."""
    data = {
        "schema": STACK,
        "token": stack.token,
        "started": iso[stack.started],
        "started_at": stack.started,
        "seen": stack.seen,
        "mode": stack.mode,
        "vendors": dict(stack.vendors),
        "public_url": stack.public_url,
        "lost": dict(stack.lost),
        "supervisor": asdict(stack.supervisor) if stack.supervisor else None,
        "services": [_standing_out(one, iso) for one in stack.services],
    }
    return json.dumps(data, default=_plain)


def read_stack(text: str) -> Stack | None:
    try:
        data = json.loads(text)
        if data["schema"] != STACK:
            return None
        return Stack(
            token=str(data["token"]),
            started=float(data["started_at"]),
            seen=int(data["seen"]),
            supervisor=Identity(**data["supervisor"]) if data["supervisor"] else None,
            mode=data["mode"],
            vendors=dict(data["vendors"]),
            public_url=data["public_url"],
            lost=dict(data["lost"]),
            services=tuple(_standing_in(one) for one in data["services"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _service(data: dict[str, Any]) -> Service:
    ready, liveness = data.pop("ready"), data.pop("liveness")
    return Service(
        **{
            **data,
            "argv": tuple(data["argv"]),
            "cwd": Path(data["cwd"]),
            "ports": tuple(data["ports"]),
            "after": tuple(data["after"]),
        },
        ready=Ready(**ready),
        liveness=Ready(**liveness) if liveness else None,
    )


def _standing_out(one: Standing, iso: Mapping[float, str]) -> dict[str, Any]:
    life, identity = one.life, one.identity
    return {
        "name": one.name,
        "state": life.state,
        "pid": identity.pid if identity else None,
        "start_ticks": identity.start_ticks if identity else None,
        "boot_id": identity.boot_id if identity else None,
        "port": one.ports[0] if one.ports else None,
        "restarts": life.restarts,
        "since": iso[one.since],
        "url": one.url,
        "reason": life.reason,
        "last_lines": one.last_lines,
        "life": asdict(life),
        "ports": one.ports,
        "since_at": one.since,
        "spec": one.spec,
        "serial": one.serial,
        "output_from": one.output_from,
    }


def _standing_in(data: dict[str, Any]) -> Standing:
    pid = data["pid"]
    return Standing(
        name=str(data["name"]),
        life=Life(**data["life"]),
        identity=Identity(int(pid), int(data["start_ticks"]), str(data["boot_id"])) if pid else None,
        spec=str(data["spec"]),
        serial=int(data["serial"]),
        since=float(data["since_at"]),
        ports=tuple(data["ports"]),
        url=data["url"],
        output_from=int(data["output_from"]),
        last_lines=tuple(data["last_lines"]),
    )
