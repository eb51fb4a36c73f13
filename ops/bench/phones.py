"""Places calls with a simulator of Twilio: its REST for the call, its own paths for who picks up."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode

from ops.config import Settings
from ops.errors import Unreachable

NUMBERS = tuple(f"+120255501{last:02}" for last in range(30, 40))
AGENT = "+12025550100"  # the number that a simulated account has by itself
TIMEOUT = 10.0  # seconds for one request
Steps = list[dict[str, Any]]


class Phones:
    """The phones of one simulator; every method waits for its answer."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._port = port
        self._sid, token = settings.twilio_account_sid, settings.twilio_auth_token
        self._from = settings.twilio_phone_number or ""
        secret = token.reveal() if token else ""
        self._key = base64.b64encode(f"{self._sid}:{secret}".encode()).decode()

    def script(self, number: str, steps: Steps) -> None:
        """What the person at this number does when called."""
        order = {"steps": steps, "ring_ms": 0}
        self._ask("PUT", f"/_sim/phones/{quote(number)}", json.dumps(order), "application/json")

    def call(self, number: str, stream: str) -> str:
        """Call this number and connect it to a stream; the call's SID."""
        twiml = f'<Response><Connect><Stream url="{stream}"/></Connect></Response>'
        form = urlencode({"To": number, "From": self._from, "Twiml": twiml})
        path = f"/2010-04-01/Accounts/{self._sid}/Calls.json"
        return str(self._ask("POST", path, form, "application/x-www-form-urlencoded")["sid"])

    def dial(self, steps: Steps) -> str:
        """Somebody calls the account's number, and does this; the call's SID."""
        order = json.dumps({"from": NUMBERS[0], "to": AGENT, "steps": steps})
        return str(self._ask("POST", "/_sim/dial", order, "application/json")["call_sid"])

    def hang_up(self, sid: str) -> None:
        self._ask("POST", f"/_sim/calls/{sid}/hang-up", "", "application/json")

    def view(self, sid: str) -> dict[str, Any]:
        """What the simulator itself says of a call."""
        return self._ask("GET", f"/_sim/calls/{sid}", "", "application/json")

    def _ask(self, method: str, path: str, body: str, kind: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        headers = {"Authorization": f"Basic {self._key}", "Content-Type": kind}
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise Unreachable(
                    f"{method} {path}: expected success, got {answer.status} {text[:200]!r}",
                    fix="read the simulator's output",
                )
            found: dict[str, Any] = json.loads(text)
            return found
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise Unreachable(f"{method} {path}: {problem}", fix="read the simulator's output") from None
        finally:
            connection.close()
