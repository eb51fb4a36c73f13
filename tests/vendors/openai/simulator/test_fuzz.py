"""Whatever a client sends, the session answers with events that are JSON, and never breaks."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.speech import library
from ops.vendors.openai.simulator.faults import Faults, catalogue
from ops.vendors.openai.simulator.validation import CLIENT_EVENTS
from tests.vendors.openai.simulator.rig import PCMU, Rig

SCALARS: Any = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
JSON: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
AGENT, CALLER, HUMAN = (library.line(name).text for name in ("agent-price", "caller-price", "caller-human"))
SPEECH = base64.b64encode(library.line("caller-price").audio).decode()
VALID: list[dict[str, Any]] = [
    {"type": "session.update", "session": PCMU},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "name": "f",
     "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}]}},
    {"type": "session.update", "session": {"type": "realtime", "tool_choice": {"type": "function", "name": "f"}}},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection":
     {"type": "semantic_vad", "eagerness": "low"}}}}},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "mcp", "server_label": "m",
     "server_url": "https://m.example", "require_approval": "never", "allowed_tools": ["t"]}],
     "tool_choice": {"type": "mcp", "server_label": "m"}}},
    {"type": "session.update", "session": {"input_audio_format": "g711_ulaw", "turn_detection": None}},
    {"type": "session.update", "session": {"type": "realtime", "model": "gpt-realtime-1"}},
    {"type": "session.update", "session": {"type": "transcription"}},
    {"type": "input_audio_buffer.append", "audio": "AAAA" * 200},
    {"type": "input_audio_buffer.append", "audio": "////" * 1600},
    {"type": "input_audio_buffer.append", "audio": SPEECH},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "previous_item_id": "root", "item": {"id": "item_1", "type": "message",
     "role": "user", "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_audio", "audio": "AAAA"}]}},
    {"type": "conversation.item.create", "item": {"id": "item_2", "type": "function_call", "name": "f",
     "call_id": "call_1", "arguments": "{}"}},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "call_1",
     "output": "{}"}},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 10},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 0},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 1, "audio_end_ms": 10**9},
    {"type": "conversation.item.delete", "item_id": "item_2"},
    {"type": "response.create", "response": {"conversation": "none", "metadata": {"a": "b"}, "input": [
     {"type": "item_reference", "id": "item_1"}], "max_output_tokens": 5, "output_modalities": ["text"]}},
    {"type": "response.create", "event_id": "event_1"},
    {"type": "response.create", "response": {"metadata": {str(number): "x" for number in range(17)}}},
    {"type": "response.cancel", "response_id": "resp_1"},
    {"type": "response.cancel"},
    {"type": "output_audio_buffer.clear"},
    {"type": "session.update", "session": {"type": "realtime", "include": ["item.input_audio_transcription.logprobs"],
     "audio": {"input": {"format": {"type": "audio/pcma"}, "transcription": {"model": "gpt-4o-transcribe-diarize"},
     "turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000, "interrupt_response": False}},
     "output": {"format": {"type": "audio/pcma"}, "voice": "cedar", "speed": 1.2}}}},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None,
     "transcription": {"model": "whisper-1", "language": "en"}, "noise_reduction": {"type": "near_field"}}}}},
    {"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 20, "tracing": "auto",
     "output_modalities": ["text"], "instructions": AGENT, "truncation": {"type": "retention_ratio",
     "retention_ratio": 0.8}}},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "name": "g",
     "parameters": {"type": "object", "required": ["a", "b"], "properties": {"a": {"enum": [1]},
     "b": {"type": "integer"}}}}], "tool_choice": "required"}},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "mcp", "server_label": "n",
     "server_url": "https://n.invalid", "require_approval": "always", "allowed_tools": {"tool_names": ["u"]}}],
     "tool_choice": {"type": "mcp", "server_label": "n"}}},
    {"type": "response.create", "response": {"tool_choice": {"type": "mcp", "server_label": "m", "name": "t"}}},
    {"type": "response.create", "response": {"tool_choice": "none", "instructions": AGENT,
     "output_modalities": ["audio"], "max_output_tokens": "inf", "audio": {"output": {"voice": "cedar"}}}},
    {"type": "response.create", "response": {"input": [{"type": "message", "role": "user", "content": [
     {"type": "input_text", "text": CALLER}]}]}},
    {"type": "response.create", "response": {"tools": [{"type": "function", "name": "transfer_to_agent"}],
     "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": HUMAN}]}]}},
    {"type": "conversation.item.create", "item": {"type": "message", "role": "assistant", "content": [
     {"type": "output_text", "text": "Yes."}]}},
    {"type": "conversation.item.create", "item": {"type": "message", "role": "system", "content": [
     {"type": "input_text", "text": "Be short."}]}},
    {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [
     {"type": "input_audio", "audio": SPEECH}]}},
    {"type": "conversation.item.create", "item": {"type": "mcp_approval_response", "id": "item_3",
     "approval_request_id": "mcpr_1", "approve": True}},
]  # fmt: skip
SPOKEN = [event for event in VALID if event["type"] == "input_audio_buffer.append"]
NAMED = ("item_id", "previous_item_id", "response_id", "approval_request_id", "call_id", "id")
FAULTS = [
    name
    for name, fault in catalogue().items()
    if fault.where in ("update", "limits", "response", "transcription")
]
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    10**40,
    "",
    "x" * 600,
    [],
    {},
    [[]],
    [{}] * 200,
    {"type": "server_vad"},
    "\ud800",
]


def _spoiled(event: Any, chance: random.Random) -> Any:
    """A valid event with one thing in it replaced, removed or added, anywhere."""
    if isinstance(event, dict) and event and chance.random() < 0.85:
        key = chance.choice(list(event))
        changed = dict(event)
        what = chance.random()
        if what < 0.7:
            changed[key] = _spoiled(event[key], chance)
        elif what < 0.85:
            del changed[key]
        else:
            changed[chance.choice(["id", "status", "odd", "type", "role"])] = chance.choice(ODD)
        return changed
    if isinstance(event, list) and event and chance.random() < 0.85:
        place = chance.randrange(len(event))
        return [*event[:place], _spoiled(event[place], chance), *event[place + 1 :]]
    return chance.choice(ODD)


def _named(event: Any, known: dict[str, list[str]], chance: random.Random) -> Any:
    """The event about things that exist: each identifier replaced by one that the session has told."""
    if isinstance(event, list):
        return [_named(each, known, chance) for each in event]
    if not isinstance(event, dict):
        return event
    changed = {key: _named(value, known, chance) for key, value in event.items()}
    for key in changed.keys() & set(NAMED):
        told = known.get("item_id" if key in ("previous_item_id", "id") else key)
        if told and isinstance(changed[key], str):
            changed[key] = chance.choice(told[-4:])
    return changed


def _told(rig: Rig, since: int, known: dict[str, list[str]]) -> None:
    """Keep the identifiers of the events that came since then."""
    for event in rig.events[since:]:
        if "item" in event:
            item = event["item"]
            known.setdefault("item_id", []).append(item["id"])
            if item["type"] == "mcp_approval_request":
                known.setdefault("approval_request_id", []).append(item["id"])
            if item["type"] == "function_call":
                known.setdefault("call_id", []).append(item["call_id"])
        elif event["type"] == "response.created":
            known.setdefault("response_id", []).append(event["response"]["id"])


def _survives(rig: Rig, frame: str | bytes) -> None:
    for event in rig.raw(frame):
        json.dumps(event, ensure_ascii=False).encode()
        assert event["event_id"]
    rig.run(0.05)


def _armed(chance: random.Random) -> Faults:
    """None of the faults or one: what is refused while something fails must not break anything, either."""
    faults = Faults()
    if chance.random() < 0.5:
        name = chance.choice(FAULTS)
        faults.arm(name, times=2, **({"quota": chance.randrange(2)} if name == "failed-response" else {}))
    return faults


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=60) | st.text(max_size=60) | JSON.map(json.dumps), max_size=5))
def test_garbage_is_answered_with_errors(frames: list[str | bytes]) -> None:
    """Bytes, text and JSON of any shape: one error each, and the session goes on."""
    rig = Rig(configured=False)
    for frame in frames:
        before = len(rig.of("error"))
        _survives(rig, frame)
        assert len(rig.of("error")) == before + 1
    assert rig.session.closing is None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(CLIENT_EVENTS)), st.dictionaries(st.text(max_size=8), JSON, max_size=3), JSON)
def test_known_types_with_any_fields(type: str, fields: dict[str, Any], inner: Any) -> None:
    """The right type and arbitrary contents never break the session."""
    names = ("session", "item", "response", "audio", "item_id", "audio_end_ms")
    _survives(Rig(), json.dumps({**fields, **dict.fromkeys(names, inner), "type": type}))


@pytest.mark.timeout(1800)
def test_mutated_valid_frames(request: pytest.FixtureRequest) -> None:
    """Valid events with one thing spoiled, in any order within one session; --long does a million."""
    total = 1_000_000 if request.config.getoption("--long") else 20_000
    chance = random.Random(11)
    refused = heard = 0
    left = total
    while left:
        rig = Rig(configured=chance.random() < 0.5, faults=_armed(chance))
        if chance.random() < 0.1:
            rig.session.responses.limits.take(rig.now, 390_000)  # little is left of this minute
        known: dict[str, list[str]] = {}
        seen = 0
        for _ in range(min(left, 100)):
            left -= 1
            event = chance.choice(VALID if chance.random() < 0.85 else SPOKEN)
            if chance.random() < 0.5:
                event = _named(event, known, chance)
            frame = json.dumps(event if chance.random() < 0.3 else _spoiled(event, chance))
            if chance.random() < 0.05:
                frame = frame[: chance.randrange(len(frame))]
            _survives(rig, frame)
            if chance.random() < 0.02:
                rig.run(chance.choice((1, 8)))  # until an answer has been given, or nothing was said for long
            if rig.session.closing is not None:
                break  # a beta client is told so, and its connection closed
            _told(rig, seen, known)
            seen = len(rig.events)
        refused += len(rig.of("error"))
        heard += rig.session.heard.count("caller-price")
    assert heard > total / 1000
    assert 0.2 * total < refused < 0.95 * total  # neither all valid nor all nonsense
