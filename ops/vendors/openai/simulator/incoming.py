"""What a client's items and audio mean: decoded, heard, and their references looked up. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ops.vendors.openai.simulator import rules
from ops.vendors.openai.simulator.codec import SAID, Decoder
from ops.vendors.openai.simulator.conversation import Conversation, Item
from ops.vendors.openai.simulator.events import Ids, Problem
from ops.vendors.openai.simulator.recogniser import recognise

AUDIO_LIMIT = 15 << 20  # bytes in one event


def audio(encoded: str, format: str, path: str) -> bytes:
    """The bytes of a base64 field; Problem where it is none, or too long."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Problem(
            f"Invalid '{path}'. Expected base64-encoded audio bytes ({SAID[format]}) "
            "but got an invalid value.",
            "invalid_value",
            path,
        ) from None
    if len(data) > AUDIO_LIMIT:
        raise Problem(
            f"Invalid '{path}': audio too long. Expected at most {AUDIO_LIMIT} bytes, but got {len(data)}.",
            "string_above_max_length",
            path,
        )
    return data


def item(given: Mapping[str, Any], path: str, format: str, conversation: Conversation, ids: Ids) -> Item:
    """A valid item as the conversation keeps it: its sound decoded and recognised, its references found."""
    fields = {key: value for key, value in given.items() if key not in ("id", "object", "status")}
    made = Item(given.get("id") or ids.new("item"), fields)
    if made.type == "message":
        fields["content"] = [dict(part) for part in given["content"]]
        for index, part in enumerate(fields["content"]):
            if part["type"] == "input_audio":
                data = audio(part.pop("audio"), format, f"{path}.content[{index}].audio")
                made.audio += Decoder(format).feed(data)
                part.setdefault("transcript", None)
        written = " ".join(part["text"] for part in fields["content"] if "text" in part)
        found = recognise(bytes(made.audio)) if made.audio else None
        made.line = found.name if found else rules.line_of(written)
    elif made.type == "function_call":
        fields.setdefault("call_id", ids.new("call"))
    elif made.type == "function_call_output":
        calls = (each for each in conversation.items if each.type == "function_call")
        call = next((each for each in calls if each.fields["call_id"] == given["call_id"]), None)
        if call is None:
            raise Problem(
                f"Tool call ID '{given['call_id']}' not found in conversation.",
                "invalid_tool_call_id",
                f"{path}.call_id",
            )
        made.tool = call.fields["name"]
    elif made.type == "mcp_approval_response":
        request(made, conversation)
    return made


def request(approval: Item, conversation: Conversation) -> Item:
    """The request that an MCP approval answers; Problem where there is none of that id."""
    id = approval.fields["approval_request_id"]
    found = conversation.get(id)
    if found is None or found.type != "mcp_approval_request":
        raise Problem(
            f"Approval request ID '{id[:100]}' not found in conversation.",
            "invalid_approval_request_id",
            "item.approval_request_id",
        )
    return found


def heard(items: list[Item]) -> rules.Heard:
    """What there is to answer: the newest item that is not the system's."""
    said = [item for item in items if item.role != "system" and item.type != "mcp_list_tools"]
    if not said:
        return rules.Heard(False)
    newest = said[-1]
    if newest.type == "function_call_output":
        return rules.Heard(True, tool=newest.tool)
    return rules.Heard(True, line=newest.line)


def approved(items: list[Item], conversation: Conversation) -> rules.McpCall | None:
    """The MCP call that the newest item allows."""
    if not items or items[-1].type != "mcp_approval_response" or not items[-1].fields["approve"]:
        return None
    fields = request(items[-1], conversation).fields
    return rules.McpCall(fields["server_label"], fields["name"], fields["arguments"], approval=False)
