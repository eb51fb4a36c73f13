"""What a client may not send, and the words it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vendors.openai.simulator.rig import Rig


def _refused(**session: Any) -> dict[str, Any]:
    rig = Rig()
    rig.send("session.update", event_id="evt_1", session=session)
    return rig.error()


GA = {"type": "realtime"}


@pytest.mark.parametrize(
    ("session", "code", "param", "message"),
    [
        ({}, "missing_required_parameter", "session.type", "Missing required parameter: 'session.type'."),
        (
            {"type": "live"},
            "invalid_value",
            "session.type",
            "Invalid value: 'live'. Supported values are: 'realtime' and 'transcription'.",
        ),
        (
            {**GA, "input_audio_format": "g711_ulaw"},
            "unknown_parameter",
            "session.input_audio_format",
            "Unknown parameter: 'session.input_audio_format'.",
        ),
        (
            {**GA, "audio": {"input": {"format": {"type": "g711_ulaw"}}}},
            "invalid_value",
            "session.audio.input.format.type",
            "Invalid value: 'g711_ulaw'. Supported values are: 'audio/pcm', 'audio/pcmu', and 'audio/pcma'.",
        ),
        (
            {**GA, "audio": {"output": {"format": {"type": "audio/pcm"}}}},
            "missing_required_parameter",
            "session.audio.output.format.rate",
            "Missing required parameter: 'session.audio.output.format.rate'.",
        ),
        (
            {**GA, "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
            "unknown_parameter",
            "session.audio.input.format.rate",
            "Unknown parameter: 'session.audio.input.format.rate'.",
        ),
        (
            {**GA, "instructions": 5},
            "invalid_type",
            "session.instructions",
            "Invalid type for 'session.instructions': expected a string, but got an integer instead.",
        ),
        (
            {**GA, "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.5}}}},
            "decimal_above_max_value",
            "session.audio.input.turn_detection.threshold",
            "Invalid 'session.audio.input.turn_detection.threshold': decimal above maximum value. "
            "Expected a value <= 1.0, but got 1.5 instead.",
        ),
        (
            {**GA, "max_output_tokens": 0},
            "integer_below_min_value",
            "session.max_output_tokens",
            "Invalid 'session.max_output_tokens': integer below minimum value. "
            "Expected a value >= 1, but got 0 instead.",
        ),
        (
            {**GA, "audio": {"input": {"turn_detection": {}}}},
            "missing_required_parameter",
            "session.audio.input.turn_detection.type",
            "Missing required parameter: 'session.audio.input.turn_detection.type'.",
        ),
        (
            {**GA, "output_modalities": ["text", "audio"]},
            "array_above_max_length",
            "session.output_modalities",
            "Invalid 'session.output_modalities': array too long. Expected an array with maximum length 1, "
            "but got an array with length 2 instead.",
        ),
        (
            {**GA, "tools": [{"type": "function"}]},
            "missing_required_parameter",
            "session.tools[0].name",
            "Missing required parameter: 'session.tools[0].name'.",
        ),
        (
            {**GA, "temperature": 0.8},
            "unknown_parameter",
            "session.temperature",
            "Unknown parameter: 'session.temperature'.",
        ),
    ],
)
def test_session_update_is_refused_in_openais_words(
    session: dict[str, Any], code: str, param: str, message: str
) -> None:
    """Type, code, message, param and the client's event id; the session stays as it was."""
    rig = Rig()
    before = rig.session.config
    rig.send("session.update", event_id="evt_1", session=session)
    assert rig.error() == {
        "type": "invalid_request_error",
        "code": code,
        "message": message,
        "param": param,
        "event_id": "evt_1",
    }
    assert rig.session.config == before
    assert rig.session.closing is None


