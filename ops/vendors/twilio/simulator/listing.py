"""Which calls a list asks for: the filters of Twilio's Calls resource. Pure.

Source: Twilio, "Call resource", "Read multiple Call resources".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ops.vendors.twilio.simulator.calls import Call, resource
from ops.vendors.twilio.simulator.errors import invalid

_SAME = {"To": "to", "From": "from", "ParentCallSid": "parent_call_sid", "Status": "status"}
_DATED = ("StartTime", "StartTime<", "StartTime>", "EndTime", "EndTime<", "EndTime>")


def chosen(calls: Iterable[Call], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """The JSON of the calls that satisfy every filter of `query`; raises RestError on a date that is none."""
    same = {field: query[name] for name, field in _SAME.items() if name in query}
    dated = {name: _moment(name, query[name]) for name in _DATED if query.get(name)}
    return [
        shown
        for call, shown in ((each, resource(each)) for each in calls)
        if all(shown[field] == value for field, value in same.items())
        and all(_holds(call, name, moment) for name, moment in dated.items())
    ]


def _holds(call: Call, name: str, wanted: datetime) -> bool:
    """On that day (UTC), before (<), at or after (>); what has not come yet is never in time."""
    moment = call.started if name.startswith("Start") else call.ended
    if moment is None:
        return False
    if name.endswith("<"):
        return moment < wanted
    return moment >= wanted if name.endswith(">") else moment.date() == wanted.date()


def _moment(name: str, raw: str) -> datetime:
    """A date, or a date and a time, as ISO 8601 has them; UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        raise invalid(20001, f"{name} must be a date as YYYY-MM-DD, got {raw[:20]}") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
