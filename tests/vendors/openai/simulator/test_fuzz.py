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
from ops.vendors.openai.simulator.validation import CLIENT_EVENTS
from tests.vendors.openai.simulator.rig import PCMU, Rig

SCALARS: Any = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
JSON: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
SPEECH = base64.b64encode(library.line("caller-price").audio).decode()
VALID: list[dict[str, Any]] = [
    {"type": "session.update", "session": PCMU},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "name": "f",
     "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}]}},
    {"type": "session.update", "session": {"type": "realtime", "tool_choice": {"type": "function", "name": "f"}}},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection":
     {"type": "semantic_vad", "eagerness": "low"}}}}},
    {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "mcp", "server_label": "m",
     "server_url": "https://m.example", "require_approval": "never", "allowed_tools": ["t"]}]}},
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
    {"type": "conversation.item.delete", "item_id": "item_2"},
    {"type": "response.create", "response": {"conversation": "none", "metadata": {"a": "b"}, "input": [
     {"type": "item_reference", "id": "item_1"}], "max_output_tokens": 5, "output_modalities": ["text"]}},
    {"type": "response.create", "event_id": "event_1"},
    {"type": "response.cancel", "response_id": "resp_1"},
    {"type": "output_audio_buffer.clear"},
]  # fmt: skip
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


def _survives(rig: Rig, frame: str | bytes) -> None:
    for event in rig.raw(frame):
        json.dumps(event, ensure_ascii=False).encode()
        assert event["event_id"]
    rig.run(0.05)


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
    for _ in range(total // 100):
        rig = Rig(configured=chance.random() < 0.5)
        for _ in range(100):
            event = chance.choice(VALID)
            frame = json.dumps(event if chance.random() < 0.3 else _spoiled(event, chance))
            if chance.random() < 0.05:
                frame = frame[: chance.randrange(len(frame))]
            _survives(rig, frame)
        refused += len(rig.of("error"))
        heard += rig.session.heard.count("caller-price")
    assert heard > total / 1000
    assert 0.2 * total < refused < 0.95 * total  # neither all valid nor all nonsense
