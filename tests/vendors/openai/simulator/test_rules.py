"""What the model answers, as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.speech import library
from ops.vendors.openai.simulator import rules
from ops.vendors.openai.simulator.rules import Call, Heard, Say, decide

OWN = {
    "greeting": "agent-moment",
    "otherwise": "agent-apology",
    "heard": {"caller-hours": {"say": "agent-goodbye"}},
    "after_tool": {},
    "after_any_tool": "agent-again",
}


def test_every_caller_line_has_an_answer() -> None:
    """The shipped rules know all that the shipped callers say."""
    assert set(rules.load()["heard"]) == {line.name for line in library.lines("caller")}


def test_other_rules_answer_otherwise(tmp_path: Path) -> None:
    """A file of one's own replaces all answers."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(OWN))
    own = rules.load(path)
    for heard, said in (
        (Heard(False), "agent-moment"),
        (Heard(True), "agent-apology"),
        (Heard(True, line="caller-hours"), "agent-goodbye"),
        (Heard(True, tool="book"), "agent-again"),
    ):
        assert decide(heard, [], "auto", None, own) == Say(library.line(said))


@pytest.mark.parametrize(
    "spoil", [{"greeting": "agent-nobody"}, {"heard": {"caller-x": {"say": "agent-hours"}}}]
)
def test_rules_with_unknown_lines_are_refused(tmp_path: Path, spoil: dict[str, object]) -> None:
    """Before the first call, with the names that exist."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({**OWN, **spoil}))
    with pytest.raises(KeyError, match="there are caller-hours"):
        rules.load(path)


def test_forced_arguments_fit_the_schema() -> None:
    """Required properties get the plainest value of their type; enums their first."""
    kinds = ("string", "integer", "number", "boolean", "array", "object", "null")
    properties = {kind: {"type": kind} for kind in kinds} | {"choice": {"enum": ["b", "a"]}, "optional": {}}
    required = [*kinds, "choice"]
    tool = {"type": "function", "name": "f", "parameters": {"properties": properties, "required": required}}
    call = decide(Heard(True), [tool], "required", None, rules.load())
    assert isinstance(call, Call)
    assert json.loads(call.arguments) == {
        "string": "example", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {},
        "null": None, "choice": "b",
    }  # fmt: skip
