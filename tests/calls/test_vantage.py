from __future__ import annotations

from typing import Any

from ops.calls import vantage
from ops.calls.judge import judge
from ops.calls.scenario import ANY_AGENT, from_the_phone
from ops.calls.timeline import read
from ops.journal.hops import Hop

Events = list[dict[str, Any]]


def event(at_ms: float, name: str, **fields: Any) -> dict[str, Any]:
    return {"at_ms": at_ms, "name": name, **fields}


def speech(who: str, begin: float, end: float | None = None) -> Events:
    """Noticed 60 ms after its first frame, and 320 ms after its last one."""
    said = [event(begin + 60, f"{who}.speaks", since_ms=begin)]
    return said if end is None else [*said, event(end + 320, f"{who}.quiet", since_ms=end)]


def good() -> Events:
    """A call to an agent behind a spoken notice: two turns, the second one an interruption."""
    events = [
        event(0, "call.queued"),
        event(1, "webhook.sent"), event(9, "webhook.answered", status=200),
        event(10, "twiml", verb="Say"), event(10, "call.in-progress"),
        *speech("agent", 20, 900), event(1000, "twiml", verb="Connect"),
        event(1001, "stream.connecting"), event(1010, "stream.started", two_way=True),
        *speech("caller", 2000, 3000),
        event(3650, "stream.first-audio"), *speech("agent", 3660, 5100),
        *speech("caller", 5000, 6500), event(5060, "clear", unplayed_ms=4000, marks=3),
        *speech("agent", 7200, 8000),
        event(9000, "hang-up", by="caller"),
        event(9001, "stream.stopped", how="ended"), event(9001, "call.completed"),
    ]  # fmt: skip
    return sorted(events, key=lambda one: float(one["at_ms"]))


def view(events: Events, **more: Any) -> dict[str, Any]:
    return {"call_sid": "CA1", "created": "2026-11-23T06:20:00+00:00", "events": events, **more}


def found(events: Events, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """The records by their event."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for record in vantage.records(view(events, **more), (), str.upper):
        rows.setdefault(str(record["event"]), []).append(dict(record))
    return rows


def without(events: Events, name: str) -> Events:
    return [one for one in events if one["name"] != name]


def test_a_good_call_has_every_hop_and_the_callers_own_latencies() -> None:
    """From the end of the caller's words to the first sound of the answer; the interruption is told."""
    timeline = read(from_the_phone(ANY_AGENT), vantage.records(view(good())))
    assert {row.status for row in timeline.hops} == {"ok"}
    assert [(turn.latency_ms, turn.barge_in) for turn in timeline.turns] == [(660.0, False), (700.0, True)]
    assert timeline.length_ms == 9001.0


def test_what_the_twiml_says_before_the_stream_is_not_the_agent() -> None:
    """The notice of a <Say> is no answer and no first audio; one that runs on into the stream is cut there."""
    assert [row["ts"][17:23] for row in found(good())[Hop.AGENT_SPEAKS]] == ["03.660", "07.200"]
    merged = [one for one in good() if one.get("since_ms") != 900 and one.get("since_ms") != 3660]
    assert found(merged)[Hop.AGENT_SPEAKS][0]["ts"][17:23] == "03.650"


def test_an_agent_that_speaks_on_is_not_cleared_and_did_not_answer() -> None:
    """No clear, and its old answer goes on beneath the caller: one turn, and the advice names `clear`."""
    events = [one for one in without(good(), "clear") if one.get("since_ms") not in (5100, 7200)]
    assert Hop.CLEARED not in found(events)
    scenario = from_the_phone(ANY_AGENT)
    timeline = read(scenario, vantage.records(view(events)))
    assert len(timeline.turns) == 1
    failed = [one for one in judge(scenario, timeline, vantage="phone") if one.status == "fail"]
    assert "clear" in next(one.fix or "" for one in failed if one.id == "call.hop.barge-in.cleared")


def test_an_agent_that_paces_its_own_audio_needs_no_clear() -> None:
    """It ran dry 100 ms into the interruption: that counts as falling silent."""
    turns = vantage.read_turns(without(good(), "clear"))
    assert [turn.cleared for turn in turns] == [None, 5100.0]
    assert vantage.yields(turns) == [100.0]


def test_a_clear_that_empties_nothing_interrupts_nothing() -> None:
    """Some bridges clear whenever the caller speaks."""
    events = [one | {"unplayed_ms": 0} if one["name"] == "clear" else one for one in good()]
    events += [event(2050, "clear", unplayed_ms=0)]
    assert [turn.cleared for turn in vantage.read_turns(events)] == [None, 5100.0]


def test_a_clear_after_which_the_agent_speaks_on_is_measured_by_ear() -> None:
    """Time to silence is until nothing is heard, whatever was cleared."""
    events = [one | {"since_ms": 7100} if one.get("since_ms") == 5100 else one for one in good()]
    assert vantage.yields(vantage.read_turns(events)) == [2100.0]


def test_a_webhook_without_answer_and_one_without_twiml() -> None:
    """The first has neither hop; an apology that is carried out after an error is not the bridge's TwiML."""
    silent = [event(0, "call.queued"), event(1, "webhook.sent"), event(5, "twiml", verb="Say")]
    assert found(silent).keys() == {Hop.PLACED}
    bad = good()[:5]
    errors = [{"at_ms": 9.5, "code": 12100, "level": "error", "message": "x"}]
    assert found(bad, errors=errors).keys() == {Hop.PLACED, Hop.WEBHOOK}
    warning = [{"at_ms": 9.5, "code": 12200, "level": "warning", "message": "x"}]
    assert Hop.TWIML in found(bad, errors=warning)


def test_a_one_way_stream_is_not_the_agents() -> None:
    """<Start><Stream> listens only."""
    events = [one | {"two_way": False} if one["name"] == "stream.started" else one for one in good()]
    assert Hop.STARTED not in found(events)
    assert vantage.read_turns(events) == []


def test_a_stream_that_its_server_ended_has_no_stop() -> None:
    """`stop` is sent when the phone's side ends it."""
    events = [one | {"how": "closed"} if one["name"] == "stream.stopped" else one for one in good()]
    assert Hop.STOPPED not in found(events)
    assert found(events)[Hop.ENDED][0]["reason"] == "caller"


def test_the_words_of_the_script_and_of_the_model_are_the_transcript() -> None:
    """The caller's by the step that said them, the agent's by the model's own time."""
    steps = [{"do": "say", "line": "hi", "at_ms": 2000}, {"do": "say", "line": "later", "at_ms": None}]
    assert [row["text"] for row in found(good(), steps=steps)["transcript.caller"]] == ["HI"]
    opened = 1795414800.0 + 1.0  # a second into the call
    session = {"opened": opened, "configured": opened + 1, "ended": None, "sent": {"session.created": 1},
               "said": [{"at": opened + 2, "text": "Yes."}]}  # fmt: skip
    refused = {"opened": opened, "sent": {}, "errors": [{"code": "x"}]}
    rows = vantage.records(view(good()), [session, refused])
    at = {str(row["event"]): vantage.at_ms(row, view(good())) for row in rows}
    assert (at["model.connected"], at["model.ready"], at["transcript.agent"]) == (1000.0, 2000.0, 3000.0)
    assert "model.closed" not in at
    assert sum(row["event"] == "model.connected" for row in rows) == 1


def test_a_call_that_goes_on_is_read_as_far_as_it_went() -> None:
    """Every beginning of a call can be read: the call is shown while it lasts."""
    for count in range(len(good()) + 1):
        vantage.records(view(good()[:count]))
