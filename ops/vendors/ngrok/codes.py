"""ngrok's error numbers that a tunnel meets: what each means and what to do. Pure.

The texts are our own; each number's page is https://ngrok.com/docs/errors/err_ngrok_NUMBER.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    meaning: str
    fix: str


CODES: dict[int, Code] = {
    105: Code("the authtoken is malformed", "copy NGROK_AUTH_TOKEN again from the ngrok dashboard"),
    107: Code(
        "the authtoken is not valid or was revoked", "copy NGROK_AUTH_TOKEN again from the ngrok dashboard"
    ),
    108: Code(
        "the account's agent session is in use elsewhere",
        "end the other ngrok agent; the ngrok dashboard lists it under Agents",
    ),
    120: Code("the agent is too old", "update it: `ngrok update`"),
    334: Code("the endpoint is already online elsewhere", "end the other agent, or use another NGROK_DOMAIN"),
    702: Code("too many connections a minute", "wait, or raise the plan's limit"),
    3004: Code(
        "the service behind the tunnel sent an invalid answer",
        "check that the tunnel points at the websocket server",
    ),
    3200: Code("the tunnel's endpoint is offline", "start the tunnel: `inv start`"),
    4018: Code("an account and its authtoken are needed", "set NGROK_AUTH_TOKEN"),
    8012: Code("the agent cannot reach the service behind it", "start the websocket server: `inv start`"),
}


def find(text: str) -> int | None:
    """The first `ERR_NGROK_…` number in a text."""
    found = re.search(r"ERR_NGROK_(\d{1,5})", text)
    return int(found[1]) if found else None


def explain(number: int | None) -> Code | None:
    """What an error number means, or None for one that is not in the table."""
    return CODES.get(number) if number is not None else None
