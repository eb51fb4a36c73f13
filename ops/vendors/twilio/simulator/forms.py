"""What a form of the REST interface says, checked as Twilio checks it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ops.vendors.twilio.simulator.calls import EVENTS, Instructions
from ops.vendors.twilio.simulator.errors import invalid

Form = Mapping[str, list[str]]


def first(form: Form, name: str) -> str | None:
    """The first value of a name, without spaces around it."""
    return form[name][0].strip() if form.get(name) else None


def number_text(raw: str) -> str:
    """A number as Twilio takes it: punctuation dropped, ten digits are North American."""
    compact = "".join(c for c in raw if c not in " ()-.")
    if len(compact) == 10 and compact.isdigit():
        return f"+1{compact}"
    return f"+{compact}" if len(compact) == 11 and compact.startswith("1") and compact.isdigit() else compact


def url(form: Form, name: str, code: int, message: str) -> str | None:
    """An absolute http or https address, None where there is none; raises RestError with `code`."""
    raw = first(form, name)
    if not raw:
        return None
    try:
        parts = urlsplit(raw)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in raw
    except ValueError:
        usable = False
    if not usable:
        raise invalid(code, f"{message}: {raw[:200]}")
    return raw


def method(form: Form, name: str, code: int = 21200) -> str:
    """GET or POST; raises RestError with `code`."""
    raw = (first(form, name) or "POST").upper()
    if raw not in ("GET", "POST"):
        raise invalid(code, f"{name} must be GET or POST, got {raw[:20]}")
    return raw


def seconds(form: Form, name: str, default: int, high: int, code: int) -> float:
    """A whole number of seconds from 1 to `high`; raises RestError with `code`."""
    raw = first(form, name) or str(default)
    if not (raw.isascii() and raw.isdigit() and len(raw) < 9) or not 1 <= int(raw) <= high:
        raise invalid(code, f"{name} must be from 1 to {high} seconds, got {raw[:20]}")
    return float(raw)


def instructions(form: Form) -> Instructions:
    """What a form says of TwiML and callbacks; raises RestError."""
    asked = [word for text in form.get("StatusCallbackEvent", []) for word in text.split()]
    if unknown := [word for word in asked if word not in EVENTS]:
        raise invalid(21626, f"Invalid 'StatusCallbackEvent': {unknown[0][:40]}")
    twiml = first(form, "Twiml")
    if twiml and len(twiml) > 4000:
        raise invalid(21200, "Twiml is longer than 4000 characters")
    address = url(form, "Url", 21205, "Url is not a valid URL")
    return Instructions(
        url=address,
        method=method(form, "Method"),
        twiml=None if address else twiml,
        fallback_url=url(form, "FallbackUrl", 21205, "FallbackUrl is not a valid URL"),
        fallback_method=method(form, "FallbackMethod"),
        status_callback=url(form, "StatusCallback", 21609, "Invalid 'StatusCallback' URL"),
        status_method=method(form, "StatusCallbackMethod"),
        status_events=tuple(asked) or ("completed",),
    )
