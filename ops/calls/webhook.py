"""A scripted caller rings any voice webhook: a bridge is followed from its two ends, and judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ops.calls import audio, ending, model, phone, vantage
from ops.calls.judge import judge
from ops.calls.place import Progress
from ops.calls.run import Outcome, failing, leave, recorded
from ops.calls.scenario import ANY_AGENT, Scenario, from_the_phone, load
from ops.calls.timeline import Record, read
from ops.config import Settings
from ops.errors import OpsError
from ops.journal.hops import Hop
from ops.journal.write import logger
from ops.speech import library

LOOK = 0.1  # seconds between two looks at the phone
BEFORE_STREAM = 90.0  # seconds: an agent may have much to say before it listens
GOODBYE = 3.0  # seconds in which a bridge should have closed its model's session
_SHOWN = (Hop.WEBHOOK, Hop.TWIML, Hop.STARTED, Hop.FIRST_AUDIO, Hop.CLEARED, Hop.STOPPED, Hop.ENDED)
_log = logger(__name__)


def run(
    settings: Settings,
    *,
    webhook: str,
    scenario: str = ANY_AGENT.name,
    fault: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Ring the webhook, follow the call to its end, judge it; the report stays in the call's folder.

    The simulators must run: `settings` say where. Raises OpsError when the call could not be made; a
    call that went wrong is a failing finding. Ctrl-C hangs up.
    """
    checked(webhook)
    script = load(scenario, lambda name: Path(name).read_text("utf-8"))
    before = {session.get("id") for session in phone.sessions(settings)}
    with failing(settings, fault, progress):
        call_sid = phone.dial(settings, webhook, script)
        _log.hop(Hop.PLACED, "the caller rings", call_sid=call_sid)
        try:
            view, cut_short = _follow(settings, call_sid, script, progress)
        except BaseException:
            phone.hang_up(settings, call_sid)
            raise
    sessions = _sessions(settings, before)
    return conclude(settings, script, view, sessions, cut_short=cut_short)


def checked(webhook: str) -> None:
    """Refuse what cannot be a voice webhook's address."""
    try:
        parts = urlsplit(webhook)
        parts.port  # noqa: B018  (raises on a bad port)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        good = False
    if not good or any(ord(c) < 33 for c in webhook):
        raise OpsError(
            f"--webhook: expected an http:// or https:// URL, got {webhook[:100]!r}.",
            fix="give the bridge's voice webhook, like http://127.0.0.1:5000/incoming-call",
        )


def _follow(
    settings: Settings, call_sid: str, scenario: Scenario, progress: Callable[[Progress], None]
) -> tuple[Mapping[str, Any], bool]:
    """The phone's view of the call when it is over, and whether it had to be ended."""
    told: set[tuple[str, str]] = set()
    until, streams = time.monotonic() + BEFORE_STREAM, False
    while True:
        view = phone.view(settings, call_sid)
        for record in _records(view, ()):
            _tell(record, view, told, progress)
        if view.get("status") in vantage.FINAL:
            return view, False
        if not streams and phone.Heard.of(view).streamed:
            until, streams = time.monotonic() + scenario.seconds, True
        if time.monotonic() > until:
            progress(Progress(0.0, "trouble", "the call takes too long and is hung up"))
            phone.hang_up(settings, call_sid)
            time.sleep(LOOK)
            return phone.view(settings, call_sid), True
        time.sleep(LOOK)


def _sessions(settings: Settings, before: set[Any]) -> list[Mapping[str, Any]]:
    """The model's sessions that began during the call, as soon as they are over."""
    until = time.monotonic() + GOODBYE
    while True:
        ours = [session for session in phone.sessions(settings) if session.get("id") not in before]
        if time.monotonic() > until or not any(session.get("live") for session in ours):
            return sorted(ours, key=lambda session: float(session.get("opened", 0)))
        time.sleep(LOOK)


def conclude(
    settings: Settings,
    scenario: Scenario,
    view: Mapping[str, Any],
    sessions: list[Mapping[str, Any]],
    *,
    cut_short: bool,
) -> Outcome:
    """Judge a call that is over and leave report.json, report.html and call.wav in its folder."""
    call_sid = str(view["call_sid"])
    folder = settings.logs / "calls" / call_sid
    folder.mkdir(parents=True, exist_ok=True)
    asked = any(session.get("sent") for session in sessions)
    scenario = from_the_phone(scenario, model=asked)
    timeline = read(scenario, _records(view, sessions))
    heard, address = phone.Heard.of(view), settings.openai_realtime_url
    streamed = timeline.first(Hop.STARTED) is not None
    answered = next((e["at_ms"] for e in view["events"] if e["name"] == "call.in-progress"), None)
    recording = None
    if answered is not None:
        recording, _ = recorded(settings, call_sid, folder / "call.wav", 0.0)
    if recording is not None:  # it begins with the answer
        recording = replace(recording, at_ms=float(answered or 0.0))
    turns = vantage.read_turns(view["events"])
    yields = vantage.yields(turns)
    speaks = timeline.first(Hop.AGENT_SPEAKS) is not None
    interrupted = any(turn.cleared is not None for turn in turns)
    findings = (
        ending.status(str(view["status"]), cut_short=cut_short, seconds=scenario.seconds, inbound=True),
        *judge(scenario, timeline, yields_ms=yields, vantage="phone"),
        *(model.judge(sessions, heard=speaks, interrupted=interrupted, address=address) if streamed else ()),
        *ending.phone(heard.steps, heard.errors),
        audio.judge(recording if streamed else None, streamed=streamed),
    )
    return leave(settings, scenario, call_sid, timeline, recording, findings, yields_ms=yields)


def _records(view: Mapping[str, Any], sessions: Any) -> list[Record]:
    return vantage.records(view, sessions, _text)


def _text(name: str) -> str:
    with suppress(KeyError):
        return library.line(name).text
    return ""


def _tell(
    record: Record,
    view: Mapping[str, Any],
    told: set[tuple[str, str]],
    progress: Callable[[Progress], None],
) -> None:
    """Tell a person what is new."""
    event = str(record["event"])
    if (seen := (event, str(record["ts"]))) in told:
        return
    told.add(seen)
    at = vantage.at_ms(record, view)
    if event == Hop.ANSWERED:
        text = f"turn {record['turn']} answered after {record['latency_ms']} ms"
        text += ", after an interruption" if record["barge_in"] else ""
        progress(Progress(at, "turn", text, {"latency_ms": record["latency_ms"]}))
    elif event == "transcript.caller":
        progress(Progress(at, "caller", str(record["text"])))
    elif event in _SHOWN:
        progress(Progress(at, "hop", event))
