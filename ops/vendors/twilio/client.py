"""Asks Twilio's REST API (2010-04-01): the account, its numbers, calls.

Every question raises `ops.net.http.Unanswered` when it could not be asked and
`ops.net.http.Declined` with Twilio's own error number when the answer was no. Nothing is tried
twice: making a call is not idempotent, and a repeated one would ring a person again. Nothing is dialled
that `destinations` refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

from ops.config import Settings
from ops.errors import SettingsError
from ops.net.http import Answer, Declined, Form, Http
from ops.values import Secret
from ops.vendors.twilio import wire
from ops.vendors.twilio.codes import explain
from ops.vendors.twilio.destinations import Destinations


@dataclass(frozen=True)
class Account:
    """An account: status active, suspended or closed; kind Trial or Full."""

    sid: str
    name: str
    status: str
    kind: str


@dataclass(frozen=True)
class Balance:
    amount: float
    currency: str


@dataclass(frozen=True)
class Number:
    """An incoming number and where its calls go; an application or a trunk overrides `voice_url`."""

    sid: str
    phone_number: str
    voice: bool
    voice_url: str
    voice_method: str
    voice_fallback_url: str
    status_callback: str
    application_sid: str
    trunk_sid: str


@dataclass(frozen=True)
class Call:
    """A call as Twilio sees it; `duration` in seconds once it has ended."""

    sid: str
    status: str
    to: str
    from_: str
    direction: str
    duration: int | None


@dataclass(frozen=True)
class Alert:
    """An entry of Twilio's Debugger: its error number, level, when, and the call it is about."""

    code: str
    level: str
    date: datetime
    resource_sid: str
    text: str


