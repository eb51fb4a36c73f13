"""What the server says: events, errors, closes and identifiers. Pure."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
_ALPHABET = string.ascii_letters + string.digits


class Ids:
    """Identifiers in OpenAI's shape, `item_` and 21 letters or digits; a seed makes them repeatable."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{''.join(self._random.choices(_ALPHABET, k=21))}"


@dataclass(frozen=True)
class Close:
    """The server ends the connection: a websocket close code and its reason."""

    code: int
    reason: str


@dataclass(eq=False)
class Problem(Exception):
    """Why something was refused, in OpenAI's words; `param` names the field, like 'session.type'."""

    message: str
    code: str | None = None
    param: str | None = None
    type: str = "invalid_request_error"

    def shown(self) -> Event:
        return {"type": self.type, "code": self.code, "message": self.message, "param": self.param}


def event(type: str, /, **fields: Any) -> Event:
    """A server event; the session adds its `event_id` when it is sent."""
    return {"type": type, **fields}


def error(problem: Problem, client_event_id: str | None = None) -> Event:
    """The `error` event; `event_id` inside is that of the client event that caused it."""
    return event("error", error={**problem.shown(), "event_id": client_event_id})


INVALID_KEY = Problem(
    "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    "invalid_api_key",
)
NO_KEY = Problem(
    "You didn't provide an API key. You need to provide your API key in an Authorization header using "
    "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
)
BETA = Problem(
    "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.",
    "beta_api_shape_disabled",
)
EXPIRED = Problem("Your session hit the maximum duration of 60 minutes.", "session_expired")
RATE_LIMITED = Problem(
    "Rate limit reached for requests. Please try again later.", "rate_limit_exceeded", type="requests"
)
NO_QUOTA = Problem(
    "You exceeded your current quota, please check your plan and billing details.",
    "insufficient_quota",
    type="insufficient_quota",
)
SERVER_ERROR = Problem(
    "The server had an error while processing your request. Sorry about that!", None, type="server_error"
)


def close_of(problem: Problem, code: int) -> Close:
    """The close that follows a fatal error: its reason is `type.code`, as OpenAI writes it."""
    return Close(code, f"{problem.type}.{problem.code}")


def unknown_model(model: str) -> Problem:
    return Problem(
        f"The model `{model[:100]}` does not exist or you do not have access to it.", "model_not_found"
    )


def active_response(id: str) -> Problem:
    return Problem(
        f"Conversation already has an active response in progress: {id}. "
        "Wait until the response is finished before creating a new one.",
        "conversation_already_has_active_response",
    )
