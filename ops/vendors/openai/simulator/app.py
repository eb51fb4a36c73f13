"""The routes: REST under /v1 as OpenAI answers it, the Realtime websocket, and `/_sim` for tests."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ops.journal.write import logger
from ops.vendors.faults import Armed
from ops.vendors.openai.simulator import connection, events, rules, settings, validation
from ops.vendors.openai.simulator.connection import Connection, Refused
from ops.vendors.openai.simulator.events import Close, Problem
from ops.vendors.openai.simulator.faults import Faults, catalogue
from ops.vendors.openai.simulator.session import LIFETIME, Session

log = logger(__name__)
ENDED_KEPT = 200
SECRET_SECONDS = 600
REFUSALS = {
    "refuse": (503, events.SERVER_ERROR),
    "rate-limit": (429, events.RATE_LIMITED),
    "no-quota": (429, events.NO_QUOTA),
}
MODELS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("models.json").read_text("utf-8"))


class Simulator:
    """The key that is right, the faults that are armed, and every session of this run."""

    def __init__(
        self,
        key: str | None,
        faults: Faults,
        *,
        lifetime: float = LIFETIME,
        seed: int | None = None,
        answers: rules.Rules | None = None,
    ) -> None:
        self.key = key
        self.faults = faults
        self.lifetime = lifetime
        self.seed = seed
        self.answers = answers
        self.live: list[Connection] = []
        self.ended: deque[Connection | Refused] = deque(maxlen=ENDED_KEPT)
        self._ephemeral: dict[str, float] = {}  # key → when it expires

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", self.models),
                Route("/v1/models/{id}", self.model),
                Route("/v1/realtime/client_secrets", self.client_secret, methods=["POST"]),
                WebSocketRoute("/v1/realtime", self.realtime),
                Route("/_sim/sessions", self.sessions),
                Route("/_sim/faults", self.arm, methods=["GET", "POST", "DELETE"]),
            ],
            exception_handlers={404: _not_found},
        )

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "live_sessions": len(self.live)})

    async def models(self, request: Request) -> Response:
        refused = self._refused(request)
        fault = self.faults.take("models") if refused is None else None
        return refused or JSONResponse({"object": "list", "data": [_listed(row, fault) for row in MODELS]})

    async def model(self, request: Request) -> Response:
        found = next((row for row in MODELS if row["id"] == request.path_params["id"]), None)
        refused = self._refused(request)
        if refused or found:
            return refused or JSONResponse(_model(found or {}))
        return _refusal(404, events.unknown_model(request.path_params["id"]))

    async def client_secret(self, request: Request) -> Response:
        """A short-lived key for a browser; the session given with it is checked, not kept."""
        refused = self._refused(request)
        if refused:
            return refused
        try:
            asked = validation.parse(await request.body() or b"{}")
            session = asked.get("session", {"type": "realtime"})
            validation.check_session(session)
        except Problem as problem:
            return _refusal(400, problem)
        value, expires = "ek_" + secrets.token_hex(16), int(time.time()) + SECRET_SECONDS
        self._ephemeral[value] = time.monotonic() + SECRET_SECONDS
        model = session.get("model", "gpt-realtime")
        shown = settings.updated(settings.default("sess_" + secrets.token_hex(10), model, 0), session)
        return JSONResponse({"value": value, "expires_at": expires, "session": shown})

    async def sessions(self, request: Request) -> Response:
        return JSONResponse({"sessions": [each.shown() for each in (*self.live, *self.ended)]})

    async def arm(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
            return Response(status_code=204)
        if request.method == "POST":
            try:
                asked = validation.parse(await request.body())
                armed = self.faults.arm(str(asked.pop("name", "")), **asked)
            except (Problem, ValueError, TypeError) as problem:
                return JSONResponse({"error": {"message": str(problem)}}, 400)
            log.info("fault.armed", armed.fault.about, fault=armed.fault.name, times=armed.times)
            return JSONResponse(armed.shown(), 201)
        known = [{"name": f.name, "about": f.about, **f.defaults} for f in catalogue().values()]
        return JSONResponse({"catalogue": known, "armed": [each.shown() for each in self.faults.armed]})

    async def realtime(self, socket: WebSocket) -> None:
        """The handshake; OpenAI accepts the socket first and tells most refusals on it."""
        key, offered = _credentials(socket)
        fault = self.faults.take("connect")
        name = fault.fault.name if fault else ""
        if fault is not None and name == "delay":
            await asyncio.sleep(fault.numbers["seconds"])
        model = socket.query_params.get("model", "")
        denied = REFUSALS.get(name)
        if denied is None and key is None:
            denied = 401, events.NO_KEY
        elif denied is None and not model:
            denied = 400, Problem("you must provide a model parameter", "missing_model")
        if denied is not None:
            self._remember(model, denied[1], status=denied[0])
            await socket.send_denial_response(_refusal(*denied))
            return
        assert key is not None, "it was denied without one"
        await socket.accept("realtime" if "realtime" in offered else None)
        problem = None
        beta = "openai-beta" in socket.headers or "openai-beta.realtime-v1" in offered
        if not self._knows(key) or name == "invalid-key":
            problem, code = events.INVALID_KEY, 3000
        elif beta or name == "beta-disabled":
            problem, code = events.BETA, 4000
        elif not any(model == row["id"] for row in MODELS if "realtime" in row["id"]):
            problem, code = events.unknown_model(model), 3000
        if problem is not None:
            log.warning("session.refused", problem.message, code=problem.code)
            refusal = {"event_id": events.Ids(self.seed).new("event"), **events.error(problem)}
            await socket.send_json(refusal)
            how = events.close_of(problem, code)
            self._remember(model, problem, how)
            await connection.close(socket, how)
        elif name == "drop-after-open":
            await connection.close(socket, Close(1011, "internal error"))
        else:
            await self._serve(socket, model)

    def _remember(
        self, model: str, problem: Problem, close: Close | None = None, status: int | None = None
    ) -> None:
        """Show a refused connection among the sessions, so that its client's author learns why."""
        id = "refused_" + secrets.token_hex(10)
        self.ended.append(Refused(id, time.time(), model, problem, close, status))

    async def _serve(self, socket: WebSocket, model: str) -> None:
        session = Session(
            model,
            now=time.monotonic(),
            wall=time.time(),
            faults=self.faults,
            answers=self.answers,
            seed=self.seed,
            lifetime=self.lifetime,
        )
        served = Connection(socket, session, self.faults)
        self.live.append(served)
        log.info("session.created", session=session.id, model=model)
        try:
            await served.run()
        finally:
            self.live.remove(served)
            self.ended.append(served)
            log.info("session.ended", session=session.id, code=served.close.code if served.close else None)

    def _refused(self, request: Request) -> Response | None:
        """The answer to a REST request that goes no further: no key, a wrong one, or a fault."""
        key, _ = _credentials(request)
        if key is None:
            return _refusal(401, events.NO_KEY)
        if not self._knows(key):
            return _refusal(401, events.INVALID_KEY)
        fault = self.faults.take("rest")
        if fault is None:
            return None
        return _refusal(*REFUSALS[fault.fault.name.removeprefix("rest-").replace("unavailable", "refuse")])

    def _knows(self, key: str) -> bool:
        if self.key is None:
            return True  # started without a key: every key is right
        now = time.monotonic()
        self._ephemeral = {each: until for each, until in self._ephemeral.items() if until > now}
        return hmac.compare_digest(key.encode(), self.key.encode()) or key in self._ephemeral


