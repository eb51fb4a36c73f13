"""REST answers as they look while a fault is armed: a suspended account, a mute number, another time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.vendors.twilio.simulator.calls import utc_now
from ops.vendors.twilio.simulator.debugger import Alert, Debugger
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.faults import Faults

ALERTS = 3
_NUMBERS: dict[str, dict[str, Any]] = {
    "number-voiceless": {"capabilities": {"voice": False, "sms": True, "mms": False, "fax": False}},
    "number-application": {"voice_application_sid": "AP" + "0" * 32},
    "number-trunk": {"trunk_sid": "TK" + "0" * 32},
}


def account(faults: Faults, shown: dict[str, Any]) -> dict[str, Any]:
    if faults.strikes("account-suspended"):
        shown = shown | {"status": "suspended"}
    return shown | {"type": "Trial"} if faults.strikes("account-trial") else shown


def balance(faults: Faults, shown: dict[str, Any]) -> dict[str, Any]:
    armed = faults.strike("balance")
    return shown if armed is None else shown | {"balance": f"{-armed.numbers['debt'] / 100:.2f}"}


def numbers(faults: Faults, shown: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    changes: dict[str, Any] = {}
    for name, fields in _NUMBERS.items():
        changes |= fields if faults.strikes(name) else {}
    return [one | changes for one in shown]


def debugger(faults: Faults, true: Debugger) -> Debugger:
    """The Debugger itself, or one with fresh errors of the fault's number."""
    armed = faults.strike("alert")
    if armed is None:
        return true
    made = Debugger()
    for index in range(ALERTS):
        notice = Notice(int(armed.numbers["code"]), "asked for by a fault")
        made.add(Alert(f"NO{index:032x}", "CA" + "0" * 32, notice, utc_now()))
    return made


class Dated:
    """An ASGI app whose answers carry a Date: ours, or that of a fault."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app, self._faults = app, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                armed = self._faults.strike("rest-clock")
                ahead = armed.numbers["seconds"] if armed else 0.0
                date = formatdate(time.time() + ahead, usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", date)]
            await send(message)

        await self._app(scope, receive, dated)
