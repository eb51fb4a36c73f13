"""Twilio's Debugger: what went wrong in all calls, as the Monitor API shows it.

Source: Twilio, "Alerts resource" (monitor.twilio.com/v1/Alerts, here at the same address as the rest).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from ops.vendors.twilio.simulator.calls import API_VERSION
from ops.vendors.twilio.simulator.errors import MORE, Notice

KEPT = 1000


@dataclass(frozen=True)
class Alert:
    """One entry: the notice, the call it is about, and when."""

    sid: str
    call_sid: str
    notice: Notice
    date: datetime


class Debugger:
    """The newest alerts of an account."""

    def __init__(self) -> None:
        self._alerts: deque[Alert] = deque(maxlen=KEPT)

    def add(self, alert: Alert) -> None:
        self._alerts.append(alert)

    def page(
        self, account_sid: str, base: str, *, level: str, since: str, until: str, size: int, page: int
    ) -> dict[str, Any]:
        """One page of alerts, newest first; dates are ISO 8601, of which the day is enough."""
        found = [
            alert
            for alert in reversed(self._alerts)
            if level in ("", alert.notice.level) and _between(alert.date, since, until)
        ]
        kept = {"LogLevel": level, "StartDate": since, "EndDate": until}

        def url(number: int) -> str:
            query = {name: value for name, value in kept.items() if value}
            return f"{base}/v1/Alerts?{urlencode({**query, 'PageSize': size, 'Page': number})}"

        more = (page + 1) * size < len(found)
        shown = found[page * size : (page + 1) * size]
        return {
            "alerts": [_resource(account_sid, base, alert) for alert in shown],
            "meta": {
                "key": "alerts",
                "page": page,
                "page_size": size,
                "url": url(page),
                "first_page_url": url(0),
                "previous_page_url": url(page - 1) if page else None,
                "next_page_url": url(page + 1) if more else None,
            },
        }


def _between(date: datetime, since: str, until: str) -> bool:
    shown = date.strftime("%Y-%m-%dT%H:%M:%SZ")
    return (not since or shown >= since) and (not until or shown <= until.ljust(len(shown), "~"))


def _resource(account_sid: str, base: str, alert: Alert) -> dict[str, Any]:
    date = alert.date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "sid": alert.sid,
        "account_sid": account_sid,
        "resource_sid": alert.call_sid,
        "service_sid": None,
        "error_code": str(alert.notice.code),
        "log_level": alert.notice.level,
        "alert_text": alert.notice.message,
        "more_info": f"{MORE}{alert.notice.code}",
        "api_version": API_VERSION,
        "date_created": date,
        "date_generated": date,
        "date_updated": date,
        "request_method": None,
        "request_url": None,
        "url": f"{base}/v1/Alerts/{alert.sid}",
    }
