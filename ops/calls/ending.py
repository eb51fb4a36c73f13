"""Judges how a call ended at Twilio and what the simulated phone says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.findings import Finding, fail, ok, unknown, warn
from ops.vendors.twilio.codes import explain

_ENDINGS = {
    "busy": ("The called number was busy.", "call again, or another number with --to"),
    "no-answer": ("Nobody answered.", "answer the phone, or call another number with --to"),
    "canceled": ("The call was cancelled before it was answered.", "call again"),
    "failed": ("Twilio could not connect the call.", "check the called number: inv validate --only twilio"),
}
_CONNECT = "answer the webhook with <Response><Connect><Stream url=…/></Connect></Response>"
_INBOUND = {
    "busy": ("The TwiML rejected the call as busy.", _CONNECT),
    "no-answer": ("The call was never answered: the TwiML is empty or rejects it.", _CONNECT),
    "canceled": ("The caller hung up before the call was answered.", _CONNECT),
    "failed": ("The call broke off before it was answered.", "read logs/twilio-simulator.jsonl"),
}


def status(last: str, *, cut_short: bool, seconds: float, inbound: bool = False) -> Finding:
    """The finding about a call's last status at Twilio; `seconds` is what the scenario allows, `inbound`
    tells that the agent was called."""
    if cut_short:
        return fail(
            "call.status",
            f"The call was not over when its time was, and was hung up (the scenario allows {seconds:g} s).",
            fix="see in the report which step it waited for; a scenario's own limit is expect.seconds",
            status=last,
        )
    if last == "completed":
        return ok("call.status", "Twilio completed the call.", status=last)
    if last in _ENDINGS:
        summary, fix = (_INBOUND if inbound else _ENDINGS)[last]
        return fail("call.status", summary, fix=fix, status=last)
    fix = "ask again: inv validate --only twilio"
    return unknown("call.status", f"Twilio did not say that the call is over; it last said {last}.", fix=fix)


def phone(steps: Iterable[Mapping[str, Any]], errors: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Findings of the simulated phone: its first step that was not done, and Twilio's error numbers."""
    findings = []
    undone = [(number, step) for number, step in enumerate(steps, 1) if step.get("done") is False]
    if undone:
        number, step = undone[0]
        findings.append(
            fail(
                "call.phone-step",
                f"The caller could not do step {number}: {_words(step)}.",
                fix="listen to call.wav: the step waits for what the agent says or leaves unsaid",
                step=number,
                **{key: value for key, value in step.items() if key in ("do", "line", "ms", "timeout_ms")},
            )
        )
    for error in errors:
        code, message = error.get("code"), str(error.get("message", ""))[:300]
        known = explain(code) if isinstance(code, int) else None
        meaning = f" ({known.meaning})" if known else ""
        fix = known.fix if known else f"see https://www.twilio.com/docs/api/errors/{code}"
        make = warn if error.get("level") == "warning" else fail
        findings.append(make(f"call.twilio-{code}", f"Twilio reports {code}: {message}{meaning}.", fix=fix))
    return findings


def _words(step: Mapping[str, Any]) -> str:
    match step.get("do"):
        case "listen":
            return "it waited for the agent to speak and then fall silent"
        case "hear":
            return f"it waited to hear the agent speak for {step.get('ms')} ms"
        case "stream":
            return "it waited for the media stream"
        case "say":
            return f"say {step.get('line')}"
        case other:
            return str(other)
