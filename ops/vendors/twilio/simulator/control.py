"""The stand-in's own paths, /_sim/…: who is at which number, callers, faults, and what was heard."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ops.vendors.twilio.simulator.caller import STAY, Step, script
from ops.vendors.twilio.simulator.exchange import E164, Exchange
from ops.vendors.twilio.simulator.faults import catalogue
from ops.vendors.twilio.simulator.forms import number_text
from ops.vendors.twilio.simulator.line import Quality
from ops.vendors.twilio.simulator.phone import Person

MAX_BODY = 4 * 1024 * 1024


class BadOrder(ValueError):
    """A request of the control paths that cannot be carried out: what was expected, what came."""


def routes(exchange: Exchange) -> list[BaseRoute]:
    """The control paths and /health."""
    of = Control(exchange)
    return [
        Route("/health", of.health),
        Route("/_sim/phones/{number}", of.phone, methods=["PUT"]),
        Route("/_sim/dial", of.dial, methods=["POST"]),
        Route("/_sim/calls", of.calls),
        Route("/_sim/calls/{sid}", of.call),
        Route("/_sim/calls/{sid}/audio.wav", of.audio),
        Route("/_sim/calls/{sid}/hang-up", of.hang_up, methods=["POST"]),
        Route("/_sim/requests", of.requests),
        Route("/_sim/faults", of.faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sim/account", of.account, methods=["PUT"]),
    ]


def _checked(
    method: Callable[[Control, Request], Awaitable[Response]],
) -> Callable[[Control, Request], Awaitable[Response]]:
    async def guarded(self: Control, request: Request) -> Response:
        try:
            return await method(self, request)
        except (ValueError, TypeError) as problem:
            return JSONResponse({"error": str(problem)}, 400)

    return guarded


class Control:
    """Answers the control paths of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def health(self, request: Request) -> Response:
        live = sum(1 for phone in self._exchange.phones.values() if not phone.call.final)
        return JSONResponse({"status": "ok", "live_calls": live})

    @_checked
    async def phone(self, request: Request) -> Response:
        number = _number(request.path_params["number"])
        self._exchange.people[number] = person(await _json(request))
        return JSONResponse({"number": number})

    @_checked
    async def dial(self, request: Request) -> Response:
        order = await _json(request)
        from_, to = _number(order.get("from", "+12025550123")), _number(order.get("to", ""))
        webhook = order.get("webhook")
        if webhook is not None and not str(webhook).startswith(("http://", "https://")):
            raise BadOrder(f"expected webhook as an http or https URL, got {str(webhook)[:80]!r}")
        try:
            phone = self._exchange.ring(from_, to, person(order), webhook)
        except KeyError:
            known = ", ".join(each.phone_number for each in self._exchange.numbers.values())
            raise BadOrder(f"expected one of the account's numbers ({known}) in to, got {to}") from None
        return JSONResponse({"call_sid": phone.call.sid}, 201)

    async def calls(self, request: Request) -> Response:
        phones = self._exchange.phones.values()
        return JSONResponse(
            {"calls": [{"call_sid": each.call.sid, "status": each.call.status} for each in phones]}
        )

    async def call(self, request: Request) -> Response:
        phone = self._exchange.phones.get(request.path_params["sid"])
        return JSONResponse(phone.view()) if phone else _missing(request)

    async def audio(self, request: Request) -> Response:
        phone = self._exchange.phones.get(request.path_params["sid"])
        if phone is None or phone.line is None:
            return _missing(request)
        try:
            return Response(phone.line.recording.wav(), media_type="audio/wav")
        except ValueError:  # closed: only the last recordings are kept
            return _missing(request)

    async def hang_up(self, request: Request) -> Response:
        phone = self._exchange.phones.get(request.path_params["sid"])
        if phone is None:
            return _missing(request)
        phone.hang_up("caller", "completed" if phone.call.status == "in-progress" else "canceled")
        return JSONResponse({"call_sid": phone.call.sid}, 202)

    async def requests(self, request: Request) -> Response:
        return JSONResponse({"requests": list(self._exchange.requests)})

    @_checked
    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._exchange.faults.clear()
        if request.method == "POST":
            order = await _json(request)
            numbers = {key: value for key, value in order.items() if key not in ("name", "times")}
            self._exchange.faults.arm(str(order.get("name", "")), order.get("times", 1), **numbers)
        armed = [each.shown() for each in self._exchange.faults.armed]
        known = [vars(fault) for fault in catalogue().values()]
        return JSONResponse({"armed": armed, "catalogue": known})

    @_checked
    async def account(self, request: Request) -> Response:
        order = await _json(request)
        account = self._exchange.account
        if unknown := order.keys() - {"trial", "verified", "calls_per_second", "resume_after_loss"}:
            raise BadOrder(
                "expected trial, verified, calls_per_second, resume_after_loss, "
                f"got {', '.join(sorted(unknown))}"
            )
        rate = order.get("calls_per_second", account.calls_per_second)
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0.01 <= rate <= 1000:
            raise BadOrder(f"expected calls_per_second from 0.01 to 1000, got {rate!r}")
        verified = order.get("verified", list(account.verified))
        if not isinstance(verified, list):
            raise BadOrder(f"expected verified as a list of numbers, got {verified!r}")
        self._exchange.account = replace(
            account,
            trial=bool(order.get("trial", account.trial)),
            verified=frozenset(_number(each) for each in verified),
            calls_per_second=float(rate),
        )
        resume = order.get("resume_after_loss", self._exchange.resume_after_loss)
        self._exchange.resume_after_loss = bool(resume)
        return JSONResponse({"trial": self._exchange.account.trial, "calls_per_second": rate})


