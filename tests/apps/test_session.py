"""One call as a state machine, replayed without a socket."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ops.apps.actions import Action, Agent, Hangup, Note, OpenModel, ToModel, ToPhone
from ops.apps.recording import Recording
from ops.apps.session import Session
from ops.journal.hops import Hop
from ops.vendors.openai import events
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

SID = "CA" + "0" * 32
START = phone.Start("MZ" + "0" * 32, SID, "AC" + "0" * 32, "audio/x-mulaw", 8000, {})
FRAME = base64.b64encode(b"\x50" * 160).decode()
READY = events.Ready(model.FORMAT, model.FORMAT)


def audio(ms: int) -> str:
    return base64.b64encode(b"\x55" * (8 * ms)).decode()


def session(**options: Any) -> Session:
    return Session(START, Agent("be kind", "marin", "gpt-transcribe", **options), 0.0, dialect=model)


def ready(now: float = 0.0) -> Session:
    one = session()
    one.begin()
    one.on_model(events.Created("sess", "m"), now)
    one.on_model(READY, now)
    return one


def to_model(actions: list[Action]) -> list[str]:
    return [json.loads(action.text)["type"] for action in actions if isinstance(action, ToModel)]


def to_phone(actions: list[Action]) -> list[str]:
    return [json.loads(action.text)["event"] for action in actions if isinstance(action, ToPhone)]


def notes(actions: list[Action]) -> dict[str, dict[str, Any]]:
    return {action.event: dict(action.fields) for action in actions if isinstance(action, Note)}


def test_nothing_of_the_caller_is_lost_before_the_model_is_ready() -> None:
    """Audio that comes while the model comes up is kept and sent first; then the greeting is asked for."""
    one = session()
    assert one.begin() == [OpenModel()]
    for index in range(5):
        assert one.on_phone(phone.Media(FRAME, 20 * index), 0.02 * index) == []
    assert to_model(one.on_model(events.Created("s", "m"), 0.1)) == ["session.update"]
    assert to_model(one.on_model(READY, 0.2)) == ["input_audio_buffer.append"] * 5 + ["response.create"]
    assert to_model(one.on_phone(phone.Media(FRAME, 100), 0.3)) == ["input_audio_buffer.append"]


def test_the_session_asks_for_phone_audio_both_ways() -> None:
    """session.update has the GA shape with audio/pcmu in and out."""
    (update,) = session().on_model(events.Created("s", "m"), 0.0)
    assert isinstance(update, ToModel)
    settings = json.loads(update.text)["session"]
    assert settings["type"] == "realtime"
    assert (
        settings["audio"]["input"]["format"]
        == settings["audio"]["output"]["format"]
        == {"type": "audio/pcmu"}
    )


def test_a_codec_mismatch_ends_the_call_with_a_clear_word() -> None:
    """When the model confirms another format the call is refused: noise in the ear is worse."""
    actions = session().on_model(events.Ready("audio/pcm", model.FORMAT), 0.0)
    assert "audio/pcm" in next(a.message for a in actions if isinstance(a, Note) and a.level == "ERROR")
    assert any(isinstance(action, Hangup) for action in actions)


def test_an_answer_goes_to_the_phone_with_its_marks() -> None:
    """Agent audio becomes media and a mark; the first of a call and of an answer are hops."""
    one = ready()
    actions = one.on_model(events.Audio("r1", "i1", audio(200)), 1.0)
    assert to_phone(actions) == ["media", "mark"]
    assert {Hop.FIRST_AUDIO, Hop.AGENT_SPEAKS} <= set(notes(actions))
    assert Hop.FIRST_AUDIO not in notes(one.on_model(events.Audio("r1", "i2", audio(200)), 1.1))


def test_barge_in_clears_the_phone_and_truncates_at_what_was_heard() -> None:
    """Speech over the agent: clear at once, truncate at the mark plus the clock, drop late audio."""
    one = ready()
    one.on_model(events.ResponseCreated("r1"), 1.0)
    sent = one.on_model(events.Audio("r1", "i1", audio(300)), 1.0)
    sent += one.on_model(events.Audio("r1", "i1", audio(300)), 1.0)
    mark = json.loads(next(a.text for a in sent if isinstance(a, ToPhone) and "mark" in a.text))["mark"][
        "name"
    ]
    one.on_phone(phone.Mark(mark), 1.3)
    actions = one.on_model(events.SpeechStarted(1400, "u1"), 1.4)
    assert to_phone(actions) == ["clear"]
    truncate = json.loads(next(a.text for a in actions if isinstance(a, ToModel)))
    assert truncate == {
        "type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 400,
    }  # fmt: skip
    assert {Hop.CLEARED, Hop.TRUNCATED} <= set(notes(actions))
    assert one.on_model(events.Audio("r1", "i1", audio(300)), 1.45) == []
    one.on_model(events.ResponseDone("r1", "cancelled", "turn_detected"), 1.5)
    assert to_phone(one.on_model(events.Audio("r2", "i2", audio(200)), 2.0)) == ["media", "mark"]


def test_nothing_heard_needs_no_truncate() -> None:
    """A barge-in before the first sample was heard clears, and leaves the model's item alone."""
    one = ready()
    one.on_model(events.Audio("r1", "i1", audio(300)), 1.0)
    actions = one.on_model(events.SpeechStarted(1000, "u1"), 1.0)
    assert to_phone(actions) == ["clear"]
    assert to_model(actions) == []


