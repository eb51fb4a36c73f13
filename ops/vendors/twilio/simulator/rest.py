"""Twilio's REST interface, as far as phone agents use it: calls, numbers, account, balance.

Sources: Twilio's OpenAPI description of api.twilio.com and the pages of its resources. Bodies are
forms, answers JSON; a page of results has exactly one key besides Twilio's own, or SDKs refuse it.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ops.vendors.twilio.simulator import account as accounts
from ops.vendors.twilio.simulator import calls, disguise, errors, forms, listing
from ops.vendors.twilio.simulator.documents import Source
from ops.vendors.twilio.simulator.errors import RestError, invalid
from ops.vendors.twilio.simulator.exchange import Exchange
from ops.vendors.twilio.simulator.forms import Form
from ops.vendors.twilio.simulator.phone import Phone

BASE = f"/{calls.API_VERSION}"
MAX_BODY = 256 * 1024
MAX_PAGE = 1000
Answer = tuple[int, dict[str, Any] | None]
Handler = Callable[[Exchange, Request, Form], Answer]


def routes(exchange: Exchange) -> list[BaseRoute]:
    """The vendor's paths."""
    account = f"{BASE}/Accounts/{{account}}"
    table: tuple[tuple[str, dict[str, Handler]], ...] = (
        (f"{BASE}/Accounts.json", {"GET": list_accounts}),
        (f"{account}.json", {"GET": fetch_account}),
        (f"{account}/Balance.json", {"GET": fetch_balance}),
        (f"{account}/Calls.json", {"GET": list_calls, "POST": create_call}),
        (f"{account}/Calls/{{sid}}.json", {"GET": fetch_call, "POST": update_call, "DELETE": delete_call}),
        (f"{account}/IncomingPhoneNumbers.json", {"GET": list_numbers}),
        (f"{account}/IncomingPhoneNumbers/{{sid}}.json", {"GET": fetch_number, "POST": update_number}),
        ("/v1/Alerts", {"GET": list_alerts}),
        (f"{BASE}/{{rest:path}}", {}),
    )
    return [Route(path, _endpoint(exchange, handlers), methods=None) for path, handlers in table]


def _endpoint(exchange: Exchange, handlers: Mapping[str, Handler]) -> Any:
    async def endpoint(request: Request) -> Response:
        exchange.answering += 1
        try:
            return await respond(request)
        finally:
            exchange.answering -= 1

    async def respond(request: Request) -> Response:
        body = await _body(request)
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        entry: dict[str, Any] = {"method": request.method, "path": request.url.path, "form": form}
        exchange.requests.append(entry)
        try:
            status, answer = await _answered(exchange, request, form, handlers)
        except RestError as problem:
            status, answer = problem.status, problem.body()
        entry["status"] = status
        return _response(exchange, status, answer)

    # A class-like endpoint: Starlette then leaves every method to us, and we answer 405 as Twilio does.
    return _Endpoint(endpoint)


