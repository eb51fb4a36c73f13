"""Tells the simulated phone what to do when it rings, asks what it heard, and orders faults.

These are the control paths of the simulators, apart from the vendors' own. Nothing here is used
when Twilio is live: then a person, or another agent, answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from ops.calls.scenario import Scenario
from ops.config import Settings
from ops.errors import OpsError, Refused
from ops.net.http import Answer, Http
from ops.vendors.twilio.client import Twilio

CALLER = "+12025550123"  # who rings a webhook: a fictional number


@dataclass(frozen=True)
class Heard:
    """The phone's own view of a call: what it did of its script, what Twilio complained of, and
    whether a media stream was opened."""

    steps: Sequence[Mapping[str, Any]] = ()
    errors: Sequence[Mapping[str, Any]] = ()
    streamed: bool = False

    @staticmethod
    def of(view: Mapping[str, Any]) -> Heard:
        """What stands in the simulator's view of a call."""
        events = _rows(view, "events")
        return Heard(
            steps=_rows(view, "steps"),
            errors=_rows(view, "errors"),
            streamed=any(event.get("name") == "stream.started" for event in events),
        )


def teach(settings: Settings, number: str, scenario: Scenario) -> bool:
    """Give the phone at that number the scenario's steps; False when Twilio is not simulated.

    Raises Refused when the simulator at that address is another project's: it has other credentials.
    """
    if settings.vendors.get("twilio") != "simulated":
        return False
    with Twilio.of(settings) as twilio:
        try:
            twilio.account()
        except Refused as problem:
            raise Refused(
                f"The simulator at {settings.twilio_api_url} does not know this project's account.",
                fix="another project's stack holds that port: stop it there, or set SIMULATOR_PORT here",
                code=problem.code,
            ) from None
    body = {"steps": [dict(step) for step in scenario.steps]}
    with Http(settings.twilio_api_url) as http:
        _put(http, "PUT", f"/_sim/phones/{quote(number, safe='')}", body).checked(
            fix="correct the scenario's steps, or start the stack anew: inv cleanup start"
        )
    return True


def heard(settings: Settings, call_sid: str) -> Heard | None:
    """What the simulated phone says of the call; None when it is not simulated or does not know the call."""
    if settings.vendors.get("twilio") != "simulated":
        return None
    with Http(settings.twilio_api_url) as http:
        answer = http.get(f"/_sim/calls/{call_sid}")
        if answer.status != 200:
            return None
        view = answer.json()
    return Heard.of(view) if isinstance(view, dict) else None


def dial(settings: Settings, webhook: str, scenario: Scenario) -> str:
    """Let a scripted caller ring the agent behind a voice webhook; the call's SID."""
    order = {
        "from": CALLER,
        "to": settings.twilio_phone_number,
        "webhook": webhook,
        "steps": [dict(step) for step in scenario.steps],
    }
    with Http(settings.twilio_api_url) as http:
        answer = _put(http, "POST", "/_sim/dial", order).checked(
            fix="correct --webhook or the scenario's steps"
        )
    return str(answer.json()["call_sid"])


def view(settings: Settings, call_sid: str) -> Mapping[str, Any]:
    """All that the simulated phone says of a call."""
    with Http(settings.twilio_api_url) as http:
        found = (
            http.get(f"/_sim/calls/{call_sid}").checked(fix="start the simulators anew: inv simulate").json()
        )
    return found if isinstance(found, dict) else {}


def hang_up(settings: Settings, call_sid: str) -> None:
    """Let the caller hang up; best effort."""
    with suppress(OpsError), Http(settings.twilio_api_url) as http:
        http.request("POST", f"/_sim/calls/{call_sid}/hang-up")


def sessions(settings: Settings) -> list[Mapping[str, Any]]:
    """What the simulated model says of its sessions, live and ended; none where it does not run."""
    with suppress(OpsError), Http(_simulators(settings)["openai"]) as http:
        answer = http.get("/_sim/sessions")
        if answer.status == 200 and isinstance(found := answer.json(), dict):
            return _rows(found, "sessions")
    return []


def audio(settings: Settings, call_sid: str) -> bytes | None:
    """The call as the simulated phone heard and spoke it, as a WAV file; None when there is none."""
    if settings.vendors.get("twilio") != "simulated":
        return None
    with Http(settings.twilio_api_url, limit=256 * 1024 * 1024, timeout=15.0) as http:
        answer = http.get(f"/_sim/calls/{call_sid}/audio.wav")
    return answer.body if answer.status == 200 else None


def order_fault(settings: Settings, fault: str) -> str:
    """Make the simulator whose catalogue knows this fault fail once; its vendor's name.

    `fault` is a name, or VENDOR:NAME where two catalogues have the same name. Raises OpsError when
    no vendor is simulated or none of the simulators knows the fault.
    """
    vendor, _, name = fault.rpartition(":")
    asked = {one: url for one, url in _simulators(settings).items() if vendor in ("", one)}
    if not asked:
        why = f"{vendor} is not simulated" if vendor else "no vendor is simulated"
        raise OpsError(
            f"The fault {fault} cannot be ordered: {why}.",
            fix="faults need a simulator: use --offline",
        )
    refusals = []
    for one, address in asked.items():
        with Http(address) as http:
            answer = _put(http, "POST", "/_sim/faults", {"name": name, "times": 1})
        if answer.status < 300:
            return one
        refusals.append(f"{one}: {answer.status} {answer.text[:800].strip()}")
    raise OpsError(
        f"No simulator knows the fault {fault} ({'; '.join(refusals)}).", fix="name one of these faults"
    )


def withdraw_fault(settings: Settings, vendor: str, fault: str) -> None:
    """Take an ordered fault back, so that it does not strike in a later call; best effort."""
    with suppress(OpsError), Http(_simulators(settings)[vendor]) as http:
        if http.request("DELETE", "/_sim/faults").status >= 300:
            _put(http, "POST", "/_sim/faults", {"name": fault.rpartition(":")[2], "times": 0})


def _simulators(settings: Settings) -> dict[str, str]:
    parts = urlsplit(settings.openai_base_url)
    addresses = {
        "twilio": settings.twilio_api_url,
        "openai": f"{parts.scheme}://{parts.netloc}",
        "ngrok": settings.ngrok_api,
    }
    if settings.public_url:
        del addresses["ngrok"]
    return {vendor: url for vendor, url in addresses.items() if settings.vendors.get(vendor) == "simulated"}


def _rows(view: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = view.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _put(http: Http, method: str, path: str, body: Mapping[str, Any]) -> Answer:
    kind = {"Content-Type": "application/json"}
    return http.request(method, path, content=json.dumps(body).encode(), headers=kind)
