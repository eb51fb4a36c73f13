"""A call as the phone had it: its view, and the model's sessions → the records a timeline is read from. Pure.

A stranger's bridge keeps no journal of ours. What it did shows at its two ends: the simulated phone
tells when the webhook was answered, when the stream opened, what was heard when; the simulated model,
where the bridge uses it, tells when its session was opened, set up and closed. Turn latency is the
caller's: from the end of the caller's words to the first sound of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from ops.calls.timeline import Record
from ops.journal.hops import Hop

FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
YIELDED = 1500.0  # ms after an interruption in which an agent that paces its audio has run dry by itself
_Found = tuple[float, str, dict[str, Any]]  # when in ms, the event, its fields


@dataclass(frozen=True)
class Span:
    """Somebody spoke, in ms since the call was made; `end` is infinite while they do."""

    start: float
    end: float = math.inf


@dataclass(frozen=True)
class Turn:
    """One utterance of the caller, and the answer to it: None where none was heard."""

    said: Span
    answer: Span | None
    interrupted: Span | None  # what the agent was saying when the caller began
    cleared: float | None  # when the phone's buffer was emptied, or had run dry


def records(
    view: Mapping[str, Any],
    sessions: Iterable[Mapping[str, Any]] = (),
    text_of: Callable[[str], str] = lambda name: "",
) -> list[Record]:
    """The call's records in the words of a bridge's journal; `text_of` gives the text of a spoken line.

    `view` is what the simulated phone says of a call, `sessions` what the simulated model says of the
    sessions that belong to it.
    """
    began = datetime.fromisoformat(view["created"])
    events = [event for event in view.get("events", ()) if isinstance(event, Mapping)]
    found: list[_Found] = [(0.0, Hop.PLACED, {})]
    found += _through(events, view.get("errors", ()))
    opened = _opened(events)
    turns = read_turns(events)
    if opened is not None:
        found += _conversation(events, turns)
    for number, turn in enumerate(turns, 1):
        found += _turn(number, turn)
    said = (
        step for step in view.get("steps", ()) if step.get("do") == "say" and step.get("at_ms") is not None
    )
    found += [
        (float(step["at_ms"]), "transcript.caller", {"text": text})
        for step in said
        if (text := text_of(str(step.get("line", ""))))
    ]
    found += _model(sessions, began.timestamp())
    rows = [_record(began, at, str(event), fields, view) for at, event, fields in found]
    return sorted(rows, key=lambda row: str(row["ts"]))


def read_turns(events: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """What the caller said while a media stream was open, each with the agent's answer."""
    opened = _opened(events)
    if opened is None:
        return []
    agent, caller = _agent(events), [one for one in _spans(events, "caller") if one.start >= opened]
    clears = [float(e["at_ms"]) for e in events if e["name"] == "clear" and e.get("unplayed_ms", 0) > 0]
    turns = []
    for said, then in pairwise([*caller, Span(math.inf)]):
        answer = next((one for one in agent if said.end <= one.start < then.start), None)
        cut = next((one for one in agent if one.start < said.start < one.end), None)
        cleared = next((at for at in clears if said.start <= at < then.start), None)
        if cleared is None and cut is not None and cut.end - said.start <= YIELDED:
            cleared = cut.end
        turns.append(Turn(said, answer, cut, cleared))
    return turns


def at_ms(record: Record, view: Mapping[str, Any]) -> float:
    """When a record of this call was, in ms since the call was made."""
    since = datetime.fromisoformat(record["ts"]) - datetime.fromisoformat(view["created"])
    return round(since / timedelta(milliseconds=1), 1)


def yields(turns: Iterable[Turn]) -> list[float]:
    """For each interruption, ms from the caller's first sound until nothing of the agent was heard."""
    ends = [
        (turn.said.start, turn.interrupted.end if turn.interrupted else turn.cleared)
        for turn in turns
        if turn.cleared is not None
    ]
    return [round(end - start, 1) for start, end in ends if end is not None and end < math.inf]


def _through(events: Sequence[Mapping[str, Any]], errors: Iterable[Mapping[str, Any]]) -> Iterable[_Found]:
    """The webhook, if it answered, and its TwiML, if it could be read."""
    answer = next((event for event in events if event["name"] == "webhook.answered"), None)
    if answer is None:
        return
    sent = next(event for event in events if event["name"] == "webhook.sent")
    yield float(sent["at_ms"]), Hop.WEBHOOK, {}
    verb = next((event for event in events if event["name"] == "twiml"), None)
    until = verb["at_ms"] if verb else math.inf
    bad = any(
        error.get("level") == "error" and 11000 <= error.get("code", 0) < 13000 and error["at_ms"] <= until
        for error in errors
    )
    if not bad and answer.get("status", 500) < 400:
        yield float(answer["at_ms"]), Hop.TWIML, {}


