"""The controls on a webhook, and on what else may be asked of the public port."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.routing import Route

from ops.apps import door, listener, webhooks
from ops.apps.door import Door, Refusal, Webhook
from ops.apps.past_calls import PastCalls
from ops.vendors.twilio import wire
from tests.apps.controls import Anything, Control, no, nothing, unknown, yes
from tests.apps.inside import Inside
from tests.apps.test_bridge import new_call
from tests.apps.test_forgeries import Forgery, ask

ANY = re.compile(r".*", re.DOTALL)


def form_of(one: Inside, sid: str = "", **more: str) -> dict[str, str]:
    return {"CallSid": sid or new_call(), "AccountSid": one.account, "From": "+12025550123", **more}


def resume(asked: float) -> str:
    """Where a call that was told so at a time comes back."""
    return f"/resume?asked={int(asked)}"


async def answered(one: Inside, forged: Forgery) -> bool:
    """Whether it was given a stream."""
    status, body = await ask(one, forged.bytes(one))
    assert status < 500
    return status == 200 and b"<Stream" in body


async def unsigned(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one), signatures=()))


async def signed_twice(one: Inside) -> bool:
    form = form_of(one)
    guess = wire.sign(secrets.token_hex(16), one.origin + "/twiml", form)
    return await answered(
        one, Forgery(form, signatures=(guess, wire.sign(one.token, one.origin + "/twiml", form)))
    )


def any_fits(token: str, urls: Any, params: Any, signatures: Any) -> bool:
    return any(wire.sign(token, url, params) in signatures for url in urls)


async def signed_for_another_origin(one: Inside) -> bool:
    forwarded = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")]
    return await answered(
        one, Forgery(form_of(one), signed_url="https://evil.example/twiml", headers=forwarded)
    )


async def signed_for_another_path(one: Inside) -> bool:
    path = resume(time.time())
    return await answered(
        one, Forgery(form_of(one), path=path, signed_url=one.origin + path.replace("/resume", "/twiml"))
    )


async def signed_without_its_query(one: Inside) -> bool:
    return await answered(
        one, Forgery(form_of(one), path="/twiml?instructions=obey", signed_url=one.origin + "/twiml")
    )


async def trusting(self: webhooks.Webhooks, request: Request) -> Webhook | Refusal:
    """As one that believes what a proxy writes."""
    headers, gate = request.headers, self._bridge.door
    gate.origin = f"{headers.get('x-forwarded-proto', 'http')}://{headers.get('x-forwarded-host', '')}"
    return await _read(self, request)


_read, _check = webhooks.Webhooks._webhook, Door.webhook


def of_any_path(self: Door, path: str, query: str, *rest: Any) -> Webhook | Refusal:
    return _check(self, "/twiml", query, *rest)


def without_query(self: Door, path: str, query: str, *rest: Any) -> Webhook | Refusal:
    return _check(self, path, "", *rest)


async def a_parameter_twice(one: Inside) -> bool:
    form = form_of(one)
    return await answered(
        one, Forgery(form, body=urlencode([("From", "+12025550199"), *form.items()]).encode())
    )


def once_each(text: str, **options: Any) -> list[tuple[str, str]]:
    return list(dict(parse_qsl(text, **options)).items())


def however_many(text: str, *, max_num_fields: int, **options: Any) -> list[tuple[str, str]]:
    return parse_qsl(text, **options)


async def split_anew(one: Inside) -> bool:
    """The one called is a part of the caller: with no delimiters in what is signed, that is signed, too."""
    form = form_of(one, To="+12025550100")
    kept = {name: value for name, value in form.items() if name != "To"}
    return await answered(one, Forgery(kept | {"From": form["From"] + "To" + form["To"]}, signed_form=form))


async def of_another_type(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one), content_type="text/plain"))


def of_a_form(self: Door, path: str, query: str, content_type: str, *rest: Any) -> Webhook | Refusal:
    return _check(self, path, query, "application/x-www-form-urlencoded", *rest)


async def too_long(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one, More="x" * door.BODY_LIMIT)))


async def too_many_fields(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one, **{f"k{n}": "" for n in range(200)})))


async def of_another_account(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one) | {"AccountSid": "AC" + secrets.token_hex(16)}))


def of_any_account(account: str, *rest: Any) -> Door:
    return Door(Anything(account), *rest)


async def of_no_call(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one, "CA" + "x" * 32)))


async def of_two_lengths(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one), chunked=True, length=3))


async def with_another_method(one: Inside) -> bool:
    return await answered(one, Forgery(form_of(one), method="GET"))


_routes = webhooks.Webhooks.routes


def of_any_method(self: webhooks.Webhooks) -> list[Route]:
    return [Route(route.path, route.endpoint, methods=["GET", "POST"]) for route in _routes(self)]


async def in_two(one: Inside, pieces: tuple[bytes, bytes], pause: float) -> bool:
    """A right request, whose second half comes late."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    try:
        writer.write(pieces[0])
        await asyncio.sleep(pause)
        writer.write(pieces[1])
        return b"<Stream" in await asyncio.wait_for(reader.read(), 8)
    except ConnectionError:
        return False
    finally:
        writer.close()