class Twilio:
    """One account's REST API; use it as a context manager, or `close()` it."""

    def __init__(
        self,
        base: str,
        account_sid: str,
        auth: tuple[str, Secret],
        *,
        timeout: float = 4.0,
        destinations: Destinations | None = None,
    ) -> None:
        self.account_sid = account_sid
        self.path = f"/2010-04-01/Accounts/{account_sid}"
        self._auth, self._timeout = auth, timeout
        self._destinations = destinations or Destinations()
        self._http = Http(base, auth=auth, timeout=timeout)

    @staticmethod
    def of(settings: Settings, *, timeout: float = 4.0) -> Twilio:
        """The account of these settings; with its API key where there is one."""
        account, token = settings.twilio_account_sid, settings.twilio_auth_token
        if account is None or token is None:
            raise SettingsError((), dict(settings.vendors))
        auth = (account, token)
        if settings.twilio_api_key and settings.twilio_api_secret:
            auth = (settings.twilio_api_key, settings.twilio_api_secret)
        destinations = Destinations.of(settings)
        return Twilio(settings.twilio_api_url, account, auth, timeout=timeout, destinations=destinations)

    def __enter__(self) -> Twilio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.__exit__(None, None, None)

    def account(self) -> Account:
        found = self._get(f"{self.path}.json")
        return Account(
            _text(found, "sid"), _text(found, "friendly_name"), _text(found, "status"), _text(found, "type")
        )

    def balance(self) -> Balance:
        found = self._get(f"{self.path}/Balance.json")
        return Balance(float(found["balance"]), _text(found, "currency"))

    def numbers(self, phone_number: str | None = None) -> tuple[Number, ...]:
        """The account's incoming numbers (at most 1,000), or those that match one number."""
        wanted = {"PhoneNumber": phone_number} if phone_number else {}
        found = self._get(f"{self.path}/IncomingPhoneNumbers.json", {"PageSize": "1000", **wanted})
        return tuple(_number(one) for one in found["incoming_phone_numbers"])

    def update_number(self, sid: str, *, voice_url: str, voice_method: str = "POST") -> Number:
        """Sends the number's calls to `voice_url` from now on."""
        form = {"VoiceUrl": voice_url, "VoiceMethod": voice_method}
        return _number(self._post(f"{self.path}/IncomingPhoneNumbers/{quote(sid, safe='')}.json", form))

    def create_call(self, *, to: str, from_: str, url: str, status_callback: str | None = None) -> Call:
        """Places one call, once: after a timeout it may ring all the same, so never repeat it blindly."""
        self._may_dial(to)
        form = [("To", to), ("From", from_), ("Url", url), ("Method", "POST")]
        if status_callback:
            form += [("StatusCallback", status_callback), ("StatusCallbackMethod", "POST")]
            events = ("initiated", "ringing", "answered", "completed")
            form += [("StatusCallbackEvent", event) for event in events]
        return _call(self._post(f"{self.path}/Calls.json", form))

    def calls(self, status: str) -> tuple[Call, ...]:
        """The account's calls (at most 100, the newest) of one status, such as queued or in-progress."""
        found = self._get(f"{self.path}/Calls.json", {"Status": status, "PageSize": "100"})
        return tuple(_call(one) for one in found["calls"])

    def fetch_call(self, sid: str) -> Call:
        return _call(self._get(f"{self.path}/Calls/{quote(sid, safe='')}.json"))

    def hang_up(self, sid: str) -> Call:
        """Ends a call that is in progress, or cancels one that rings."""
        return _call(self._post(f"{self.path}/Calls/{quote(sid, safe='')}.json", {"Status": "completed"}))

    def transfer(self, sid: str, number: str, afterwards: str) -> Call:
        """Connects a call that is in progress to another number, whatever it is doing; a caller with whom
        nobody speaks there, or no longer, is told `afterwards`."""
        self._may_dial(number)
        twiml = wire.dial(number, afterwards)
        return _call(self._post(f"{self.path}/Calls/{quote(sid, safe='')}.json", {"Twiml": twiml}))

    def alerts(self, since: datetime) -> tuple[Alert, ...]:
        """The Debugger's newest entries (at most 100) from `since` on; they are on a host of their own."""
        params = {"PageSize": "100", "StartDate": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        with Http(monitor(self._http.base), auth=self._auth, timeout=self._timeout) as http:
            found = _document(http.get("/v1/Alerts", params))
        return tuple(one for one in map(_alert, found["alerts"]) if one.date >= since)

    def _may_dial(self, number: str) -> None:
        if (refusal := self._destinations.refusal(number)) is not None:
            raise refusal

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return _document(self._http.get(path, params))

    def _post(self, path: str, form: Form) -> dict[str, Any]:
        return _document(self._http.post(path, form))


def monitor(base: str) -> str:
    """Where the Debugger's entries are asked: Twilio's monitor host, or the stand-in's own address."""
    host = urlsplit(base).hostname or ""
    if host == "api.twilio.com" or (host.startswith("api.") and host.endswith(".twilio.com")):
        return base.replace("//api.", "//monitor.", 1)
    return base


def _document(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer, or `Declined` with Twilio's number and what it means."""
    if answer.status < 400:
        found = answer.checked().json()
        if isinstance(found, dict):
            return found
        raise Declined(
            answer,
            f"{answer.url} answered JSON that is not an object.",
            fix="check TWILIO_API_URL: it is not Twilio's API",
        )
    try:
        error = answer.json()
        code, message = error["code"], str(error["message"])[:300]
    except (Declined, KeyError, TypeError):
        answer.checked(fix="check TWILIO_API_URL")
        raise
    known = explain(code)
    meaning = f" ({known.meaning})" if known else ""
    fix = known.fix if known else f"see https://www.twilio.com/docs/api/errors/{code}"
    raise Declined(answer, f"Twilio refused with {code}: {message}{meaning}.", fix=fix, code=code)


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _number(found: Mapping[str, Any]) -> Number:
    return Number(
        sid=_text(found, "sid"),
        phone_number=_text(found, "phone_number"),
        voice=bool((found.get("capabilities") or {}).get("voice")),
        voice_url=_text(found, "voice_url"),
        voice_method=_text(found, "voice_method"),
        voice_fallback_url=_text(found, "voice_fallback_url"),
        status_callback=_text(found, "status_callback"),
        application_sid=_text(found, "voice_application_sid"),
        trunk_sid=_text(found, "trunk_sid"),
    )


def _call(found: Mapping[str, Any]) -> Call:
    duration = found.get("duration")
    return Call(
        sid=_text(found, "sid"),
        status=_text(found, "status"),
        to=_text(found, "to"),
        from_=_text(found, "from"),
        direction=_text(found, "direction"),
        duration=int(duration) if duration not in (None, "") else None,
    )


def _alert(found: Mapping[str, Any]) -> Alert:
    when = _text(found, "date_generated") or _text(found, "date_created")
    return Alert(
        code=str(found.get("error_code") or ""),
        level=_text(found, "log_level"),
        date=datetime.fromisoformat(when),
        resource_sid=_text(found, "resource_sid"),
        text=_text(found, "alert_text")[:300],
    )
