"""Function calls and MCP: when the model calls, and what it says afterwards."""

from __future__ import annotations

import json
from typing import Any

from ops.vendors.openai.simulator.faults import Faults
from tests.vendors.openai.simulator.rig import Rig

TRANSFER = {
    "type": "function",
    "name": "transfer_to_agent",
    "parameters": {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "urgency": {"enum": ["low", "high"]}},
        "required": ["reason", "urgency"],
    },
}


def _mcp(**more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "shop", "server_url": "https://mcp.example/sse", **more}


def test_a_caller_who_wants_a_human_leads_to_the_tool() -> None:
    """function_call with arguments that fit its schema; after its output the agent speaks on."""
    rig = Rig()
    rig.configure(tools=[TRANSFER])
    rig.say("caller-human")
    rig.run(2)
    done = rig.last("response.function_call_arguments.done")
    assert done["name"] == "transfer_to_agent"
    assert json.loads(done["arguments"]) == {"reason": "the caller asked for a human", "urgency": "low"}
    deltas = rig.of("response.function_call_arguments.delta")
    assert "".join(event["delta"] for event in deltas) == done["arguments"]
    [item] = rig.last("response.done")["response"]["output"]
    assert item["type"] == "function_call"
    assert item["call_id"] == done["call_id"]
    output = {"type": "function_call_output", "call_id": done["call_id"], "output": "{}"}
    rig.send("conversation.item.create", item=output)
    rig.send("response.create")
    rig.run(2)
    assert rig.spoken() == "I will connect you to a colleague."


def test_without_the_tool_or_with_choice_none_it_only_speaks() -> None:
    """The rule falls back to its spoken line."""
    for session in ({"tools": []}, {"tools": [TRANSFER], "tool_choice": "none"}):
        rig = Rig()
        rig.configure(**session)
        rig.say("caller-human")
        rig.run(2)
        assert rig.spoken() == "I will connect you to a colleague."


def test_tool_choice_forces_a_call() -> None:
    """required calls the first function, a name calls that one."""
    other = {"type": "function", "name": "book", "parameters": {"type": "object", "properties": {}}}
    for choice, name in (("required", "transfer_to_agent"), ({"type": "function", "name": "book"}, "book")):
        rig = Rig()
        rig.configure(tools=[TRANSFER, other], tool_choice=choice)
        rig.send("response.create")
        rig.run(1)
        assert rig.last("response.function_call_arguments.done")["name"] == name


def test_mcp_tools_are_listed() -> None:
    """An item that fills, between in_progress and completed; a server that cannot be found fails."""
    rig = Rig()
    rig.configure(tools=[_mcp(allowed_tools=["hours", "prices"])])
    rig.run(1)
    item = rig.last("conversation.item.done")["item"]
    assert [tool["name"] for tool in item["tools"]] == ["hours", "prices"]
    assert rig.last("mcp_list_tools.completed")["item_id"] == item["id"]
    rig = Rig()
    rig.configure(tools=[_mcp(server_url="https://mcp.invalid/sse")])
    rig.run(1)
    assert rig.of("mcp_list_tools.in_progress")
    assert rig.of("mcp_list_tools.failed")


def test_an_mcp_call_waits_for_approval() -> None:
    """A request first; after the client's approval the call itself."""
    rig = Rig()
    choice = {"type": "mcp", "server_label": "shop", "name": "lookup"}
    rig.configure(tools=[_mcp()], tool_choice=choice)
    rig.send("response.create")
    rig.run(1)
    [request] = rig.last("response.done")["response"]["output"]
    assert request["type"] == "mcp_approval_request"
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    rig.send("conversation.item.create", item=answer)
    rig.send("response.create")
    rig.run(1)
    assert rig.of("response.mcp_call.completed")
    [call] = rig.last("response.done")["response"]["output"]
    assert (call["type"], call["name"]) == ("mcp_call", "lookup")


def test_an_mcp_call_without_approval_can_fail() -> None:
    """require_approval never calls at once; the fault makes the call fail, not the response."""
    faults = Faults()
    faults.arm("failed-tool")
    rig = Rig(faults=faults)
    choice = {"type": "mcp", "server_label": "shop", "name": "lookup"}
    rig.configure(tools=[_mcp(require_approval="never")], tool_choice=choice)
    rig.send("response.create")
    rig.run(1)
    assert rig.of("response.mcp_call.failed")
    response = rig.last("response.done")["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["error"]["type"] == "http_error"
