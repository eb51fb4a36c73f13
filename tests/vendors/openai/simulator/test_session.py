"""The conversation: turns, barge-in, truncation, conflicts, items, limits of time."""

from __future__ import annotations

import base64

import pytest

from ops.speech import g711, library
from ops.vendors.openai.simulator.faults import Faults
from tests.vendors.openai.simulator.rig import PCMU, Rig

RESPONSE = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def _first_seen(types: list[str]) -> list[str]:
    return list(dict.fromkeys(types))


def test_a_connection_begins_with_the_session() -> None:
    """session.created shows the defaults, then conversation.created."""
    created, conversation = Rig(configured=False).events
    assert created["type"] == "session.created"
    assert conversation["type"] == "conversation.created"
    session = created["session"]
    assert session["type"] == "realtime"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    turns = session["audio"]["input"]["turn_detection"]
    assert (turns["threshold"], turns["prefix_padding_ms"], turns["silence_duration_ms"]) == (0.5, 300, 500)
    assert turns["create_response"] is turns["interrupt_response"] is True


def test_with_nothing_heard_it_greets() -> None:
    """response.create in an empty conversation speaks the greeting, in the documented order."""
    rig = Rig()
    before = len(rig.events)
    rig.send("response.create")
    rig.run(3)
    assert _first_seen(rig.types()[before:]) == RESPONSE
    audio = b"".join(base64.b64decode(event["delta"]) for event in rig.of("response.output_audio.delta"))
    assert audio == library.line("agent-greeting").audio
    text = "".join(event["delta"] for event in rig.of("response.output_audio_transcript.delta"))
    assert text == rig.spoken() == "Hello! How can I help?"


@pytest.mark.parametrize(
    ("heard", "answered"),
    [
        ("caller-hours", "agent-hours"),
        ("caller-price", "agent-price"),
        ("caller-book", "agent-book"),
        ("caller-thanks", "agent-goodbye"),
        ("caller-human", "agent-transfer"),
        ("agent-moment", "agent-again"),
    ],
)
def test_a_line_heard_is_a_line_spoken(heard: str, answered: str) -> None:
    """The rules are data; what is no caller's line is asked for again."""
    rig = Rig()
    rig.say(heard)
    rig.run(5)
    assert rig.spoken() == library.line(answered).text


def test_a_turn_has_its_events_in_order_and_its_times_right() -> None:
    """speech_started, stopped, committed, added, done, then the response; times count all audio."""
    rig = Rig()
    rig.hear(b"\xff" * 8000)
    rig.say("caller-hours")
    rig.run(3)
    types = _first_seen(rig.types())
    turn = [t for t in types if t.startswith("input_audio_buffer")]
    assert turn == [
        f"input_audio_buffer.{word}" for word in ("speech_started", "speech_stopped", "committed")
    ]
    started, stopped = rig.last(turn[0]), rig.last(turn[1])
    length = len(library.line("caller-hours").audio) // 8
    assert started["audio_start_ms"] == pytest.approx(1000 - 300, abs=60)
    assert stopped["audio_end_ms"] == pytest.approx(1000 + length + 500, abs=80)
    committed = rig.last("input_audio_buffer.committed")
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    assert committed["previous_item_id"] is None
    after = rig.types()[rig.types().index("input_audio_buffer.committed") :]
    assert after[:4] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    answer = next(e for e in rig.of("conversation.item.added") if e["item"]["role"] == "assistant")
    assert answer["previous_item_id"] == committed["item_id"]


def test_the_caller_is_transcribed_where_that_is_configured() -> None:
    """Deltas add up to the completed transcript, which is the line's text; without configuration, none."""
    rig = Rig()
    rig.say("caller-book")
    rig.run(1)
    name = "conversation.item.input_audio_transcription"
    text = "Wait, can I book for Friday?"
    assert "".join(event["delta"] for event in rig.of(f"{name}.delta")) == text
    completed = rig.last(f"{name}.completed")
    assert (completed["transcript"], completed["usage"]["type"]) == (text, "tokens")
    rig = Rig()
    rig.configure(audio={"input": {"transcription": None}})
    rig.say("caller-book")
    rig.run(1)
    assert not rig.of(f"{name}.completed")


def test_first_audio_comes_soon_and_audio_comes_faster_than_it_plays() -> None:
    """250 ms to the first audio; seven seconds of speech within two."""
    rig = Rig()
    rig.say("caller-price", silence_ms=500)
    begun = rig.now
    while not rig.of("response.output_audio.delta"):
        rig.run(0.01)
    assert rig.now - begun == pytest.approx(0.25, abs=0.06)
    rig.run(2 - 0.3)
    assert rig.last("response.done")["response"]["status"] == "completed"
    assert library.line("agent-price").seconds > 5


