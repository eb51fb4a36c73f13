"""Our side of the Realtime protocol, judged by the vendor's own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from ops.vendors.openai import wire

CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
SENT = {
    "configure": wire.configure(instructions="be kind", voice="marin", transcription="gpt-transcribe"),
    "probe": wire.probe(),
    "append": wire.append("AAAA"),
    "answer": wire.answer(),
    "truncate": wire.truncate("item_1", 1200),
}


@pytest.mark.parametrize("name", SENT)
def test_what_we_send_is_what_the_vendor_types_describe(name: str) -> None:
    """Every command parses with the official union and loses nothing on the way back."""
    text = SENT[name]
    parsed = CLIENT_EVENT.validate_json(text)
    assert json.loads(parsed.model_dump_json(exclude_none=True)) == json.loads(text)


def test_nothing_of_the_beta_shape_is_sent() -> None:
    """The GA session has a type and nested audio, and none of the flat beta names."""
    session = json.loads(SENT["configure"])["session"]
    assert session["type"] == "realtime"
    assert not {"modalities", "voice", "input_audio_format", "output_audio_format", "temperature"} & set(
        session
    )


def test_events_become_values() -> None:
    """The documented server events decode to what the session understands."""
    cases: list[tuple[dict[str, Any], wire.Event]] = [
        ({"type": "session.created", "session": {"id": "s", "model": "m"}}, wire.Created("s", "m")),
        (
            {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "AA=="},
            wire.Audio("r", "i", "AA=="),
        ),
        (
            {"type": "response.done", "response": {"id": "r", "status": "cancelled", "status_details":
             {"type": "cancelled", "reason": "turn_detected"}, "usage": None}},
            wire.ResponseDone("r", "cancelled", "turn_detected"),
        ),
        (
            {"type": "response.done", "response": {"id": "r", "status": "failed", "status_details":
             {"type": "failed", "error": {"type": "server_error", "code": "rate_limit_exceeded"}}}},
            wire.ResponseDone("r", "failed", "failed", "rate_limit_exceeded"),
        ),
        ({"type": "error", "error": {"type": "t", "code": None, "message": "m"}}, wire.Failure("t", "m")),
        ({"type": "rate_limits.updated", "rate_limits": []}, wire.Other("rate_limits.updated")),
    ]  # fmt: skip
    for event, expected in cases:
        assert wire.decode(json.dumps(event)) == expected


@pytest.mark.parametrize("code", sorted(wire.FATAL_CODES))
def test_fatal_codes_are_told_from_the_rest(code: str) -> None:
    """Only the listed codes end a session."""
    for told, fatal in ((code, True), ("response_cancel_not_active", False)):
        failure = wire.decode(json.dumps({"type": "error", "error": {"code": told}}))
        assert isinstance(failure, wire.Failure)
        assert failure.fatal is fatal


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "1", "{", '{"type":7}', '{"type":"error"}', '{"type":"session.updated","session":{}}',
     '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":5}',
     '{"type":"input_audio_buffer.speech_started","audio_start_ms":"x","item_id":"i"}',
     "[" * 100_000, '{"type":"error","x":' + '{"x":' * 100_000, b"\xff\xfe"],
)  # fmt: skip
def test_garbage_is_a_value(text: str | bytes) -> None:
    """Nothing malformed raises."""
    assert isinstance(wire.decode(text), wire.Garbage | wire.Other)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_no_json_raises(value: Any) -> None:
    """Whatever a known event carries, decoding gives a value."""
    for kind in (*wire.KNOWN, "else"):
        for key in ("session", "response", "error", "delta"):
            wire.decode(json.dumps({"type": kind, key: value}))
