"""One host's part of a deploy: asked for facts, given what it lacks, told to install and to switch.

Each step leaves the host with the old release in force or with the new one, never with a mix; the same
step again finds what is already done.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.remote import build, receiver
from ops.remote.abreast import Crew, state_of
from ops.remote.apply import Link
from ops.remote.front import Front
from ops.remote.hosts import Host
from ops.remote.outcome import HostResult
from ops.remote.screen import safe

BUNDLE = 8 << 20  # bytes; what has arrived in one is not sent again after a cut
ANSWER = 4 << 20
LOADER = """\
import sys, types
for name, source in {rows!r}:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules[{last!r}].main()
"""
Steps = tuple[Mapping[str, Any], ...]
Tell = Callable[[str, str], None]  # host, what is being done


@dataclass(frozen=True)
class Order:
    """What is asked of every host: who asks, why, and how many releases stay."""

    holder: str
    place: str  # machine and folder: a lock of the same place is that of a dead run
    reason: str
    take: bool = False
    keep: int = 5


@dataclass(frozen=True)
class Way:
    """How calls come to a host: its slots, and who tells the proxies before several hosts."""

    front: Front
    direct: Callable[[Front, str], None]


@dataclass(frozen=True)
class Cargo:
    """A release for one host: its name, its manifest and where each content lies."""

    manifest: Mapping[str, Any]
    contents: Mapping[str, bytes | Path]
    env: str | None

    @property
    def id(self) -> str:
        return str(self.manifest["id"])


def ask(link: Link, *steps: Mapping[str, Any], **common: Any) -> dict[str, Any]:
    """Have the host's Python carry out some steps of ops/remote/receiver; raises what it refuses."""
    source = program()
    word = secrets.token_hex(8)
    text = json.dumps({"base": link.host.path, "word": word, "steps": steps, **common}).encode()
    loader = f"import sys; exec(compile(sys.stdin.buffer.read({len(source)}), 'receiver', 'exec'))"
    out, err = bytearray(), bytearray()
    code = link.run(
        f'python3 -c "{loader}"',
        out=lambda data: out.extend(data[: ANSWER - len(out)]),
        err=lambda data: err.extend(data[: 65536 - len(err)]),
        stdin=source + text + b"\n",
    )
    _, mark, answer = bytes(out).partition(f"\x1e{word} ".encode())
    try:
        found = _shown(json.loads(answer)) if mark else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not ("refused" in found or isinstance(found.get("ok"), dict)):
        last = safe(err.decode("utf-8", "replace").strip().rpartition("\n")[2])[:300]
        fix = "see that the host has python3 3.11 or later: apt-get install python3 python3-venv"
        raise OpsError(f"{link.host.name}: no answer from its Python (exit {code}): {last}", fix=fix)
    if "refused" in found:
        raise OpsError(f"{link.host.name}: {found['refused']}", fix=str(found.get("fix")))
    return dict(found["ok"])