def test_barge_in_cancels_the_active_response() -> None:
    """speech_started first, then the response's end: cancelled, turn_detected, item incomplete."""
    rig = Rig()
    rig.say("caller-price", silence_ms=500)
    rig.run(0.5)
    rig.say("caller-book", silence_ms=100)
    types = rig.types()
    started = len(types) - 1 - types[::-1].index("input_audio_buffer.speech_started")
    assert types[started + 1] == "response.output_audio.done"
    [done] = rig.of("response.done")
    response = done["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert 0 < len(rig.of("response.output_audio.delta")) < 20
    rig.hear(b"\xff" * 4000)
    rig.run(3)
    assert rig.spoken() == "Sure. See you Friday at ten."


def test_without_interrupt_response_speech_does_not_cut() -> None:
    """The answer goes on, and the turn's own answer conflicts with it."""
    rig = Rig()
    rig.turns(type="server_vad", interrupt_response=False)
    rig.say("caller-price", silence_ms=500)
    # the answer must still run when the next turn ends: begin that turn at once, and shorten its wait
    rig.turns(type="server_vad", silence_duration_ms=100, interrupt_response=False)
    rig.hear(library.line("caller-price").audio + b"\xff" * 1600)
    assert rig.error()["code"] == "conversation_already_has_active_response"
    rig.run(3)
    assert [e["response"]["status"] for e in rig.of("response.done")] == ["completed"]


def test_without_create_response_a_turn_is_only_committed() -> None:
    """The client asks for the answer itself."""
    rig = Rig()
    rig.turns(type="server_vad", create_response=False)
    rig.say("caller-hours")
    rig.run(1)
    assert rig.of("input_audio_buffer.committed")
    assert not rig.of("response.created")
    rig.send("response.create")
    rig.run(3)
    assert rig.spoken() == "Yes, from nine to five."


def test_a_second_response_conflicts_and_one_out_of_band_does_not() -> None:
    """Only one response writes to the conversation; `conversation: none` runs beside it."""
    rig = Rig()
    rig.send("response.create")
    first = rig.last("response.created")["response"]["id"]
    rig.send("response.create", event_id="mine")
    error = rig.error()
    assert error["code"] == "conversation_already_has_active_response"
    assert error["event_id"] == "mine"
    assert first in error["message"]
    rig.send("response.create", response={"conversation": "none", "metadata": {"topic": "aside"}})
    beside = rig.last("response.created")["response"]
    assert beside["conversation_id"] is None
    assert beside["metadata"] == {"topic": "aside"}
    rig.run(3)
    assert len(rig.of("response.done")) == 2
    assert len(rig.session.conversation.items) == 1


def test_cancel() -> None:
    """response.cancel ends the active response; with none active it is an error and nothing else."""
    rig = Rig()
    rig.send("response.create")
    rig.run(0.4)
    rig.send("response.cancel")
    assert rig.last("response.done")["response"]["status_details"]["reason"] == "client_cancelled"
    rig.send("response.cancel", event_id="late")
    assert rig.error() == {
        "type": "invalid_request_error",
        "code": "response_cancel_not_active",
        "message": "Cancellation failed: no active response found",
        "param": None,
        "event_id": "late",
    }
    count = len(rig.events)
    rig.run(3)
    assert len(rig.events) == count


def _spoken_item(rig: Rig) -> str:
    rig.send("response.create")
    rig.run(3)
    return str(rig.last("response.done")["response"]["output"][0]["id"])


def test_truncate_cuts_audio_and_transcript() -> None:
    """The answer to the event repeats it; the item is shorter and has no transcript any more."""
    rig = Rig()
    id = _spoken_item(rig)
    rig.send("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=500)
    truncated = rig.last("conversation.item.truncated")
    assert (truncated["item_id"], truncated["content_index"], truncated["audio_end_ms"]) == (id, 0, 500)
    rig.send("conversation.item.retrieve", item_id=id)
    [content] = rig.last("conversation.item.retrieved")["item"]["content"]
    assert len(base64.b64decode(content["audio"])) == 4000
    assert "transcript" not in content


def test_truncate_refuses_what_it_cannot_do() -> None:
    """Past the end, a user's item, an unknown item, an item without audio, another content part."""
    rig = Rig()
    id = _spoken_item(rig)
    length = len(library.line("agent-greeting").audio) // 8

    def refused(**fields: object) -> tuple[str, str]:
        rig.send("conversation.item.truncate", **{"content_index": 0, "audio_end_ms": 100, **fields})
        return rig.error()["code"], rig.error()["message"]

    assert refused(item_id=id, audio_end_ms=length + 1) == (
        "invalid_value",
        f"Audio content of {length}ms is already shorter than {length + 1}ms",
    )
    assert refused(item_id="item_nobody")[0] == "item_truncate_invalid_item_id"
    assert refused(item_id=id, content_index=1)[0] == "item_truncate_invalid_content_index"
    rig.say("caller-hours", silence_ms=520)
    user = rig.last("input_audio_buffer.committed")["item_id"]
    assert refused(item_id=user)[0] == "unsupported_content_type"
    rig.run(0.2)  # the item is there, its audio is not
    early = rig.last("response.output_item.added")["item"]["id"]
    assert refused(item_id=early, audio_end_ms=0) == (
        "unsupported_content_type",
        "Only model output audio messages can be truncated",
    )
    rig.send("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=length)
    assert rig.last("conversation.item.truncated")["audio_end_ms"] == length


def test_items_are_created_placed_retrieved_and_deleted() -> None:
    """previous_item_id places an item; a deleted item is gone."""
    rig = Rig()

    def create(id: str, **more: object) -> dict[str, object]:
        content = [{"type": "input_text", "text": id}]
        item = {"id": id, "type": "message", "role": "user", "content": content}
        rig.send("conversation.item.create", item=item, **more)
        return rig.events[-1]

    assert create("one")["type"] == "conversation.item.done"
    assert create("three")["previous_item_id"] == "one"
    assert create("two", previous_item_id="one")["previous_item_id"] == "one"
    assert create("zero", previous_item_id="root")["previous_item_id"] is None
    assert [item.id for item in rig.session.conversation.items] == ["zero", "one", "two", "three"]
    create("four", previous_item_id="nobody")
    assert rig.error()["code"] == "item_create_invalid_previous_item_id"
    create("one")
    assert rig.error()["code"] == "item_create_duplicate_item_id"
    rig.send("conversation.item.delete", item_id="two")
    assert rig.last("conversation.item.deleted")["item_id"] == "two"
    for verb in ("delete", "retrieve"):
        rig.send(f"conversation.item.{verb}", item_id="two")
        assert rig.error()["code"] == f"item_{verb}_invalid_item_id"


def test_a_written_line_is_answered_like_a_spoken_one_and_text_output_is_text() -> None:
    """Text in, text out: output_text events and no audio."""
    rig = Rig()
    rig.configure(output_modalities=["text"])
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "how much is a repair"}],
    }
    rig.send("conversation.item.create", item=item)
    rig.send("response.create")
    rig.run(3)
    assert rig.spoken().startswith("A basic repair")
    assert rig.last("response.output_text.done")["text"] == rig.spoken()
    assert not rig.of("response.output_audio.delta")


