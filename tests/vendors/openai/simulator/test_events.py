"""Every event of the official SDK's union, emitted by the simulator and parsed by the SDK's own types."""

from __future__ import annotations

import json
from typing import Any, get_args

from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from ops.vendors.openai.simulator.faults import Faults
from tests.vendors.openai.simulator.rig import PCMU, Rig
from tests.vendors.openai.simulator.test_tools import TRANSFER

NOT_ON_THIS_SOCKET = {
    "output_audio_buffer.started": "WebRTC and SIP only",
    "output_audio_buffer.stopped": "WebRTC and SIP only",
    "output_audio_buffer.cleared": "WebRTC and SIP only",
    "input_audio_buffer.dtmf_event_received": "SIP only",
    "conversation.item.created": "the beta API's name; GA sends conversation.item.added and .done",
}


def _models(union: Any) -> dict[str, type[BaseModel]]:
    """The members of an annotated union by their literal `type`."""
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["type"].annotation)[0]: member for member in members}


SERVER = _models(RealtimeServerEvent)


def _everything() -> list[dict[str, Any]]:
    """A session that is led through all that it can say."""
    faults = Faults()
    rig = Rig(faults=faults, lifetime=600)
    transcription = {"model": "gpt-4o-transcribe-diarize"}
    include = ["item.input_audio_transcription.logprobs"]
    rig.configure(audio={"input": {"transcription": transcription}}, include=include)
    rig.send("response.create")
    rig.run(3)
    item = rig.last("response.done")["response"]["output"][0]["id"]
    rig.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=300)
    rig.send("conversation.item.retrieve", item_id=item)
    rig.send("conversation.item.delete", item_id=item)
    rig.say("caller-price")
    rig.say("caller-book")  # a barge-in
    faults.arm("failed-transcription")
    rig.say("caller-hours")
    rig.run(3)
    for name in ("failed-response", "content-filter", "silent-response"):
        faults.arm(name)
        rig.send("response.create")
        rig.run(3)
    rig.send("input_audio_buffer.clear")
    rig.configure(output_modalities=["text"])
    rig.send("response.create")
    rig.run(3)
    rig.configure(output_modalities=["audio"], tools=[TRANSFER], tool_choice="required")
    rig.send("response.create")
    rig.run(3)
    mcp = {"type": "mcp", "server_label": "a", "server_url": "https://a.example", "require_approval": "never"}
    rig.configure(
        tools=[mcp, {**mcp, "server_label": "b", "server_url": "https://b.invalid"}],
        tool_choice={"type": "mcp", "server_label": "a", "name": "lookup"},
    )
    rig.send("response.create")
    rig.run(3)
    faults.arm("failed-tool")
    rig.send("response.create")
    rig.run(3)
    rig.configure(tools=[{**mcp, "require_approval": "always"}])
    rig.send("response.create")
    rig.run(3)
    rig.configure(tools=[], tool_choice="auto")
    rig.turns(type="server_vad", idle_timeout_ms=5000)
    rig.send("response.create")
    rig.run(12)
    rig.run(600)  # until the session expires
    return rig.events


def test_every_event_is_emitted_and_parses() -> None:
    """All of the union that applies to websockets occurs, and each one satisfies its own SDK type."""
    events = _everything()
    for event in events:
        parsed = SERVER[event["type"]].model_validate(event)
        assert parsed.model_dump(mode="json", exclude_unset=True).keys() == event.keys()
    assert set(SERVER) - {event["type"] for event in events} == set(NOT_ON_THIS_SOCKET)


def test_items_and_responses_parse_strictly() -> None:
    """What is nested has a type of its own there, too: no item falls through the SDK's union."""
    from openai.types.realtime import ConversationItem, RealtimeResponse

    items: TypeAdapter[Any] = TypeAdapter(ConversationItem)
    for event in _everything():
        if "item" in event:
            assert items.validate_python(event["item"]).type == event["item"]["type"]
        if "response" in event:
            RealtimeResponse.model_validate(event["response"])


def test_every_event_has_its_own_id_and_its_deltas_their_place() -> None:
    """event_id is unique; a response's deltas name response, item, output and content."""
    events = _everything()
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids)
    for event in events:
        if event["type"].startswith("response.") and event["type"].endswith("delta"):
            assert {"response_id", "item_id", "output_index"} <= event.keys()


ITEM = {"id": "item_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
CLIENT: list[dict[str, Any]] = [
    {"type": "session.update", "session": PCMU},
    {"type": "input_audio_buffer.append", "audio": "////" * 400},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": ITEM, "previous_item_id": "root"},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "response.create", "response": {"instructions": "Greet.", "metadata": {"a": "b"}}},
    {"type": "response.cancel"},
]


def test_client_events_of_the_sdk_are_accepted() -> None:
    """Each parses as the SDK's own type and is answered without an error; truncate is the one left over."""
    rig = Rig()
    for event in CLIENT:
        _models(RealtimeClientEvent)[event["type"]].model_validate(event)
        rig.raw(json.dumps({"event_id": "evt_1", **event}))
        assert not rig.of("error"), event
    rig.send("response.create")
    rig.run(3)
    id = rig.last("response.done")["response"]["output"][0]["id"]
    rig.send("conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=100)
    assert not rig.of("error")
    rig.send("output_audio_buffer.clear")
    assert "WebRTC and SIP" in rig.error()["message"]
    tried = {event["type"] for event in CLIENT} | {"conversation.item.truncate", "output_audio_buffer.clear"}
    assert tried == set(_models(RealtimeClientEvent))
