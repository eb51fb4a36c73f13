"""A call as a value: who calls whom, its status, and how Twilio shows it. Pure.

Source: Twilio, "Call resource". Numbers in it are strings, dates are RFC 2822.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

API_VERSION = "2010-04-01"
Status = Literal[
    "queued", "initiated", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"
]
Direction = Literal["inbound", "outbound-api", "outbound-dial"]
FINAL: frozenset[Status] = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
EVENTS = ("initiated", "ringing", "answered", "completed")


@dataclass(frozen=True)
class Instructions:
    """Where a call's TwiML comes from and who is told of its progress."""

    url: str | None = None
    method: str = "POST"
    twiml: str | None = None
    fallback_url: str | None = None
    fallback_method: str = "POST"
    status_callback: str | None = None
    status_method: str = "POST"
    status_events: tuple[str, ...] = ("completed",)


@dataclass(frozen=True)
class Call:
    """One leg between Twilio and a phone. Times are UTC; `number_sid` is the account's number."""

    sid: str
    account_sid: str
    from_: str
    to: str
    direction: Direction
    created: datetime
    instructions: Instructions = Instructions()
    status: Status = "queued"
    updated: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    answered: datetime | None = None
    parent_sid: str | None = None
    number_sid: str | None = None
    queue_ms: int = 0
    timeout: float = 60.0  # seconds of ringing
    time_limit: float = 14_400.0  # seconds after the answer

    @property
    def final(self) -> bool:
        return self.status in FINAL

    def at(self, status: Status, now: datetime) -> Call:
        """This call with a new status; a final one stays what it is."""
        if self.final:
            return self
        changed = replace(self, status=status, updated=now)
        if status in ("initiated", "ringing") and not self.started:
            changed = replace(changed, started=now)
        if status == "in-progress":
            changed = replace(changed, answered=now, started=self.started or now)
        if status in FINAL:
            changed = replace(changed, ended=now)
        return changed

    @property
    def duration(self) -> int:
        """Whole seconds, begun ones counted, between answer and end; 0 without an answer."""
        if not self.answered or not self.ended:
            return 0
        return max(1, -(-int((self.ended - self.answered).total_seconds() * 1000) // 1000))


def resource(call: Call) -> dict[str, Any]:
    """The JSON of a call as REST answers it."""
    base = f"/{API_VERSION}/Accounts/{call.account_sid}/Calls/{call.sid}"
    status = "queued" if call.status == "initiated" else call.status
    return {
        "sid": call.sid,
        "account_sid": call.account_sid,
        "parent_call_sid": call.parent_sid,
        "phone_number_sid": call.number_sid or "",
        "from": call.from_,
        "from_formatted": formatted(call.from_),
        "to": call.to,
        "to_formatted": formatted(call.to),
        "direction": call.direction,
        "status": status,
        "date_created": rfc2822(call.created),
        "date_updated": rfc2822(call.updated or call.created),
        "start_time": rfc2822(call.started) if call.started else None,
        "end_time": rfc2822(call.ended) if call.ended else None,
        "duration": str(call.duration) if call.final else None,
        "queue_time": str(call.queue_ms),
        "price": None,
        "price_unit": "USD",
        "answered_by": None,
        "api_version": API_VERSION,
        "annotation": None,
        "caller_name": "" if call.direction == "inbound" else None,
        "forwarded_from": call.to if call.direction == "inbound" else None,
        "group_sid": None,
        "trunk_sid": "",
        "uri": f"{base}.json",
        "subresource_uris": {
            name: f"{base}/{path}.json"
            for name, path in (
                ("events", "Events"),
                ("notifications", "Notifications"),
                ("payments", "Payments"),
                ("recordings", "Recordings"),
                ("siprec", "Siprec"),
                ("streams", "Streams"),
                ("transcriptions", "Transcriptions"),
                ("user_defined_message_subscriptions", "UserDefinedMessageSubscriptions"),
                ("user_defined_messages", "UserDefinedMessages"),
            )
        },
    }


def parameters(call: Call, **more: str) -> dict[str, str]:
    """The form of a webhook about this call."""
    form = {
        "AccountSid": call.account_sid,
        "ApiVersion": API_VERSION,
        "CallSid": call.sid,
        "CallStatus": call.status,
        "Called": call.to,
        "Caller": call.from_,
        "Direction": call.direction,
        "From": call.from_,
        "To": call.to,
    }
    for prefix, number in (
        ("Called", call.to),
        ("Caller", call.from_),
        ("From", call.from_),
        ("To", call.to),
    ):
        form |= {f"{prefix}{part}": value for part, value in _place(number).items()}
    if call.parent_sid:
        form["ParentCallSid"] = call.parent_sid
    return form | more


def progress(call: Call, sequence: int, now: datetime) -> dict[str, str]:
    """The form of a status callback; `sequence` counts this call's callbacks from 0."""
    more = {
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(sequence),
        "Timestamp": rfc2822(now),
    }
    if call.final:
        more["CallDuration"] = str(call.duration)
        more["Duration"] = str(-(-call.duration // 60))
        if sip := _SIP.get(call.status):
            more["SipResponseCode"] = sip
    return parameters(call, **more)


_SIP: Mapping[str, str] = {
    "completed": "200",
    "busy": "486",
    "no-answer": "487",
    "failed": "404",
    "canceled": "487",
}


def _place(number: str) -> dict[str, str]:
    """Where a number lives: nowhere, for the fictional ones."""
    return {"City": "", "State": "DC" if number.startswith("+1202") else "", "Zip": "", "Country": "US"}


def formatted(number: str) -> str:
    """A North American number as Twilio displays it, others unchanged."""
    if len(number) == 12 and number.startswith("+1"):
        return f"({number[2:5]}) {number[5:8]}-{number[8:]}"
    return number


def rfc2822(moment: datetime) -> str:
    return format_datetime(moment)


def utc_now() -> datetime:
    return datetime.now(UTC)
