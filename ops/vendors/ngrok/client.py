"""Asks the ngrok agent on this machine: which tunnels are up, and where they lead."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ops import values
from ops.config import Settings
from ops.errors import OpsError, Refused
from ops.net.http import Answer, Declined, Http, Unanswered
from ops.vendors.ngrok.codes import explain, find


@dataclass(frozen=True)
class Tunnel:
    """A tunnel: its public address, the local address it leads to, and whether it is inspected."""

    name: str
    public_url: str
    addr: str
    inspect: bool

    @property
    def port(self) -> int | None:
        """The local port it leads to; the agent writes `8081`, `localhost:8081` or a URL."""
        parts = urlsplit(
            self.addr if "://" in self.addr else f"http://localhost:{self.addr.rpartition(':')[2]}"
        )
        try:
            return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        except ValueError:
            return None


@dataclass(frozen=True)
class Session:
    """The agent's session with ngrok's service: its status (online when it is well), regions, version."""

    status: str
    regions: tuple[str, ...]
    version: str


def session(api: str, *, timeout: float = 3.0) -> Session:
    """What the agent says of its session."""
    with Http(api, timeout=timeout) as http:
        answer = http.get("/api/status")
    if answer.status >= 400:
        raise declined(answer)
    found = answer.checked().json()
    try:
        legs = (found.get("session") or {}).get("legs") or ()
        regions = tuple(str(leg.get("region")) for leg in legs)
        return Session(str(found["status"]), regions, str(found.get("agent_version", "")))
    except (KeyError, TypeError, AttributeError):
        message = f"{answer.url} answered JSON that is not a session's status."
        raise Declined(answer, message, fix="free the ngrok port: something else answers there") from None


def tunnels(api: str, *, timeout: float = 3.0) -> tuple[Tunnel, ...]:
    """The tunnels of the agent whose API stands at `api` (without `/api`)."""
    with Http(api, timeout=timeout) as http:
        answer = http.get("/api/tunnels")
    if answer.status >= 400:
        raise declined(answer)
    found = answer.checked().json()
    try:
        return tuple(_tunnel(one) for one in found["tunnels"])
    except (KeyError, TypeError, AttributeError):
        message = f"{answer.url} answered JSON that is not a list of tunnels."
        raise Declined(answer, message, fix="free the ngrok port: something else answers there") from None


def public_url(settings: Settings, *, deadline: float) -> str:
    """The origin that Twilio reaches: PUBLIC_URL, or that of the tunnel that leads to our port.

    Waits up to `deadline` seconds for the agent and its tunnel. Raises `Unanswered` when no agent
    answered, `Refused` when it has no tunnel to our port, and says what it has instead.
    """
    if settings.public_url:
        return settings.public_url
    until = time.monotonic() + deadline
    while True:
        left = until - time.monotonic()
        try:
            return _one_look(settings, timeout=max(0.1, min(3.0, left)))
        except OpsError as problem:
            transient = isinstance(problem, Unanswered) or (
                isinstance(problem, Refused) and problem.code is None
            )
            pause = min(0.2, settings.retry_interval)
            if not transient or time.monotonic() + pause >= until:
                raise
        time.sleep(pause)


def _one_look(settings: Settings, *, timeout: float) -> str:
    found = tunnels(settings.ngrok_api, timeout=timeout)
    ours = [tunnel for tunnel in found if tunnel.port == settings.websocket_port]
    if not ours:
        others = ", ".join(f"{one.public_url} to {one.addr}" for one in found)
        came = f"only {others}" if found else "no tunnel at all"
        raise Refused(
            f"The ngrok agent on {settings.ngrok_api} has {came}, none to port {settings.websocket_port}.",
            fix="restart the tunnel: `inv cleanup start`; its log says why it is not up: `inv logs`",
        )
    best = next((one for one in ours if one.public_url.startswith("https://")), ours[0])
    try:
        return values.public_url(best.public_url)
    except ValueError as problem:
        raise Refused(
            f"The ngrok agent's public URL {best.public_url[:100]!r} is not usable: expected {problem}.",
            fix="use an http tunnel: `ngrok http`, not tcp or tls",
        ) from None


def declined(answer: Answer) -> Declined:
    """An answer of ngrok's agent or edge that is an error, with its number explained."""
    number = find(answer.headers.get("ngrok-error-code", "")) or find(answer.text)
    known = explain(number)
    if number is None:
        words, fix = f"{answer.url} answered {answer.status}.", "look into ngrok's log: `inv logs`"
    elif known is None:
        words = f"{answer.url} answered {answer.status} with ERR_NGROK_{number}."
        fix = f"see https://ngrok.com/docs/errors/err_ngrok_{number}"
    else:
        words, fix = (
            f"{answer.url} answered {answer.status} with ERR_NGROK_{number}: {known.meaning}.",
            known.fix,
        )
    return Declined(answer, words, fix=fix, code=number)


def _tunnel(found: dict[str, Any]) -> Tunnel:
    config = found.get("config") or {}
    return Tunnel(
        name=str(found.get("name", "")),
        public_url=str(found["public_url"]),
        addr=str(config.get("addr", "")),
        inspect=bool(config.get("inspect")),
    )
