"""Service: one supervised program as data; and the table of what runs, built in or from ops.toml."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the supervisor knows services, not settings: it stays small
    from ops.config import Settings

Probe = Literal["http", "tcp", "log", "command", "alive"]
Restart = Literal["always", "on-failure", "never"]


@dataclass(frozen=True)
class Ready:
    """When a service counts as ready: an HTTP path that answers 200 (and, if given, a body that
    contains `contains`), its socket listens, a line of its output matches, a command exits 0, or
    it merely lives. The socket that answers must belong to the service's own process tree."""

    probe: Probe = "tcp"
    argument: str = ""
    contains: str = ""


@dataclass(frozen=True)
class Service:
    """One program: what to run, where it listens, when it is ready, what it waits for, how it stops.

    `ports[0]` is the port that `ready` asks; `env` is all that the program gets beside a minimal
    environment. Seconds: `grace` until SIGKILL, `stable` until a start counts as good, `silence` without
    any answer until it is started again.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    ports: tuple[int, ...] = ()
    ready: Ready = Ready()
    liveness: Ready | None = None  # asked while it runs; None: the same as `ready`
    after: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop_signal: str = "SIGTERM"
    grace: float = 10.0
    restart: Restart = "always"
    stable: float = 10.0
    silence: float = 10.0
    drains: bool = False  # holds live calls: /health says how many, SIGTERM drains

    @property
    def port(self) -> int | None:
        return self.ports[0] if self.ports else None


_TWILIO = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "TWILIO_AGENT_NUMBER")
_TWILIO_REST = ("TWILIO_API_URL", "TWILIO_API_KEY", "TWILIO_API_SECRET")
_MODEL = (
    "OPENAI_API_KEY",
    "OPENAI_MODEL",
    "OPENAI_VOICE",
    "OPENAI_TRANSCRIPTION_MODEL",
    "OPENAI_INSTRUCTIONS",
    "OPENAI_REALTIME_URL",
)
_PLACES = (
    "WEBAPP_PORT", "WEBSOCKET_PORT", "WEBSOCKET_ADDRESS", "NGROK_PORT", "NGROK_API_URL", "PUBLIC_URL",
    "SIMULATOR_PORT", "BRIDGE_NAME",
)  # fmt: skip
_COMMON = ("LOG_LEVEL", "DEBUG", "OPS_ENV")
_CAPS = (
    "MAX_LIVE_CALLS", "MAX_SIGNED_CALLS_PER_HOUR", "MAX_SECONDS_PER_CALL", "MAX_DOLLARS_PER_CALL",
    "MAX_UNAUTHENTICATED_PER_ADDRESS", "ALLOWED_NUMBERS",
)  # fmt: skip
_BRIDGE = ("WEBSOCKET_LIBRARY", "WEBSOCKET_WORKERS")
_TIMES = ("TIMEOUT_WEBSOCKET_CONNECTION", "RETRY_INTERVAL", "MAX_RETRIES_WEBSOCKET")


def table(settings: Settings) -> tuple[Service, ...]:
    """The services of this project in no particular order: the user's own, or the built-in stack.

    Raises SettingsError with every fault of `[services.*]` in ops.toml.
    """
    if not settings.table.get("services"):
        return builtin(settings)
    from dotenv import dotenv_values

    from ops.errors import SettingsError
    from ops.own_stack import own_stack

    def read_env(path: Path) -> dict[str, str]:
        with path.open(encoding="utf-8-sig") as file:
            found = dotenv_values(stream=file, interpolate=False)
        return {name: text for name, text in found.items() if text is not None}

    common = settings.environment((*_COMMON, "PUBLIC_URL"))
    services, faults = own_stack(settings.table, settings.root, read_env, common)
    if faults:
        raise SettingsError(faults, settings.vendors)
    return services


def builtin(settings: Settings) -> tuple[Service, ...]:
    """The built-in stack: bridge, page, tunnel, and a simulator for each vendor that is simulated."""
    services = [_websocket_server(settings), _webapp(settings)]
    if settings.vendors["twilio"] == "simulated" and "TWILIO_API_URL" not in settings.sources:
        services.append(_twilio_simulator(settings))
    if settings.vendors["openai"] == "simulated" and "OPENAI_REALTIME_URL" not in settings.sources:
        services.append(_openai_simulator(settings))
    if settings.public_url is None and "NGROK_API_URL" not in settings.sources:
        live = settings.vendors["ngrok"] == "live"
        services.append(_ngrok(settings) if live else _ngrok_simulator(settings, settings.websocket_port))
    return tuple(services)


def stand_ins(settings: Settings, forward: int | None = None) -> dict[str, Service]:
    """Every vendor's simulator by the vendor's name, whatever stack is run; the tunnel leads to `forward`."""
    return {
        "twilio": _twilio_simulator(settings),
        "openai": _openai_simulator(settings),
        "ngrok": _ngrok_simulator(settings, forward or settings.websocket_port),
    }


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _websocket_server(settings: Settings) -> Service:
    return Service(
        name="websocket-server",
        argv=_python("ops.apps.keeper"),
        cwd=settings.root,
        ports=(settings.websocket_port,),
        ready=Ready("http", "/health"),
        after=() if settings.public_url else ("ngrok",),
        env=settings.environment(
            (*_TWILIO, *_TWILIO_REST, *_MODEL, *_PLACES, *_COMMON, *_CAPS, *_BRIDGE, *_TIMES, "RECORD_CALLS")
        ),
        drains=True,
    )


def _webapp(settings: Settings) -> Service:
    return Service(
        name="webapp",
        argv=_python("ops.apps.webapp"),
        cwd=settings.root,
        ports=(settings.webapp_port,),
        ready=Ready("http", "/health"),
        env=settings.environment((*_PLACES, *_COMMON, "OPENAI_MODEL", "OPENAI_VOICE", "OPENAI_INSTRUCTIONS")),
    )


def _ngrok(settings: Settings) -> Service:
    domain = (f"--url={settings.ngrok_domain}",) if settings.ngrok_domain else ()
    token = settings.ngrok_auth_token
    return Service(
        name="ngrok",
        argv=(
            "ngrok", "http", str(settings.websocket_port), *domain,
            "--inspect=false", "--log=stdout", "--log-format=json",
        ),
        cwd=settings.root,
        ports=(settings.ngrok_port,),
        ready=Ready("http", "/api/tunnels", contains="public_url"),
        env={"NGROK_AUTHTOKEN": token.reveal()} if token else {},  # by environment: argv shows in ps
    )  # fmt: skip


def _ngrok_simulator(settings: Settings, forward: int) -> Service:
    edge = settings.simulator_port + 2
    return Service(
        name="ngrok",
        argv=_python(
            "ops.vendors.ngrok.simulator",
            f"--api-port={settings.ngrok_port}", f"--edge-port={edge}",
            f"--forward={forward}",
        ),
        cwd=settings.root,
        ports=(settings.ngrok_port, edge),
        ready=Ready("http", "/api/tunnels", contains="public_url"),
        env=settings.environment(_COMMON),
    )  # fmt: skip


def _twilio_simulator(settings: Settings) -> Service:
    port = settings.simulator_port
    return Service(
        name="twilio-simulator",
        argv=_python(
            "ops.vendors.twilio.simulator",
            f"--port={port}", f"--voice-url={settings.public_url or f'http://127.0.0.1:{port + 2}'}/twiml",
        ),
        cwd=settings.root,
        ports=(port,),
        ready=Ready("http", "/health"),
        env=settings.environment((*_TWILIO, *_COMMON)),
    )  # fmt: skip


def _openai_simulator(settings: Settings) -> Service:
    port = settings.simulator_port + 1
    return Service(
        name="openai-simulator",
        argv=_python("ops.vendors.openai.simulator", f"--port={port}"),
        cwd=settings.root,
        ports=(port,),
        ready=Ready("http", "/health"),
        env=settings.environment(("OPENAI_API_KEY", *_COMMON)),
    )
