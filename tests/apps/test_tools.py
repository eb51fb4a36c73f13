"""Tools: schemas from annotations, arguments checked, errors and slowness told to the model."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Literal

import pytest

from ops.apps.tools import Tool, Toolbox, tool


@tool
def opening_hours(
    day: Literal["weekday", "saturday"], bikes: int = 1, note: str | None = None
) -> dict[str, str]:
    """When the shop is open."""
    return {"day": day, "hours": "nine to five", "bikes": str(bikes)}


@tool
async def book(names: list[str], price: float, sure: bool) -> str:
    """Books a repair."""
    return f"{names} {price} {sure}"


@tool(limit=0.05)
async def slow() -> str:
    """Never comes back."""
    await asyncio.sleep(30)
    return "late"


@tool
def broken() -> str:
    """Fails."""
    raise ConnectionError("the calendar is away")


@tool
def late() -> str:
    """Is kept waiting itself."""
    raise TimeoutError("the calendar did not answer")


@tool
def leaving() -> str:
    """Believes that it is a program of its own."""
    sys.exit("usage: leaving")


@tool
def endless() -> str:
    """One value too few."""
    return str(next(iter(())))


BOX = Toolbox((opening_hours, book, slow, broken, late, leaving, endless))


def run(name: str, arguments: str) -> tuple[str, str | None]:
    return asyncio.run(BOX.run(name, arguments))


def test_the_schema_comes_from_the_annotations() -> None:
    """Types, choices, what is required, and the docstring: as the Realtime API wants a function."""
    definition = opening_hours.definition
    assert definition["type"] == "function"
    assert definition["name"] == "opening_hours"
    assert definition["description"] == "When the shop is open."
    assert definition["parameters"]["properties"] == {
        "day": {"type": "string", "enum": ["weekday", "saturday"]},
        "bikes": {"type": "integer"},
        "note": {"type": "string"},
    }
    assert definition["parameters"]["required"] == ["day"]
    assert book.parameters["properties"]["names"] == {"type": "array", "items": {"type": "string"}}


def test_plain_and_async_functions_run() -> None:
    """A text is told as it is, anything else as JSON; a default fills in."""
    assert json.loads(run("opening_hours", '{"day": "saturday"}')[0])["bikes"] == "1"
    assert run("book", '{"names": ["Ann"], "price": 40, "sure": true}') == ("['Ann'] 40 True", None)


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("opening_hours", "{}", "day is missing"),
        ("opening_hours", '{"day": "sunday"}', "expected"),
        ("opening_hours", '{"day": "saturday", "bikes": true}', "bikes"),
        ("opening_hours", '{"day": "saturday", "shell": "rm"}', "no argument"),
        ("opening_hours", "[]", "expected an object"),
        ("opening_hours", "{", "not JSON"),
        ("opening_hours", "[" * 100_000, "not JSON"),
        ("delete_everything", "{}", "there is no tool"),
        ("broken", "{}", "the calendar is away"),
        ("late", "{}", "late failed: TimeoutError: the calendar did not answer"),
        ("leaving", "{}", "usage: leaving"),
        ("endless", "{}", "StopIteration"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(name: str, arguments: str, word: str) -> None:
    """Never an exception: the model reads an error and can say so."""
    output, problem = run(name, arguments)
    assert problem is not None
    assert word in problem
    assert word in json.loads(output)["error"]


def test_a_slow_tool_is_cut_off() -> None:
    """At its limit the model is told that nobody knows whether it happened."""
    began = time.monotonic()
    output, _ = run("slow", "{}")
    assert time.monotonic() - began < 20  # it takes 30
    assert "do not repeat" in json.loads(output)["error"]


def test_tools_that_hang_hold_up_nobody() -> None:
    """Fifty that never return: each is cut off in its time, other work has its threads, and the loop can end."""
    never = threading.Event()

    @tool(limit=0.1)
    def hangs() -> str:
        never.wait()
        return "at last"

    async def scenario() -> None:
        box = Toolbox((hangs, opening_hours))
        hanging = [asyncio.create_task(box.run("hangs", "{}")) for _ in range(50)]
        await asyncio.sleep(0)
        found, problem = await box.run("opening_hours", '{"day": "saturday"}')
        assert (json.loads(found)["hours"], problem) == ("nine to five", None)
        await asyncio.wait_for(asyncio.to_thread(time.monotonic), 5)
        for output, _ in await asyncio.gather(*hanging):
            assert "do not repeat" in output

    began = time.monotonic()
    try:
        asyncio.run(scenario())
        assert time.monotonic() - began < 5
    finally:
        never.set()


def test_no_tool_takes_anothers_name() -> None:
    """Nor that of one that every agent has: the model could not tell which it calls."""

    @tool
    def hang_up() -> str:
        return "no"

    for tools in ((opening_hours, opening_hours), (hang_up,)):
        with pytest.raises(ValueError, match="two tools called"):
            Toolbox(tools)


def test_an_argument_without_a_json_type_is_refused_at_once() -> None:
    """The mistake shows when the program starts, not in a call."""
    with pytest.raises(TypeError, match="payload"):
        tool(_untyped)
    with pytest.raises(TypeError, match="when"):
        tool(_odd)
    assert isinstance(opening_hours, Tool)


def _untyped(payload) -> str:  # type: ignore[no-untyped-def]
    return str(payload)


def _odd(when: complex) -> str:
    return str(when)