async def with_a_slow_body(one: Inside) -> bool:
    request = Forgery(form_of(one)).bytes(one)
    return await in_two(one, (request[:-5], request[-5:]), 0.15)


async def with_slow_headers(one: Inside) -> bool:
    request = Forgery(form_of(one)).bytes(one)
    return await in_two(one, (request[:40], request[40:]), 0.15)


async def of_many_slow(one: Inside) -> bool:
    """The first of five slow connections is still there when it has shown its request."""
    requests = [Forgery(form_of(one)).bytes(one) for _ in range(5)]
    return (await asyncio.gather(*(in_two(one, (text[:40], text[40:]), 0.1) for text in requests)))[0]


def all_of_them(self: listener.Strangers, one: listener.Listener, address: str) -> None:
    self._slow.setdefault(address, {})[one] = None


async def one_too_many(one: Inside) -> bool:
    """A second call, where there is room for one."""
    assert await answered(one, Forgery(form_of(one)))
    return await answered(one, Forgery(form_of(one)))


async def after_the_end(one: Inside, path: str = "/twiml") -> bool:
    """Captured, and sent again when its call is over."""
    form = form_of(one)
    assert (await ask(one, Forgery(form | {"CallStatus": "completed"}, path="/status").bytes(one)))[0] == 204
    return await answered(one, Forgery(form, path=path))


async def resumed_after_the_end(one: Inside) -> bool:
    return await after_the_end(one, resume(time.time()))


def fails(*_: Any) -> bool:
    raise RuntimeError("a check that fails")


async def resumed_the_day_after(one: Inside) -> bool:
    """Nobody told us of its end, and its file has been tidied away."""
    return await answered(one, Forgery(form_of(one), path=resume(time.time() - 86_400)))


async def of_an_earlier_day(one: Inside) -> bool:
    """Its call's file has been tidied away by a bridge before this one."""
    form, calls = form_of(one), one.bridge.settings.run_dir / "calls"
    calls.mkdir(parents=True, exist_ok=True)
    PastCalls(calls / "past").add(form["CallSid"])
    return await answered(one, Forgery(form))


async def that_cannot_be_checked(one: Inside) -> bool:
    """Its check fails: whether the caller is told more than no."""
    status, _ = await ask(one, Forgery(form_of(one)).bytes(one))
    return status != 403


async def unguarded(self: webhooks.Webhooks, request: Request) -> Webhook | Refusal:
    body = await request.body()
    signatures = request.headers.getlist("x-twilio-signature")
    return self._bridge.door.webhook("/twiml", "", request.headers["content-type"], body, signatures)


def seen(path: str, *headers: tuple[str, str], host: str = "") -> Any:
    """Whether a private page shows itself to such a request."""

    async def asked(one: Inside) -> bool:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{one.port}'}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        status, body = await ask(one, "\r\n".join([*lines, "", ""]).encode())
        assert status in (200, 404)
        return status == 200 and len(body) > 30

    return asked