def person(order: Mapping[str, Any]) -> Person:
    """Who picks up (or calls), from JSON: steps, answers, ring_ms, and the line's quality."""
    steps: tuple[Step, ...] = (STAY,)
    if "steps" in order:
        steps = script(order["steps"], _audio_of)
    answers = order.get("answers", "answers")
    if answers not in ("answers", "busy", "no-answer", "fails"):
        raise BadOrder(
            f"expected answers as one of answers, busy, no-answer, fails, got {str(answers)[:40]!r}"
        )

    def optional(name: str, low: float, high: float) -> float | None:
        return None if order.get(name) is None else _amount(order, name, 0, low, high)

    return Person(
        steps=steps,
        answers=answers,
        ring_ms=int(_amount(order, "ring_ms", 200, 0, 600_000)),
        quality=Quality(
            noise_dbfs=optional("noise_dbfs", -90, 0),
            loss=_amount(order, "loss", 0, 0, 1),
            seed=int(_amount(order, "seed", 0, 0, 2**31)),
            late_ms=optional("late_ms", 20, 5000),
            half_open_ms=optional("half_open_ms", 0, 3_600_000),
        ),
    )


def _amount(order: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = order.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise BadOrder(f"expected {name} from {low} to {high}, got {value!r}")
    return float(value)


def _audio_of(name: str) -> bytes:
    from ops.speech import library

    return library.line(name).audio


def _number(raw: object) -> str:
    number = number_text(str(raw))
    if not E164.fullmatch(number):
        raise BadOrder(f"expected a phone number like +12025550123, got {str(raw)[:40]!r}")
    return number


async def _json(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise BadOrder(f"expected at most {MAX_BODY} bytes")
    try:
        order = json.loads(bytes(body) or b"{}")
    except (ValueError, RecursionError) as problem:
        raise BadOrder(f"expected JSON, got {problem}") from None
    if not isinstance(order, dict):
        raise BadOrder(f"expected a JSON object, got {type(order).__name__}")
    return order


def _missing(request: Request) -> Response:
    return JSONResponse({"error": f"nothing is known of {request.url.path}"}, 404)
