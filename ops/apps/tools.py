"""The agent's tools: decorated Python functions with typed arguments that the model may call.

    @tool
    def opening_hours(day: Literal["weekday", "saturday", "sunday"]) -> str:
        "When the shop is open on a day."

The schema comes from the annotations and the docstring. A tool has a time limit, and whatever goes
wrong is told to the model, which then tells the caller: a tool never breaks a call.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Any, Literal, Union

LIMIT = 10.0  # seconds
OUTPUT_LIMIT = 16_000  # characters that the model is told at most
_KINDS: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True)
class Tool:
    """A function the model may call: its name, what it is told about it, and how long it may take."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    limit: float = LIMIT

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as a session is told about it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }


def tool(function: Callable[..., Any] | None = None, *, limit: float = LIMIT) -> Any:
    """Makes a Tool of a function, plain or async: `@tool` or `@tool(limit=3)`. TypeError names an
    argument whose annotation has no JSON type."""
    if function is None:
        return lambda found: tool(found, limit=limit)
    hints = typing.get_type_hints(function)
    properties, required = {}, []
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints or parameter.kind not in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            raise TypeError(f"{function.__name__}: the argument {name} needs a name and an annotation")
        properties[name] = _schema(hints[name], f"{function.__name__}.{name}")
        if parameter.default is parameter.empty:
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    told = inspect.getdoc(function) or function.__name__
    return Tool(function.__name__, told, schema, function, limit)


def _schema(hint: Any, where: str) -> dict[str, Any]:
    if hint in _KINDS:
        return {"type": _KINDS[hint]}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"type": _KINDS[type(arguments[0])], "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], where)}
    if origin in (Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
        return _schema(next(one for one in arguments if one is not type(None)), where)
    raise TypeError(f"{where}: expected str, int, float, bool, Literal, list of these or None, got {hint}")


class Toolbox:
    """The tools of an agent by their names; ValueError where two have the same, or that of a built-in one."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for one in tools:
            if one.name in (*self._tools, HANG_UP["name"], TRANSFER["name"]):
                raise ValueError(f"there are two tools called {one.name}: give one another name")
            self._tools[one.name] = one

    @property
    def definitions(self) -> tuple[dict[str, Any], ...]:
        return tuple(one.definition for one in self._tools.values())

    async def run(self, name: str, arguments: str) -> tuple[str, str | None]:
        """(what the model is told, what went wrong or None). Never raises."""
        one = self._tools.get(name)
        if one is None:
            return _failed(f"there is no tool called {name!r}; there are {', '.join(self._tools) or 'none'}")
        try:
            given = json.loads(arguments or "{}")
            problem = _misfit(given, one.parameters)
        except (ValueError, RecursionError) as error:
            problem = f"the arguments are not JSON: {error}"
        if problem:
            return _failed(f"{name}: {problem}")
        try:
            async with asyncio.timeout(one.limit) as limit:
                if inspect.iscoroutinefunction(one.function):
                    found = await one.function(**given)
                else:
                    found = await _in_a_thread(partial(one.function, **given))
            return (found if isinstance(found, str) else json.dumps(found, default=str))[:OUTPUT_LIMIT], None
        except (Exception, SystemExit) as error:
            if isinstance(error, TimeoutError) and limit.expired():
                late = f"{name} took longer than {one.limit:g} s"
                return _failed(f"{late}; it may still happen, do not repeat it")
            return _failed(f"{name} failed: {type(error).__name__}: {error}")


class _OwnThreads(Executor):
    """A thread for each piece of work: one that hangs takes no place that another call needs, nor keeps the
    process from ending."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()  # who stops waiting does not cancel it

        def run() -> None:
            try:
                done.set_result(work(*arguments, **named))
            except StopIteration as error:  # no future can hold one
                done.set_exception(RuntimeError(repr(error)))
            except BaseException as error:
                done.set_exception(error)

        Thread(target=run, name="tool", daemon=True).start()
        return done


_THREADS = _OwnThreads()


async def _in_a_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, contextvars.copy_context().run, work)


def _failed(problem: str) -> tuple[str, str]:
    return json.dumps({"error": problem[:1000]}), problem[:1000]


def _misfit(given: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a tool's arguments; None when they fit."""
    if not isinstance(given, dict):
        return f"expected an object of arguments, got {type(given).__name__}"
    properties = schema["properties"]
    if missing := [name for name in schema["required"] if name not in given]:
        return f"the argument {missing[0]} is missing"
    if unknown := [name for name in given if name not in properties]:
        return f"there is no argument {unknown[0][:64]!r}; there are {', '.join(properties) or 'none'}"
    for name, value in given.items():
        if not _fits(value, properties[name]):
            return f"{name}: expected {json.dumps(properties[name])}, got {json.dumps(value)[:80]}"
    return None


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "array":
        return isinstance(value, list) and all(_fits(one, schema["items"]) for one in value)
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    }  # fmt: skip
    return isinstance(value, kinds[schema["type"]]) and (
        isinstance(value, bool) == (schema["type"] == "boolean")
    )


HANG_UP = {
    "type": "function",
    "name": "hang_up",
    "description": "Ends the call. Use it when the caller has said goodbye and nothing is left to do.",
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": True},
}
TRANSFER = {
    "type": "function",
    "name": "transfer_to_agent",
    "description": "Connects the caller to a human colleague. Use it when they ask for one.",
    "parameters": {
        "type": "object",
        "properties": {"reason": {"type": "string", "description": "why, in a few words"}},
        "required": [],
        "additionalProperties": True,
    },
}
