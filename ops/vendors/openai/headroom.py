"""How much of OpenAI's rate limits is left: told only when a response begins, so a short one is asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ops.findings import Check, Finding, Knowledge, fail, ok, unknown, warn
from ops.net.http import Unanswered
from ops.net.probe import UpgradeRefused, opened
from ops.vendors.openai.client import FIXES
from ops.world import World

LOW = 0.2  # share of a limit
WITHIN = 4.5  # seconds
ASK = {
    "type": "response.create",
    "response": {
        "conversation": "none",
        "output_modalities": ["text"],
        "max_output_tokens": 16,
        "instructions": "Say ok.",
        "input": [],
    },
}
Limits = Iterable[Mapping[str, Any]]


def headroom(world: World) -> Finding:
    """Asks the model for one short text outside of any conversation, and reads the limits told with it."""
    from websockets.exceptions import ConnectionClosed

    id, settings = "openai.headroom", world.settings
    url = f"{settings.openai_realtime_url}?model={settings.openai_model}"
    key = settings.openai_api_key
    headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
    until = time.monotonic() + WITHIN
    try:
        with opened(url, headers=headers, timeout=WITHIN) as connection:
            connection.socket.send(json.dumps(ASK))
            while True:
                event = json.loads(connection.socket.recv(timeout=max(0.05, until - time.monotonic())))
                if event.get("type") == "rate_limits.updated":
                    return judge(event.get("rate_limits") or (), url)
                if (refused := _refusal(event)) is not None:
                    code, message = refused
                    fix = FIXES.get(code, "see the message; OpenAI's platform page shows limits and usage")
                    words = f"OpenAI gives no answer: {code}: {message}"
                    return fail(id, words, fix=fix, asked=url, code=code)
                if event.get("type") == "response.done":
                    return unknown(id, "OpenAI answered without telling its limits.", asked=url)
    except UpgradeRefused as problem:
        return unknown(id, problem.message, fix=problem.fix, asked=url, status=problem.status)
    except (TimeoutError, ConnectionClosed):
        raise Unanswered(url, "timeout", "opened, but told no limits in time") from None


def judge(limits: Limits, asked: str) -> Finding:
    """Whether at least a fifth of each limit (`name`, `limit`, `remaining`) is left."""
    id = "openai.headroom"
    shares = {
        str(one["name"]): one["remaining"] / one["limit"]
        for one in limits
        if isinstance(one.get("limit"), int | float) and one["limit"] > 0 and "remaining" in one
    }
    if not shares:
        return unknown(id, "OpenAI tells no limits for this key.", asked=asked)
    name = min(shares, key=lambda one: shares[one])
    percent = {each: round(100 * share) for each, share in shares.items()}
    evidence = {"asked": asked, "percent_left": percent}
    if shares[name] < LOW:
        return warn(
            id,
            f"Of OpenAI's limit of {name} a minute {percent[name]} % is left: calls fail when it is used up.",
            fix="lower MAX_LIVE_CALLS, use a smaller model, or raise the project's limits; long calls send "
            "their whole context with each answer",
            **evidence,
        )
    return ok(id, f"Of OpenAI's limits at least {percent[name]} % is left ({name}).", **evidence)


def _refusal(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Code and message of an error event, or of a response that failed."""
    error: Any = event.get("error") if event.get("type") == "error" else None
    if event.get("type") == "response.done":
        response = event.get("response") or {}
        if response.get("status") == "failed":
            error = (response.get("status_details") or {}).get("error") or {}
    if not isinstance(error, Mapping):
        return None
    return str(error.get("code") or error.get("type")), str(error.get("message") or "")[:200]


CHECKS: tuple[Check[World], ...] = (
    Check(
        "openai.headroom",
        "How much of OpenAI's rate limits is left?",
        headroom,
        unless=("openai.key", "openai.protocol", "openai.model", "openai.realtime"),
        deadline=5.0,
        about=Knowledge(
            symptom="Calls go silent after a minute or two, or when several are live at once.",
            evidence="The limits and what remains of them, told as a response of a few words begins.",
            cause="Each answer sends the whole conversation again: tokens a minute grow with the length and "
            "number of calls.",
            fix="Fewer calls at once, a smaller model, or higher limits for the project.",
            verify="At least 20 % of each limit is left.",
            source="https://platform.openai.com/docs/guides/rate-limits",
            vantage="vendor",
        ),
    ),
)