def test_speech_after_an_answer_was_heard_is_no_barge_in() -> None:
    """When the agent is silent the caller interrupts nobody: no clear, no truncate."""
    one = ready()
    one.on_model(events.Audio("r1", "i1", audio(20)), 1.0)
    sent = one.on_model(events.ResponseDone("r1", "completed"), 1.0)
    mark = json.loads(next(a.text for a in sent if isinstance(a, ToPhone) and "mark" in a.text))["mark"][
        "name"
    ]
    assert Hop.AGENT_SILENT in notes(one.on_phone(phone.Mark(mark), 1.02))
    actions = one.on_model(events.SpeechStarted(2000, "u1"), 2.0)
    assert to_phone(actions) == to_model(actions) == []


def test_latency_counts_from_the_last_voiced_sample_to_what_is_heard() -> None:
    """The silence that voice activity detection waits for is part of the caller's wait."""
    one = ready()
    one.on_model(events.SpeechStarted(1000, "u1"), 1.1)
    one.on_model(events.SpeechStopped(2500, "u1"), 2.55)  # the last voiced sample was at 2.0 s
    actions = one.on_model(events.Audio("r1", "i1", audio(20)), 2.8)
    assert notes(actions)[Hop.ANSWERED] == {"turn": 0, "latency_ms": 800, "barge_in": False}


def test_a_turn_that_interrupted_the_agent_is_marked() -> None:
    """The turn that began with a barge-in says so, the next one does not."""
    one = ready()
    one.on_model(events.Audio("r0", "i0", audio(900)), 1.0)
    marked = []
    for turn in range(2):
        at = 2.0 + 5 * turn
        one.on_model(events.ResponseDone(f"r{turn}", "completed"), at - 0.1)
        if turn:
            one.on_phone(phone.Mark("1:20"), at - 0.1)
        one.on_model(events.SpeechStarted(int(at * 1000) - 1000, "u"), at - 0.6)
        one.on_model(events.SpeechStopped(int(at * 1000), "u"), at)
        done = one.on_model(events.Audio(f"r{turn + 1}", f"i{turn + 1}", audio(20)), at + 0.3)
        marked.append(notes(done)[Hop.ANSWERED]["barge_in"])
    assert marked == [True, False]


