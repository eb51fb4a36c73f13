"""What the model answers, as data (`rules.json`): a line heard, a line spoken, or a tool called. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ops.speech.library import Line, line, lines

Rules = dict[str, Any]
SHIPPED = Path(__file__).with_name("rules.json")


@dataclass(frozen=True)
class Say:
    """Speak a line (or write it, where the output is text)."""

    line: Line


@dataclass(frozen=True)
class Call:
    """Call a function of the session's tools; arguments are JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class McpCall:
    """Call a tool of an MCP server; it needs the client's approval unless the tool says never."""

    server_label: str
    name: str
    arguments: str
    approval: bool


Output = Say | Call | McpCall


@dataclass(frozen=True)
class Heard:
    """What the model has to answer: the newest thing that was said, written or returned by a tool."""

    anything: bool  # the conversation has something of the user in it
    line: str | None = None  # name of the line that was recognised
    tool: str | None = None  # name of the tool whose output came last


def decide(
    heard: Heard, tools: Sequence[Mapping[str, Any]], choice: Any, instructions: str | None, rules: Rules
) -> Output:
    """The answer to what was heard; `instructions` are those of this one response, where it has its own."""
    forced = _forced(tools, choice)
    if forced is not None:
        return forced
    quoted = _quoted(instructions)
    if quoted is not None:
        return Say(quoted)
    if heard.tool is not None:
        return Say(line(rules["after_tool"].get(heard.tool, rules["after_any_tool"])))
    if not heard.anything:
        return Say(line(rules["greeting"]))
    rule = rules["heard"].get(heard.line, {"say": rules["otherwise"]})
    if choice != "none" and "call" in rule:
        for tool in tools:
            if tool.get("type") == "function" and tool["name"] == rule["call"]["name"]:
                return Call(tool["name"], json.dumps(_arguments(tool, rule["call"]["arguments"])))
    return Say(line(rule["say"]))


def line_of(text: str) -> str | None:
    """The name of the caller's line that was written instead of spoken."""
    wanted = _plain(text)
    return next((each.name for each in lines("caller") if _plain(each.text) == wanted), None)


def _forced(tools: Sequence[Mapping[str, Any]], choice: Any) -> Output | None:
    """The tool that `tool_choice` insists on: required, or one by its name."""
    wanted = choice if isinstance(choice, dict) else {}
    for tool in tools:
        if tool.get("type") == "function":
            named = wanted.get("type") == "function" and wanted["name"] == tool["name"]
            if choice == "required" or named:
                return Call(tool["name"], json.dumps(_arguments(tool, {})))
        elif wanted.get("type") == "mcp" and wanted["server_label"] == tool["server_label"]:
            return McpCall(
                tool["server_label"],
                wanted.get("name") or mcp_tools(tool)[0],
                "{}",
                tool.get("require_approval") != "never",
            )
    return None


def mcp_tools(tool: Mapping[str, Any]) -> list[str]:
    """The names that a simulated MCP server offers: those allowed, or one called `lookup`."""
    allowed = tool.get("allowed_tools")
    names = allowed.get("tool_names") if isinstance(allowed, dict) else allowed
    return [str(name) for name in names] if isinstance(names, list) and names else ["lookup"]


def _arguments(tool: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit the tool's JSON schema: known ones where it has them, else the plainest value."""
    schema = tool.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required") if isinstance(schema, dict) else None
    found = {name: value for name, value in known.items() if name in properties}
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name in properties and name not in found:
            found[name] = _plainest(properties[name])
    return found


def _plainest(schema: Any) -> Any:
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    plain = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}, "null": None}
    return plain.get(kind, "example") if isinstance(kind, str) else "example"


def _quoted(instructions: str | None) -> Line | None:
    """An agent's line whose words stand in the instructions, so that a test can say what is to be said."""
    if not instructions:
        return None
    wanted = _plain(instructions)
    found = [each for each in lines("agent") if _plain(each.text) in wanted]
    return max(found, key=lambda each: len(each.text)) if found else None


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


@cache
def load(path: Path = SHIPPED) -> Rules:
    """The rules of a file; KeyError names what is missing, or a line that the library does not have."""
    found: Rules = json.loads(path.read_text("utf-8"))
    spoken = [found["greeting"], found["otherwise"], found["after_any_tool"], *found["after_tool"].values()]
    for name in (*spoken, *(rule["say"] for rule in found["heard"].values()), *found["heard"]):
        line(name)
    return found