def _credentials(asking: HTTPConnection) -> tuple[str | None, list[str]]:
    """(the bearer key, the subprotocols offered); browsers put the key among the subprotocols."""
    offered = [word.strip() for word in asking.headers.get("sec-websocket-protocol", "").split(",")]
    scheme, _, key = asking.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip(), offered
    prefix = "openai-insecure-api-key."
    return next((word.removeprefix(prefix) for word in offered if word.startswith(prefix)), None), offered


def _refusal(status: int, problem: Problem) -> JSONResponse:
    headers = {"retry-after": "1"} if status == 429 else {}
    return JSONResponse({"error": problem.shown()}, status, headers)


async def _not_found(request: Request, problem: Exception) -> Response:
    message = f"Invalid URL ({request.method} {request.url.path})"
    return _refusal(404, Problem(message, "unknown_url"))


def _listed(row: dict[str, Any], fault: Armed | None) -> dict[str, Any]:
    """A model as the list shows it, with the nearer end that a fault gives to its kind."""
    if fault is None or ("realtime" in row["id"]) != (fault.fault.name == "retiring"):
        return _model(row)
    day = datetime.now(UTC).date() + timedelta(days=fault.numbers["days"])
    return _model({**row, "shutdown_date": day.isoformat()})


def _model(row: dict[str, Any]) -> dict[str, Any]:
    return {"object": "model", "owned_by": "system", **row}