def _conversation(events: Sequence[Mapping[str, Any]], turns: Sequence[Turn]) -> Iterable[_Found]:
    """The stream from its opening to the call's end."""
    opened = _opened(events) or 0.0
    yield opened, Hop.UPGRADED, {}
    yield opened, Hop.STARTED, {}
    for event in events:
        at = float(event["at_ms"])
        if event["name"] == "stream.first-audio":
            yield at, Hop.FIRST_AUDIO, {}
        elif event["name"] == "stream.stopped" and event.get("how") == "ended":
            yield at, Hop.STOPPED, {}
        elif _ends(event):
            by = next((str(e.get("by")) for e in events if e["name"] == "hang-up"), "the TwiML's end")
            answered = sum(turn.answer is not None for turn in turns)
            yield at, Hop.ENDED, {"reason": by, "seconds": round((at - opened) / 1000, 3), "turns": answered}
    over = next((float(e["at_ms"]) for e in events if _ends(e)), math.inf)  # nobody speaks after it
    for span in _agent(events):
        yield span.start, Hop.AGENT_SPEAKS, {}
        if (end := min(span.end, over)) < math.inf:
            yield end, Hop.AGENT_SILENT, {}


def _turn(number: int, turn: Turn) -> Iterable[_Found]:
    yield turn.said.start, Hop.CALLER_SPEAKS, {}
    if turn.said.end < math.inf:
        yield turn.said.end, Hop.CALLER_SILENT, {}
    if turn.cleared is not None:
        yield turn.cleared, Hop.CLEARED, {}
    if turn.answer is not None:
        latency = round(turn.answer.start - turn.said.end, 1)
        fields = {"turn": number, "latency_ms": latency, "barge_in": turn.cleared is not None}
        yield turn.answer.start, Hop.ANSWERED, fields


def _model(sessions: Iterable[Mapping[str, Any]], origin: float) -> Iterable[_Found]:
    for session in sessions:
        if not session.get("sent"):
            continue  # it was refused; the judgement of sessions tells why
        times = (
            ("opened", Hop.MODEL_CONNECTED),
            ("configured", Hop.MODEL_READY),
            ("ended", Hop.MODEL_CLOSED),
        )
        for name, hop in times:
            if isinstance(at := session.get(name), (int, float)):
                yield round((at - origin) * 1000, 1), hop, {}
        for said in session.get("said", ()):
            yield round((said["at"] - origin) * 1000, 1), "transcript.agent", {"text": said["text"]}


def _ends(event: Mapping[str, Any]) -> bool:
    return str(event["name"]).removeprefix("call.") in FINAL


def _opened(events: Sequence[Mapping[str, Any]]) -> float | None:
    """When a two-way media stream was opened first."""
    opened = (e["at_ms"] for e in events if e["name"] == "stream.started" and e.get("two_way", True))
    at = next(opened, None)
    return None if at is None else float(at)


def _agent(events: Sequence[Mapping[str, Any]]) -> list[Span]:
    """The agent's speech over the stream: what a <Say> before it said belongs to no agent."""
    first = next((float(e["at_ms"]) for e in events if e["name"] == "stream.first-audio"), math.inf)
    return [Span(max(one.start, first), one.end) for one in _spans(events, "agent") if one.end > first]


def _spans(events: Sequence[Mapping[str, Any]], who: str) -> list[Span]:
    spans: list[Span] = []
    for event in events:
        at = float(event.get("since_ms", event["at_ms"]))
        if event["name"] == f"{who}.speaks":
            spans.append(Span(at))
        elif event["name"] == f"{who}.quiet" and spans:
            spans[-1] = Span(spans[-1].start, at)
    return spans


def _record(
    began: datetime, at_ms: float, event: str, fields: Mapping[str, Any], view: Mapping[str, Any]
) -> Record:
    ts = (began + timedelta(milliseconds=at_ms)).isoformat(timespec="microseconds")
    head = {"ts": ts, "level": "INFO", "service": "phone", "event": event, "msg": ""}
    return {**head, "call_sid": view.get("call_sid"), **fields}