class _Endpoint:
    """An ASGI endpoint for all methods of one path."""

    def __init__(self, handle: Callable[[Request], Awaitable[Response]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._handle(Request(scope, receive))
        await response(scope, receive, send)


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return b""
    except ClientDisconnect:  # nobody is left to be answered
        return b""
    return bytes(body)


async def _answered(
    exchange: Exchange, request: Request, form: Form, handlers: Mapping[str, Handler]
) -> Answer:
    if (slow := exchange.faults.strike("rest-slow")) is not None:
        await asyncio.sleep(slow.numbers["ms"] / 1000)
    if exchange.faults.strikes("rest-limit"):
        raise errors.too_many()
    if exchange.faults.strikes("rest-error"):
        raise errors.server_error()
    _authenticate(exchange, request)
    if exchange.answering > exchange.account.concurrent_requests:
        raise errors.too_many()
    if not handlers:
        raise errors.not_found(request.url.path)
    if request.method not in handlers:
        raise errors.method_not_allowed(request.method)
    return handlers[request.method](exchange, request, form)


def _authenticate(exchange: Exchange, request: Request) -> None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise errors.unauthorized() from None
    if scheme.lower() != "basic" or not exchange.account.admits(user, password):
        raise errors.unauthorized()
    named = request.path_params.get("account", exchange.account.sid)
    if not hmac.compare_digest(named.encode(), exchange.account.sid.encode()):
        raise errors.not_found(request.url.path)


def _response(exchange: Exchange, status: int, answer: dict[str, Any] | None) -> Response:
    body = b"" if answer is None else json.dumps(answer).encode()
    headers = {
        "Twilio-Request-Id": exchange.new_sid("RQ"),
        "Twilio-Concurrent-Requests": str(exchange.answering),
    }
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    if exchange.faults.strikes("rest-reset"):
        headers["Content-Length"] = str(len(body) + 100)  # the server then cuts the connection
    return Response(body, status, headers, media_type="application/json")


# Accounts.


def list_accounts(exchange: Exchange, request: Request, form: Form) -> Answer:
    return 200, _page(request, "accounts", [accounts.account_resource(exchange.account)])


def fetch_account(exchange: Exchange, request: Request, form: Form) -> Answer:
    return 200, disguise.account(exchange.faults, accounts.account_resource(exchange.account))


def fetch_balance(exchange: Exchange, request: Request, form: Form) -> Answer:
    return 200, disguise.balance(exchange.faults, accounts.balance_resource(exchange.account))


# Calls.


def create_call(exchange: Exchange, request: Request, form: Form) -> Answer:
    to, from_ = forms.first(form, "To"), forms.first(form, "From")
    if not to:
        raise invalid(21201, "No 'To' number is specified")
    if not from_:
        raise invalid(21213, "No 'From' number is specified")
    if not forms.first(form, "Url") and not forms.first(form, "Twiml"):
        raise invalid(21205, "Url parameter is required.")
    phone = exchange.place(
        forms.number_text(to),
        forms.number_text(from_),
        forms.instructions(form),
        timeout=forms.seconds(form, "Timeout", 60, 600, 21208),
        time_limit=forms.seconds(form, "TimeLimit", 14_400, 86_400, 21200),
    )
    return 201, calls.resource(phone.call)


def fetch_call(exchange: Exchange, request: Request, form: Form) -> Answer:
    return 200, calls.resource(_phone(exchange, request).call)


def update_call(exchange: Exchange, request: Request, form: Form) -> Answer:
    phone = _phone(exchange, request)
    status, told = forms.first(form, "Status"), forms.instructions(form)
    if status and status not in ("completed", "canceled"):
        raise invalid(20001, f"Invalid Status: {status[:40]}")
    if phone.call.final:
        raise invalid(21220, "Call is not in-progress. Cannot redirect.")
    up = phone.call.status == "in-progress"
    if status == "canceled" and up:
        raise invalid(21220, "Call is in-progress. Cannot cancel.")
    shown = phone.call
    if status:
        final: calls.Status = "completed" if up else "canceled"
        phone.hang_up("rest", final)
        shown = shown.at(final, calls.utc_now())
    elif told.url or told.twiml is not None:
        if not up:
            raise invalid(21220, "Call is not in-progress. Cannot redirect.")
        phone.redirect(Source(told.url or "", told.method, told.twiml if not told.url else None))
    if told.status_callback:
        phone.report_to(told)
    return 200, calls.resource(shown)


def delete_call(exchange: Exchange, request: Request, form: Form) -> Answer:
    phone = _phone(exchange, request)
    if not phone.call.final:
        raise invalid(20001, "Cannot delete a call that is in progress")
    del exchange.phones[phone.call.sid]
    return 204, None


def list_calls(exchange: Exchange, request: Request, form: Form) -> Answer:
    newest_first = (phone.call for phone in reversed(exchange.phones.values()))
    found = listing.chosen(newest_first, request.query_params)
    return 200, _page(request, "calls", found)


def _phone(exchange: Exchange, request: Request) -> Phone:
    phone = exchange.phones.get(request.path_params["sid"])
    if phone is None:
        raise errors.not_found(request.url.path)
    return phone


# Numbers.


def list_numbers(exchange: Exchange, request: Request, form: Form) -> Answer:
    query = request.query_params
    pattern = forms.number_text(query.get("PhoneNumber", "")).replace("*", "")
    name = query.get("FriendlyName")
    found = [
        accounts.number_resource(exchange.account, number)
        for number in exchange.numbers.values()
        if pattern in number.phone_number and name in (None, number.friendly_name)
    ]
    return 200, _page(request, "incoming_phone_numbers", disguise.numbers(exchange.faults, found))


def fetch_number(exchange: Exchange, request: Request, form: Form) -> Answer:
    return 200, accounts.number_resource(exchange.account, _number(exchange, request))


def update_number(exchange: Exchange, request: Request, form: Form) -> Answer:
    number = _number(exchange, request)
    changes: dict[str, Any] = {}
    for parameter, field in _NUMBER_URLS.items():
        if parameter in form:
            changes[field] = forms.url(form, parameter, 21402, f"{parameter} is not valid")
    for parameter, field in _NUMBER_METHODS.items():
        if parameter in form:
            changes[field] = forms.method(form, parameter, 21403)
    voice = replace(number.voice, **changes)
    name = forms.first(form, "FriendlyName") or number.friendly_name
    changed = replace(number, voice=voice, friendly_name=name, updated=calls.utc_now())
    exchange.numbers[number.sid] = changed
    return 200, accounts.number_resource(exchange.account, changed)


_NUMBER_URLS = {"VoiceUrl": "url", "VoiceFallbackUrl": "fallback_url", "StatusCallback": "status_callback"}
_NUMBER_METHODS = {
    "VoiceMethod": "method",
    "VoiceFallbackMethod": "fallback_method",
    "StatusCallbackMethod": "status_method",
}


def _number(exchange: Exchange, request: Request) -> accounts.Number:
    number = exchange.numbers.get(request.path_params["sid"])
    if number is None:
        raise errors.not_found(request.url.path)
    return number


# The Debugger.


def list_alerts(exchange: Exchange, request: Request, form: Form) -> Answer:
    query = request.query_params
    debugger = disguise.debugger(exchange.faults, exchange.debugger)
    return 200, debugger.page(
        exchange.account.sid,
        f"{request.url.scheme}://{request.url.netloc}",
        level=query.get("LogLevel", ""),
        since=query.get("StartDate", ""),
        until=query.get("EndDate", ""),
        size=_whole(query.get("PageSize", "50"), "PageSize", 1, MAX_PAGE),
        page=_whole(query.get("Page", "0"), "Page", 0, 1_000_000),
    )


# Pages.


def _page(request: Request, key: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One page of a list, with its neighbours' addresses."""
    query = dict(request.query_params)
    size = _whole(query.pop("PageSize", "50"), "PageSize", 1, MAX_PAGE)
    page = _whole(query.pop("Page", "0"), "Page", 0, 1_000_000)
    query.pop("PageToken", None)

    def uri(number: int) -> str:
        more = {**query, "PageSize": size, "Page": number}
        return f"{request.url.path}?{urlencode(more)}"

    begin = page * size
    shown = list(found[begin : begin + size])
    return {
        key: shown,
        "page": page,
        "page_size": size,
        "start": begin,
        "end": begin + max(0, len(shown) - 1),
        "uri": uri(page),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page + 1) if begin + size < len(found) else None,
        "previous_page_uri": uri(page - 1) if page else None,
    }


def _whole(raw: str, name: str, low: int, high: int) -> int:
    if not raw.isascii() or not raw.isdigit() or not low <= int(raw[:9]) <= high:
        raise invalid(20001, f"{name} must be from {low} to {high}, got {raw[:20]}")
    return int(raw)