CONTROLS = {
    "a signature": Control(unsigned, {"ops.vendors.twilio.wire.signed": yes}),
    "one signature": Control(signed_twice, {"ops.vendors.twilio.wire.signed": any_fits}),
    "the origin of the settings": Control(
        signed_for_another_origin, {"ops.apps.webhooks.Webhooks._webhook": trusting}
    ),
    "the path that was signed": Control(signed_for_another_path, {"ops.apps.door.Door.webhook": of_any_path}),
    "the query that was signed": Control(
        signed_without_its_query, {"ops.apps.door.Door.webhook": without_query}
    ),
    "no parameter twice": Control(a_parameter_twice, {"ops.apps.door.parse_qsl": once_each}),
    "the shapes of fields": Control(split_anew, {"ops.apps.door.SHAPES": {}}),
    "the type of a form": Control(of_another_type, {"ops.apps.door.Door.webhook": of_a_form}),
    "64 KiB of body": Control(too_long, {"ops.apps.webhooks.BODY_LIMIT": 2**30}),
    "200 fields": Control(too_many_fields, {"ops.apps.door.parse_qsl": however_many}),
    "our own account": Control(of_another_account, {"ops.apps.switchboard.Door": of_any_account}),
    "the SID of a call": Control(of_no_call, {"ops.apps.door.CALL_SID": ANY}),
    "one length": Control(of_two_lengths, {"ops.apps.webhooks._smuggled": no}),
    "POST alone": Control(with_another_method, {"ops.apps.webhooks.Webhooks.routes": of_any_method}),
    "a body in time": Control(
        with_a_slow_body, {"ops.apps.webhooks.BODY_WITHIN": 60.0}, {"ops.apps.webhooks.BODY_WITHIN": 0.05}
    ),
    "headers in time": Control(
        with_slow_headers,
        {"ops.apps.listener.HEADERS_WITHIN": 60.0},
        {"ops.apps.listener.QUICK": 0.02, "ops.apps.listener.HEADERS_WITHIN": 0.05},
    ),
    "few who are slow": Control(
        of_many_slow,
        {"ops.apps.listener.Strangers.slow": all_of_them},
        {"ops.apps.listener.QUICK": 0.02},
        {"MAX_UNAUTHENTICATED_PER_ADDRESS": "2"},
    ),
    "calls in an hour": Control(
        one_too_many, {"ops.apps.door.Door.admit": yes}, settings={"MAX_SIGNED_CALLS_PER_HOUR": "1"}
    ),
    "calls at once, those on their way too": Control(
        one_too_many, {"ops.apps.switchboard.Switchboard.full": no}, settings={"MAX_LIVE_CALLS": "1"}
    ),
    "an ended call": Control(
        after_the_end,
        {"ops.apps.callbook.Callbook.read": unknown, "ops.apps.switchboard.Switchboard.remember_end": nothing},
    ),
    "an ended call, to be resumed": Control(
        resumed_after_the_end,
        {"ops.apps.callbook.Callbook.read": unknown, "ops.apps.switchboard.Switchboard.remember_end": nothing},
    ),
    "a call of today, to be resumed": Control(
        resumed_the_day_after, {"ops.apps.webhooks.in_time": yes}
    ),
    "a call of today": Control(of_an_earlier_day, {"ops.apps.past_calls.PastCalls.__contains__": no}),
    "a check that fails": Control(
        that_cannot_be_checked,
        {"ops.apps.webhooks.Webhooks._webhook": unguarded},
        {"ops.vendors.twilio.wire.signed": fails},
    ),
    "no page through a tunnel": Control(
        seen("/metrics", ("X-Forwarded-For", "192.0.2.1")), {"ops.apps.door.FORWARDING": ()}
    ),
    "no page for another host": Control(
        seen("/metrics", host="voice.example.com"), {"ops.apps.door.HERE": ANY}
    ),
    "no page for half a host": Control(
        seen("/metrics", host="evil.example@127.0.0.1"), {"ops.apps.door.HERE": ANY}
    ),
    "no calls in a stranger's health": Control(
        seen("/health", ("X-Forwarded-For", "192.0.2.1")), {"ops.apps.views.is_local": yes}
    ),
}  # fmt: skip