def test_a_beta_session_is_told_so_and_closed() -> None:
    """Flat audio fields without a type: beta_api_shape_disabled and close 4000."""
    rig = Rig()
    rig.send("session.update", session={"modalities": ["audio"], "input_audio_format": "g711_ulaw"})
    assert rig.error()["code"] == "beta_api_shape_disabled"
    assert rig.session.closing is not None
    assert rig.session.closing.code == 4000
    assert rig.session.closing.reason == "invalid_request_error.beta_api_shape_disabled"


def test_a_transcription_session_is_not_a_realtime_session() -> None:
    """An update of another kind of session is refused."""
    assert _refused(type="transcription")["param"] == "session.type"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ('{"type":"response.create","event_id":' + "9" * 5000 + "}", "invalid_json"),
        ('{"type":"input_audio_buffer.append","audio":NaN}', "invalid_json"),
        ('{"type":"conversation.item.delete","item_id":"\\ud800"}', "invalid_json"),
        ("[]", "invalid_type"),
        ("{}", "missing_required_parameter"),
        ('{"type":7}', "invalid_type"),
        ('{"type":"response.cancel","event_id":7}', "invalid_type"),
        ('{"type":"response.creat"}', "invalid_value"),
        ('{"type":"response.create","extra":1}', "unknown_parameter"),
        ('{"type":"input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type":"input_audio_buffer.append","audio":"not base64!"}', "invalid_value"),
        ('{"type":"input_audio_buffer.append","audio":"YWJj\\u00e9"}', "invalid_value"),
        ('{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":1.5}', "invalid_type"),
        ('{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":-1}',
         "integer_below_min_value"),
        ('{"type":"output_audio_buffer.clear"}', "invalid_value"),
    ],
)  # fmt: skip
def test_a_bad_frame_is_one_error(frame: str | bytes, code: str) -> None:
    """Garbage gets exactly one error event and changes nothing else."""
    rig = Rig()
    [answer] = rig.raw(frame)
    assert answer["type"] == "error"
    assert answer["error"]["code"] == code
    rig.send("response.create")
    assert rig.of("response.created")


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "message", "role": "robot", "content": []}, "invalid_value", "item.role"),
        ({"type": "message", "content": []}, "missing_required_parameter", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        ({"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]},
         "invalid_value", "item.content[0].type"),
        ({"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": ""}]},
         "invalid_value", "item.content[0].type"),
        ({"type": "message", "role": "user", "content": [], "id": "x" * 33},
         "string_above_max_length", "item.id"),
        ({"type": "function_call_output", "call_id": "call_nobody", "output": ""},
         "invalid_tool_call_id", "item.call_id"),
        ({"type": "mcp_approval_response", "approval_request_id": "nobody", "approve": True},
         "invalid_approval_request_id", "item.approval_request_id"),
        ({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "%"}]},
         "invalid_value", "item.content[0].audio"),
    ],
)  # fmt: skip
def test_a_bad_item_is_refused(item: dict[str, Any], code: str, param: str) -> None:
    """The field at fault is named by its path."""
    rig = Rig()
    rig.send("conversation.item.create", item=item)
    assert (rig.error()["code"], rig.error()["param"]) == (code, param)
    assert not rig.session.conversation.items


def test_the_longest_metadata_and_one_more() -> None:
    """Sixteen pairs are accepted, seventeen are not."""
    rig = Rig()
    pairs = {f"k{number}": "v" for number in range(17)}
    rig.send("response.create", response={"conversation": "none", "metadata": pairs})
    assert rig.error()["param"] == "response.metadata"
    pairs.popitem()
    rig.send("response.create", response={"conversation": "none", "metadata": pairs})
    assert json.loads(json.dumps(rig.last("response.created")["response"]["metadata"])) == pairs


def test_more_than_15_mib_of_audio_in_one_event_is_refused() -> None:
    """The limit that OpenAI documents."""
    rig = Rig()
    rig.send("input_audio_buffer.append", audio="/" * 4 * (5 << 20) + "////")
    assert (rig.error()["code"], rig.error()["param"]) == ("string_above_max_length", "audio")