def _shown(value: Any) -> Any:
    """A host's answer, each text in it safe to show."""
    if isinstance(value, dict):
        return {safe(key): _shown(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return safe(value) if isinstance(value, str) else value


@cache
def program() -> bytes:
    """The modules of ops/remote/receiver as one text: each becomes a module again, then the last one runs."""
    package = receiver.__name__
    rows = [
        (f"{package}.{name}", inspect.getsource(importlib.import_module(f"{package}.{name}")))
        for name in receiver.MODULES
    ]
    return LOADER.format(rows=rows, last=rows[-1][0]).encode()


def cargo(
    project: build.Project, wheels: tuple[build.Wheel, ...], env: str | None, *, salt: str = ""
) -> Cargo:
    """A release as a manifest and its contents."""
    contents: dict[str, bytes | Path] = {one.sha256: one.data for one in project.files if one.link is None}
    contents |= {one.sha256: one.path for one in wheels}
    manifest = {
        "id": build.release_id(project.files, wheels, env, salt),
        "label": project.label,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": [one.row() for one in project.files],
        "wheels": [{"name": one.path.name, "sha256": one.sha256} for one in wheels],
        "lock": build.digest(project.lock) if project.lock is not None else None,
    }
    return Cargo(manifest, contents, env)


@dataclass
class Delivery:
    """A deploy, a rollback or their plan on one host, as a piece of work beside others."""

    crew: Crew
    host: Host
    work: Callable[[Link, threading.Event], dict[str, Any]]
    result: HostResult
    found: dict[str, Any]

    @staticmethod
    def of(crew: Crew, host: Host, work: Callable[[Link, threading.Event], dict[str, Any]]) -> Delivery:
        return Delivery(crew, host, work, HostResult(host.name, "skipped", reason="not begun"), {})

    def run(self, stopped: threading.Event) -> None:
        """Connect and work; what came of it is `result`, what the host said `found`."""
        started = time.monotonic()
        try:
            self.found = self.work(self.crew.link(self.host), stopped)
            self.result = HostResult(self.host.name, "ok", 0, time.monotonic() - started)
        except Stopped:
            self.result = HostResult(
                self.host.name, "interrupted", None, time.monotonic() - started,
                reason="stopped before the switch; the old release is in force",
            )  # fmt: skip
        except OpsError as error:
            reason = error.message.removeprefix(f"{self.host.name}: ")
            self.result = HostResult(
                self.host.name,
                state_of(error),
                None,
                time.monotonic() - started,
                reason=reason,
                fix=error.fix,
            )

    def signal(self, name: str) -> None:
        """The step that is being done is finished: it takes seconds, and leaves no mix behind."""


class Stopped(Exception):
    """Ctrl-C between two steps."""


def ship(
    link: Link, stopped: threading.Event, load: Cargo, order: Order, tell: Tell, way: Way | None = None
) -> dict[str, Any]:
    """Bring a release onto the host and put it in force; with `way`, in a slot that is proven first."""
    name = link.host.name
    wanted = {"do": "missing", "hashes": list(load.contents)}
    looking = [way.front.looking(load.id)] if way else []
    with _locked(link, order, wanted, *looking, {"do": "facts"}) as (mine, lacks):
        tell(name, f"release {load.id}")
        sent = 0
        for packed in _bundles(load, lacks["missing"]):
            _go_on(stopped)
            sent += len(packed)
            tell(name, f"sending {len(packed) / 1e6:.1f} MB")
            bundle = f"incoming-{secrets.token_hex(8)}.tar"
            link.put(io.BytesIO(packed), f"{link.host.path}/{bundle}")
            ask(link, {"do": "absorb", "bundle": bundle}, **mine)
        _go_on(stopped)
        tell(name, "installing")
        install = {"do": "install", "manifest": load.manifest, "env": load.env}
        last = ({"do": "prune", "keep": order.keep}, {"do": "unlock"})
        switch = {"do": "switch", "id": load.id}
        told = _switched(link, mine, way, lacks, load.id, (install,), switch, last, deep=True)
    tell(name, f"{load.id} is in force")
    return {**told, "sent_bytes": sent}


def _switched(
    link: Link, mine: Mapping[str, Any], way: Way | None, found: Mapping[str, Any], release: str,
    first: Steps, switch: Mapping[str, Any], last: Steps, *, deep: bool,
) -> dict[str, Any]:  # fmt: skip
    """The steps from a release that has arrived to one in force: one request, which the host carries out
    to its end also when the link is cut. Proxies on other hosts are told between two requests."""
    if way is None:
        return ask(link, *first, switch, *last, **mine)
    slot = found["slot"]
    if slot is None:
        busy = ", ".join(f"{name} {told}" for name, told in found["slots"].items())
        fix = "wait for calls to end; at worst `systemctl kill -s KILL trunkline@SLOT` ends them"
        raise OpsError(f"{link.host.name}: every slot still has calls: {safe(busy)}.", fix=fix)
    front = way.front
    begin = (*first, front.starting(release, slot, found["base"], deep=deep), {**switch, "slot": slot})
    end = (front.draining(), *last)
    if not front.proxies:
        return ask(link, *begin, front.balancing(slot), *end, **mine) | {"slot": slot}
    told = ask(link, *begin, **mine)
    try:
        way.direct(front, slot)
    except OpsError:
        if (before := told["slot_from"]) not in (None, slot):
            with suppress(OpsError):  # a proxy that was told already; of none it is sure, so both slots stay
                way.direct(front, before)
            ask(link, {"do": "return", "id": told["from"], "slot": before}, **mine)
        raise
    return told | ask(link, *end, **mine) | {"slot": slot}


def direct(link: Link, front: Front, slot: str, order: Order) -> None:
    """Have a proxy host lead new calls to this slot."""
    with _locked(link, order, {"do": "weights"}) as (mine, found):
        ask(link, front.balancing(slot, found["weights"]), {"do": "unlock"}, **mine)


def plan(link: Link, load: Cargo, order: Order, way: Way | None = None) -> dict[str, Any]:
    """What `ship` would do, asked without changing anything."""
    looking = [way.front.looking(load.id)] if way else []
    facts = ask(link, {"do": "facts"}, {"do": "missing", "hashes": list(load.contents)}, *looking)
    missing = facts["missing"]
    slots = {key: facts[key] for key in ("slot", "starts", "drains", "slots")} if way else {}
    proxies = {"proxies": [one.name for one in way.front.proxies] or [link.host.name]} if way else {}
    return {
        "from": facts["current"], "to": load.id, "files_to_send": len(missing),
        "bytes_to_send": sum(_size(load.contents[one]) for one in missing), "keep": order.keep,
        "base": facts["base"], "lock": facts["lock"] and facts["lock"].get("holder"), **slots, **proxies,
    }  # fmt: skip


def go_back(
    link: Link, stopped: threading.Event, order: Order, *, to: str | None, dry: bool, way: Way | None = None
) -> dict[str, Any]:
    """Put the release before in force again; the one in force is marked bad. What was proven once is not
    proven again, so that this takes seconds."""
    looking = [way.front.looking(to), {"do": "facts"}] if way else []
    with _locked(link, order, {"do": "back", "to": to}, *looking) as (mine, found):
        _go_on(stopped)
        if dry:
            return {key: found[key] for key in ("from", "to")} | ask(link, {"do": "unlock"}, **mine)
        switch = {"do": "rollback", "to": found["to"]}
        return _switched(link, mine, way, found, found["to"], (), switch, ({"do": "unlock"},), deep=False)


@contextmanager
def _locked(
    link: Link, order: Order, *steps: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The host's deploy lock: what every request under it carries, and what the first steps gave.

    The last request gives it back by itself; only after a failure it is asked for here, and
    what failed in its slot is marked bad. Where the link broke nobody asks, and nothing is marked.
    """
    mine = {"token": secrets.token_hex(16), "holder": order.holder, "place": order.place}
    mine |= {"reason": order.reason}
    told = ask(link, {"do": "lock", "take": order.take}, *steps, **mine)
    try:
        yield mine, told
    except BaseException:
        with suppress(OpsError):
            ask(link, {"do": "condemn"}, {"do": "unlock"}, **mine)
        raise


def _bundles(load: Cargo, missing: list[str]) -> Iterator[bytes]:
    """What the host lacks, in archives of a few megabytes."""
    wanted = [one for one in missing if one in load.contents]
    part: list[bytes] = []
    for data in (_read(load.contents[one]) for one in wanted):
        part.append(data)
        if sum(map(len, part)) > BUNDLE:
            yield build.bundle(part)
            part = []
    if part:
        yield build.bundle(part)


def _go_on(stopped: threading.Event) -> None:
    if stopped.is_set():
        raise Stopped


def _read(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