def test_instructions_of_a_response_can_name_the_line_to_say() -> None:
    """A test says what the agent shall say, as a prompt would."""
    rig = Rig()
    rig.send("response.create", response={"instructions": "Say exactly: 'One moment please.'"})
    rig.run(3)
    assert rig.spoken() == "One moment please."


def test_turns_by_the_client() -> None:
    """With turn_detection null nothing is detected; commit makes the item, clear empties the buffer."""
    rig = Rig()
    rig.configure(audio={"input": {"turn_detection": None}})
    rig.hear(library.line("caller-hours").audio + b"\xff" * 8000)
    assert not rig.of("input_audio_buffer.speech_started")
    rig.send("input_audio_buffer.clear")
    assert rig.events[-1]["type"] == "input_audio_buffer.cleared"
    rig.send("input_audio_buffer.commit")
    assert rig.error()["code"] == "input_audio_buffer_commit_empty"
    assert "buffer only has 0.00ms of audio" in rig.error()["message"]
    rig.hear(library.line("caller-hours").audio)
    rig.send("input_audio_buffer.commit")
    rig.run(1)
    assert not rig.of("response.created")
    rig.send("response.create")
    rig.run(3)
    assert rig.spoken() == "Yes, from nine to five."


def test_semantic_vad_answers_a_whole_sentence_early_and_waits_for_the_rest() -> None:
    """A recognised line ends after a short pause; half of one only after the eagerness's maximum."""
    rig = Rig()
    rig.turns(type="semantic_vad", eagerness="high")
    rig.say("caller-hours", silence_ms=460)
    assert rig.of("input_audio_buffer.speech_stopped")
    rig = Rig()
    rig.turns(type="semantic_vad", eagerness="high")
    audio = library.line("caller-hours").audio
    rig.hear(audio[: len(audio) // 2 // 160 * 160] + b"\xff" * 8 * 1800)
    assert not rig.of("input_audio_buffer.speech_stopped")
    rig.hear(b"\xff" * 8 * 300)
    assert rig.of("input_audio_buffer.speech_stopped")


def test_idle_timeout_prompts_the_caller() -> None:
    """After the answer has been played and the timeout has passed, the model speaks again."""
    rig = Rig()
    rig.turns(type="server_vad", idle_timeout_ms=5000)
    rig.send("response.create")
    rig.hear(b"\xff" * 8 * 6000)
    assert not rig.of("input_audio_buffer.timeout_triggered")
    rig.hear(b"\xff" * 8 * 1500)
    timeout = rig.last("input_audio_buffer.timeout_triggered")
    assert timeout["audio_end_ms"] - timeout["audio_start_ms"] == pytest.approx(5000, abs=100)
    assert len(rig.of("response.created")) == 2


def test_a_session_ends_at_its_maximum_duration() -> None:
    """The error session_expired, then the close 1001; the clock can be compressed."""
    rig = Rig(lifetime=10)
    rig.run(9.9)
    assert rig.session.closing is None
    rig.run(0.2)
    assert rig.error()["code"] == "session_expired"
    assert rig.session.closing is not None
    assert rig.session.closing.code == 1001
    assert rig.session.closing.reason == "Your session hit the maximum duration of 60 minutes."


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    """cannot_update_voice after audio; the same voice is no change."""
    rig = Rig()
    rig.configure(audio={"output": {"voice": "cedar"}})
    _spoken_item(rig)
    rig.configure(audio={"output": {"voice": "cedar"}})
    assert not rig.of("error")
    rig.configure(audio={"output": {"voice": "alloy"}})
    assert rig.error()["code"] == "cannot_update_voice"


def test_an_update_changes_only_what_it_names() -> None:
    """Fields that are absent stay, turn detection keeps its other numbers, null turns it off."""
    rig = Rig()
    rig.turns(type="server_vad", threshold=0.7)
    rig.turns(type="server_vad", silence_duration_ms=200)
    shown = rig.last("session.updated")["session"]
    turns = shown["audio"]["input"]["turn_detection"]
    assert (turns["threshold"], turns["silence_duration_ms"]) == (0.7, 200)
    assert shown["audio"]["output"]["voice"] == PCMU["audio"]["output"]["voice"]  # type: ignore[index]
    rig.turns(type="semantic_vad")
    assert rig.last("session.updated")["session"]["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True,
    }  # fmt: skip


def test_max_output_tokens_cuts_the_answer() -> None:
    """20 tokens are one second of speech; the response is incomplete."""
    rig = Rig()
    rig.say("caller-price", silence_ms=100)
    rig.configure(max_output_tokens=20)
    rig.hear(b"\xff" * 8 * 500)
    rig.run(3)
    response = rig.last("response.done")["response"]
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    audio = b"".join(base64.b64decode(event["delta"]) for event in rig.of("response.output_audio.delta"))
    assert len(audio) == 8000
    assert response["usage"]["output_token_details"]["audio_tokens"] == 20


@pytest.mark.parametrize("format", ["audio/pcm", "audio/pcma"])
def test_the_other_formats_both_ways(format: str) -> None:
    """A caller heard in one format is answered in it."""
    rig = Rig()
    shape = {"type": format, **({"rate": 24000} if format == "audio/pcm" else {})}
    rig.configure(audio={"input": {"format": shape}, "output": {"format": shape}})
    rig.format = format
    rig.say("caller-thanks")
    rig.run(3)
    wire = b"".join(base64.b64decode(event["delta"]) for event in rig.of("response.output_audio.delta"))
    said = library.line("agent-goodbye").audio
    assert len(wire) == len(said) * (6 if format == "audio/pcm" else 1)
    if format == "audio/pcma":
        assert g711.level(g711.alaw_to_mulaw(wire)) == pytest.approx(g711.level(said), abs=0.5)
    assert rig.spoken() == library.line("agent-goodbye").text


def test_faults_of_a_response_happen_as_often_as_asked() -> None:
    """One failed response with its error and zero usage; the next one is well again."""
    faults = Faults()
    faults.arm("failed-response", quota=1)
    rig = Rig(faults=faults)
    rig.send("response.create")
    rig.run(1)
    response = rig.last("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "insufficient_quota"
    assert response["usage"]["total_tokens"] == 0
    rig.send("response.create")
    rig.run(3)
    assert rig.last("response.done")["response"]["status"] == "completed"
