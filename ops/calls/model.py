"""Judges what the simulated model says of a stranger's call: its sessions, errors and ends. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ops.findings import Finding, fail, ok, skip, warn

Session = Mapping[str, Any]
FATAL_CLOSES = (1011, 3000, 4000)  # codes with which only the model ends a session
TRUNCATE = "conversation.item.truncate"
_FIXES: Mapping[str, str] = {
    "beta_api_shape_disabled": "send no OpenAI-Beta header, and the GA session: "
    '{"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}, …}, "output": {…}}}',
    "invalid_api_key": "give the bridge the stand-in's key: set -a; . logs/run/simulated.env",
    "missing_model": "name the model in the address: /v1/realtime?model=gpt-realtime",
    "model_not_found": "name a model that exists: GET /v1/models lists them",
    "conversation_already_has_active_response": "send response.create only after response.done",
    "response_cancel_not_active": "send response.cancel only while a response is active; harmless otherwise",
    "input_audio_buffer_commit_empty": "with turn detection on, leave the commit to the server",
}
_FIX = "correct the event that this error answers; the bridge gets the same text as an error event"


def judge(
    sessions: Sequence[Session], *, heard: bool, interrupted: bool, address: str
) -> tuple[Finding, ...]:
    """Findings about the sessions that came during a call; `heard` tells whether the agent spoke,
    `interrupted` whether the phone's buffer was cleared, `address` is the stand-in's."""
    if not sessions and heard:
        return (skip("call.model", "The agent's model is not the stand-in, so its sessions are not judged."),)
    if not sessions:
        return (
            fail(
                "call.model",
                f"No Realtime session came to {address} during the call.",
                fix="start the bridge with the stand-in's environment: set -a; . logs/run/simulated.env; "
                "where its code names wss://api.openai.com, let it read OPENAI_REALTIME_URL",
            ),
        )
    return (*_errors(sessions), *_manners(sessions, interrupted))


def _errors(sessions: Sequence[Session]) -> list[Finding]:
    """One finding for each kind of error; it fails where it ended the session."""
    counts: Counter[str] = Counter()
    first: dict[str, tuple[Mapping[str, Any], Session]] = {}
    for session in sessions:
        for error in session.get("errors", ()):
            name = str(error.get("code") or error.get("type") or "error")
            counts[name] += 1
            first.setdefault(name, (error, session))
    findings = []
    for name, (error, session) in first.items():
        times = f" {counts[name]} times" if counts[name] > 1 else ""
        ends = _ended_by_model(session) and error is session["errors"][-1]
        then = f" and ended the session{_how(session)}" if ends else ""
        summary = f"The model answered the bridge with {name}{times}{then}: {error.get('message')}"
        make = fail if ends else warn
        evidence = {"param": error.get("param"), "count": counts[name]}
        findings.append(make(f"call.model-{name}", summary, fix=_FIXES.get(name, _FIX), **evidence))
    return findings


def _manners(sessions: Sequence[Session], interrupted: bool) -> list[Finding]:
    """What a bridge owes its model: to tell what was heard, and to hang up."""
    findings = []
    served = [session for session in sessions if session.get("sent")]
    truncates = sum(session["received"].get(TRUNCATE, 0) for session in served)
    if interrupted and served and not truncates:
        findings.append(
            warn(
                "call.model-truncate",
                "After the interruption the model was not told what was heard, so it believes that it said "
                "everything.",
                fix=f"send {TRUNCATE} with the milliseconds that were played when you send `clear`",
            )
        )
    if left := sum(bool(session.get("live")) for session in served):
        findings.append(
            warn(
                "call.model-open",
                "The phone hung up, but the Realtime connection was not closed and goes on costing money.",
                fix="close the model's connection when the media stream stops",
                count=left,
            )
        )
    if served and not findings and not any(session["errors"] for session in sessions):
        findings.append(
            ok("call.model", f"{len(served)} Realtime session without an error.", count=len(served))
        )
    return findings


def _ended_by_model(session: Session) -> bool:
    code = (session.get("close") or {}).get("code")
    expired = any(error.get("code") == "session_expired" for error in session["errors"])
    return expired or code in FATAL_CLOSES or session.get("status") is not None


def _how(session: Session) -> str:
    close = session.get("close")
    return f" with close code {close['code']}" if close else f" with HTTP {session.get('status')}"
