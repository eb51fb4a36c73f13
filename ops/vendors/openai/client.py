"""Asks OpenAI's REST API: which models this key may use, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from ops.config import Settings
from ops.net.http import Answer, Declined, Http

FIXES = {
    "invalid_api_key": "put a valid key into OPENAI_API_KEY; keys are on the OpenAI platform page",
    "insufficient_quota": "add credit to the OpenAI account, or raise the project's budget",
    "rate_limit_exceeded": "wait, or raise the project's rate limits",
    "model_not_found": "use a model that the project may use: set OPENAI_MODEL",
    "beta_api_shape_disabled": "use the GA shape of the Realtime API: no OpenAI-Beta header, session.type "
    "realtime",
    "session_expired": "open a new session",
}


@dataclass(frozen=True)
class Model:
    """A model that the key may use; `shutdown_date` is the day on which it goes away, where announced."""

    id: str
    shutdown_date: date | None = None


def models(settings: Settings, *, timeout: float = 3.0) -> tuple[Model, ...]:
    """All models of `GET /models`; `Declined` with OpenAI's code when the key is not accepted."""
    key = settings.openai_api_key
    headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
    with Http(settings.openai_base_url, headers=headers, timeout=timeout) as http:
        answer = http.get("/models")
    found = _document(answer)
    try:
        return tuple(Model(str(one["id"]), _day(one.get("shutdown_date"))) for one in found["data"])
    except (KeyError, TypeError, AttributeError):
        message = f"{answer.url} answered JSON that is not a list of models."
        raise Declined(answer, message, fix="check OPENAI_BASE_URL: it is not OpenAI's API") from None


def _document(answer: Answer) -> Mapping[str, Any]:
    if answer.status < 400:
        found = answer.checked().json()
        return found if isinstance(found, dict) else {}
    try:
        error = answer.json()["error"]
        code, message = error.get("code") or error.get("type"), str(error.get("message"))[:300]
    except (Declined, KeyError, TypeError, AttributeError):
        answer.checked(fix="check OPENAI_BASE_URL")
        raise
    fix = FIXES.get(str(code), "see the message; OpenAI's platform page shows keys, limits and usage")
    raise Declined(answer, f"OpenAI refused with {code}: {message}", fix=fix, code=code)


def _day(value: object) -> date | None:
    """A shutdown date as a day: ISO 8601, or seconds since 1970."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).date()
        return datetime.fromisoformat(value).date() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