def test_a_failed_answer_is_asked_for_again_but_not_for_ever() -> None:
    """response.done failed: three more tries, each a little later; then the call ends with a reason."""
    one = ready()
    failed = events.ResponseDone("r1", "failed", "failed", "rate_limit_exceeded")
    now, waits = 1.0, []
    for _ in range(3):
        one.on_phone(phone.Media(FRAME, 0), now)
        assert to_model(one.on_model(failed, now)) == []
        asked = one.wake_at()
        assert to_model(one.on_time(asked)) == ["response.create"]
        waits.append(asked - now)
        now = asked + 0.1
    assert waits == sorted(waits)
    assert 0.2 < waits[0] < 0.4
    assert any(isinstance(action, Hangup) for action in one.on_model(failed, now))


@pytest.mark.parametrize("code", ["conversation_already_has_active_response", "response_cancel_not_active"])
def test_a_harmless_error_does_not_end_the_call(code: str) -> None:
    """Errors that mean only that something was late are logged and survived."""
    actions = ready().on_model(events.Failure(code, "late"), 1.0)
    assert not [action for action in actions if isinstance(action, Hangup)]


def test_a_fatal_error_and_a_lost_model_end_the_call_once() -> None:
    """The phone is let go with one hang-up, however many reasons come."""
    one = ready()
    actions = one.on_model(events.Failure("insufficient_quota", "pay", fatal=True), 1.0)
    actions += one.model_lost("closed", 1.1) + one.phone_lost("closed", 1.2)
    assert [action.code for action in actions if isinstance(action, Hangup)] == [1011]
    assert one.summary(2.0).level == "ERROR"


def test_stop_ends_the_call_and_the_summary_counts() -> None:
    """Twilio's stop is the normal end."""
    one = ready()
    actions = one.on_phone(phone.Stop(), 9.0)
    assert Hop.STOPPED in notes(actions)
    assert Hangup(1000, "the caller hung up") in actions
    assert one.summary(9.5).fields == {"reason": "the caller hung up", "seconds": 9.5, "turns": 0}
    assert one.summary(9.5).level == "SUCCESS"


def test_the_time_cap_ends_the_call() -> None:
    """A call longer than its cap is hung up, and the clock is asked to wake for it."""
    one = session(max_seconds=60)
    one.on_phone(phone.Media(FRAME, 0), 59.0)
    assert one.wake_at() == 60
    assert one.on_time(59.0) == []
    assert any(isinstance(action, Hangup) for action in one.on_time(60.0))


def test_garbage_is_survived_until_it_is_too_much() -> None:
    """Some malformed messages are explained and skipped; a flood ends the call."""
    one = ready()
    for _ in range(50):
        assert not [a for a in one.on_phone(phone.Garbage("x"), 1.0) if isinstance(a, Hangup)]
    assert [a for a in one.on_model(events.Garbage("x"), 1.0) if isinstance(a, Hangup)]


def test_a_recording_holds_both_sides_at_their_times_and_ends_at_the_cut() -> None:
    """Caller left by the phone's time, agent right by play-out time; cut audio was not heard."""
    recording = Recording()
    one = Session(START, Agent("x", "y", "z"), 0.0, recording, dialect=model)
    one.on_model(READY, 0.0)
    for index in range(50):
        one.on_phone(phone.Media(FRAME, 20 * index), 0.02 * index)
    one.on_model(events.Audio("r1", "i1", audio(400)), 0.5)
    one.on_model(events.SpeechStarted(700, "u"), 0.7)
    wav = recording.wav()
    frames = memoryview(wav)[44:].cast("h")
    left, right = frames[0::2].tolist(), frames[1::2].tolist()
    assert len(left) == 8000
    assert [right[int(8000 * at)] != 0 for at in (0.45, 0.55, 0.65, 0.75)] == [False, True, True, False]
    assert all(left[int(8000 * at)] for at in (0.01, 0.5, 0.99))
