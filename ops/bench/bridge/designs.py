"""The bridges that are measured: ours with all its features on, and reference relays.

Each is a program of its own, started on one core, told its port and the model's address. Ours gets
what its service gets in the stack; like every other it learns by its environment whom to trust.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ops.bench.answers import serves, until
from ops.bench.bridge.phone import Door
from ops.bench.bridge.result import OURS, RARE_MARKS
from ops.bench.stage import Stage, cpu_seconds, free_ports, own_kib, pss_kib, waited_seconds
from ops.config import Settings
from ops.errors import OpsError
from ops.processes import procfs
from ops.processes.environment import for_service, minimal
from ops.services import builtin

UP = 15.0  # seconds in which a bridge must answer
RELAYS = Path(__file__).parent / "relays"
# The bridge without its compiled lane, as it runs where there is no C compiler.
NO_LANE = (
    "import runpy; from ops.apps.transports import native; native.Lane = None; "
    "runpy.run_module('ops.apps.bridge', run_name='__main__')"
)
OUR_MARKS = 10  # frames of 20 ms for each mark of ours
NO_CAPS = {"MAX_LIVE_CALLS": "100000", "MAX_SIGNED_CALLS_PER_HOUR": "1000000"}


@dataclass(frozen=True)
class Scene:
    """Where a bridge is started: its folder, its port, the model's URL, what to trust."""

    folder: Path
    port: int
    model: str
    trusted: Path | None

    @property
    def trust(self) -> dict[str, str]:
        """How programs are told to trust the model's certificate: Python's and Node's own way."""
        if self.trusted is None:
            return {}
        return {"SSL_CERT_FILE": str(self.trusted), "NODE_EXTRA_CA_CERTS": str(self.trusted)}


@dataclass(frozen=True)
class Way:
    """How one design is run, and how a call gets in."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    door: Door
    answers: Callable[[], bool]


@dataclass(frozen=True)
class Design:
    """One kind of bridge; `version` is None where it is not installed. One `aside`, a variant, is measured
    only where it is asked for by name."""

    name: str
    version: str | None
    way: Callable[[Scene], Way]
    aside: bool = False


@dataclass(frozen=True)
class Running:
    """A started bridge."""

    door: Door
    pid: int

    @property
    def pids(self) -> set[int]:
        """Its whole process tree."""
        return {self.pid, *procfs.descendants([self.pid], procfs.all_stats())}

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return sum(map(cpu_seconds, self.pids))

    @property
    def waited(self) -> float:
        """Seconds that it was ready to run and had no processor, so far."""
        return sum(map(waited_seconds, self.pids))

    @property
    def pss_kib(self) -> float:
        """Its memory, with its part of what programs share."""
        return sum(map(pss_kib, self.pids))

    @property
    def own_kib(self) -> float:
        """The memory that it has made itself: what programs share, and no more when they end, is left out."""
        return sum(map(own_kib, self.pids))


def designs(folder: Path, found: Mapping[str, str]) -> tuple[Design, ...]:
    """All of them; `found` are the packages installed in `folder`, by version."""
    fastapi = (
        f"{found['fastapi']}, uvicorn {found['uvicorn']}" if {"fastapi", "uvicorn"} <= set(found) else None
    )
    node = shutil.which("node")
    ws = found.get("ws") if node else None
    return (
        Design(OURS, "this checkout", _ours),
        Design("node-ws", ws, lambda scene: _node(scene, node or "", folder)),
        Design("fastapi", fastapi, lambda scene: _python(scene, "fastapi", str(folder / "venv/bin/python"))),
        Design(
            "websockets",
            _own_version("websockets"),
            lambda scene: _python(scene, "websockets", sys.executable),
        ),
        Design("without-lane", "this checkout", _without_lane, aside=True),
        Design("two-workers", "this checkout", _two_workers, aside=True),
        Design(RARE_MARKS, ws, lambda scene: _node(scene, node or "", folder, OUR_MARKS), aside=True),
    )


@contextmanager
def running(
    stage: Stage, design: Design, model_port: int, trusted: Path | None, core: int | None
) -> Iterator[Running]:
    """The bridge, started anew on this core, until it answers; afterwards nothing of it is left."""
    scheme = "ws" if trusted is None else "wss"
    folder = stage.place()
    scene = Scene(folder, free_ports(1)[0], f"{scheme}://localhost:{model_port}/v1/realtime", trusted)
    way = design.way(scene)
    try:
        with on_core(core):
            program = stage.launch(way.argv, folder, {**way.environment, **scene.trust, **stage.mark})
        if (
            until(lambda: way.answers() or program.poll() is not None, UP) is None
            or program.poll() is not None
        ):
            raise OpsError(
                f"{design.name} has not come up: {said(folder)}", fix="start it alone and read its output"
            )
        yield Running(way.door, program.pid)
    finally:
        stage.end_all()
        shutil.rmtree(folder, ignore_errors=True)


def said(folder: Path) -> str:
    """The last words of a program that was started in this folder."""
    return (folder / "output.txt").read_text("utf-8", "replace")[-400:]


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started within runs on this core alone; None: on any."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def our_settings(scene: Scene, **more: str) -> Settings:
    """What our bridge is told: credentials of the moment, the model's address, everything else as it is."""
    variables = {
        "TWILIO_ACCOUNT_SID": f"AC{secrets.token_hex(16)}", "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "OPENAI_API_KEY": f"sk-{secrets.token_hex(16)}", "OPENAI_REALTIME_URL": scene.model,
        "PUBLIC_URL": f"http://127.0.0.1:{scene.port}", "WEBSOCKET_PORT": str(scene.port), **NO_CAPS, **more,
    }  # fmt: skip
    return Settings.load(scene.folder, variables)


def _ours(scene: Scene) -> Way:
    return our_way(our_settings(scene))


def _without_lane(scene: Scene) -> Way:
    return replace(_ours(scene), argv=(sys.executable, "-c", NO_LANE))


def _two_workers(scene: Scene) -> Way:
    return our_way(our_settings(scene, WEBSOCKET_WORKERS="2"))


def our_way(settings: Settings) -> Way:
    """Our bridge as the stack runs it."""
    service = next(one for one in builtin(settings) if one.name == "websocket-server")
    port, token = settings.websocket_port, settings.twilio_auth_token
    door = Door(
        webhook=f"{settings.public_url}/twiml",
        account=settings.twilio_account_sid or "",
        token=token.reveal() if token else "",
    )
    return Way(service.argv, for_service(service, {}), door, lambda: serves(port, "/health"))


def _python(scene: Scene, kind: str, python: str) -> Way:
    argv = (python, str(RELAYS / "relay.py"), kind, str(scene.port), scene.model)
    return Way(argv, minimal(), Door(_stream(scene)), lambda: _listens(scene.port))


def _node(scene: Scene, node: str, folder: Path, frames_a_mark: int = 1) -> Way:
    environment = {**minimal(), "TRUNKLINE_BENCH_PACKAGES": str(folder / "npm" / "package.json")}
    argv = (node, str(RELAYS / "relay_ws.mjs"), str(scene.port), scene.model, str(frames_a_mark))
    return Way(argv, environment, Door(_stream(scene)), lambda: _listens(scene.port))


def _stream(scene: Scene) -> str:
    return f"ws://127.0.0.1:{scene.port}/media-stream"


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _own_version(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)
