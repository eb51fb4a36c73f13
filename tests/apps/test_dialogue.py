"""Which tools run, as a conversation counts them: asked for at every event, however long it has become."""

from __future__ import annotations

from ops.apps.dialogue import ENTRIES, Dialogue, Used
from ops.vendors.openai.events import ToolCall


def call(name: str) -> ToolCall:
    return ToolCall(name, "look_up", "{}")


def test_a_tool_runs_until_it_has_returned() -> None:
    one = Dialogue()
    assert not one.running
    assert one.called(call("a")) is not None
    assert one.called(call("a")) is None
    assert one.called(call("b")) is not None
    assert one.returned("a", "done") is not None
    assert one.returned("a", "again") is None
    assert one.returned("unknown", "done") is None
    assert one.running
    assert one.returned("b", "done") is not None
    assert not one.running


def test_one_that_ran_when_the_call_was_lost_runs() -> None:
    assert Dialogue([Used("a", "look_up", "{}")]).running
    assert not Dialogue([Used("a", "look_up", "{}", "done")]).running


def test_what_is_forgotten_runs_no_more() -> None:
    one = Dialogue()
    one.called(call("a"))
    one.called(call("b"))
    one.said("agent", "b")  # an item of the same name takes its place
    for number in range(ENTRIES - 2):
        one.said("caller", f"item {number}")
    assert one.running
    one.said("caller", "one more")
    assert not one.running
