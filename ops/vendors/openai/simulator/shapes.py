"""Shapes of JSON values and OpenAI's words for what does not fit. Pure.

A shape is a function of a value and its path (`session.audio.input`); it returns nothing or raises
Problem. Messages and codes are those that the API sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ops.vendors.openai.simulator.events import Problem

Shape = Callable[[Any, str], None]


def text(most: int | None = None) -> Shape:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if most is not None and len(value) > most:
            raise Problem(
                f"Invalid '{path}': string too long. Expected a string with maximum length {most}, "
                f"but got a string with length {len(value)} instead.",
                "string_above_max_length",
                path,
            )

    return check


def boolean(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)


def anything(value: Any, path: str) -> None:
    """Every JSON value fits."""


def integer(low: int, high: int | None = None) -> Shape:
    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(path, "an integer", value)
        _within(value, path, low, high, "integer")

    return check


def decimal(low: float, high: float) -> Shape:
    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(path, "a decimal", value)
        _within(value, path, low, high, "decimal")

    return check


def one_of(*allowed: str | int) -> Shape:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise wrong_type(path, "a string" if isinstance(allowed[0], str) else "an integer", value)
        if value not in allowed:
            raise unsupported(path, value, allowed)

    return check


def nullable(shape: Shape) -> Shape:
    return lambda value, path: None if value is None else shape(value, path)


def either(literal: str | tuple[str, ...], shape: Shape) -> Shape:
    """One of the literal words, or something of another shape."""
    words = (literal,) if isinstance(literal, str) else literal

    def check(value: Any, path: str) -> None:
        if isinstance(value, str):
            if value not in words:
                raise unsupported(path, value, words)
        else:
            shape(value, path)

    return check


def array(shape: Shape, most: int | None = None) -> Shape:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise wrong_type(path, "an array of objects", value)
        if most is not None and len(value) > most:
            raise Problem(
                f"Invalid '{path}': array too long. Expected an array with maximum length {most}, "
                f"but got an array with length {len(value)} instead.",
                "array_above_max_length",
                path,
            )
        for index, each in enumerate(value):
            shape(each, f"{path}[{index}]")

    return check


def object_of(fields: Mapping[str, Shape], required: tuple[str, ...] = ()) -> Shape:
    """An object with these fields and no others."""

    def check(value: Any, path: str) -> None:
        _is_object(value, path)
        for name in required:
            if name not in value:
                raise missing(_inside(path, name))
        for name, inner in value.items():
            if name not in fields:
                raise Problem(
                    f"Unknown parameter: '{_inside(path, name)}'.", "unknown_parameter", _inside(path, name)
                )
            fields[name](inner, _inside(path, name))

    return check


def mapping(most: int, key_most: int, value_most: int) -> Shape:
    """Metadata: so many pairs of text at most."""

    def check(value: Any, path: str) -> None:
        _is_object(value, path)
        if len(value) > most:
            raise Problem(
                f"Invalid '{path}': too many properties. Expected at most {most}, but got {len(value)}.",
                "object_above_max_properties",
                path,
            )
        for name, inner in value.items():
            text(key_most)(name, f"{path} key")
            text(value_most)(inner, _inside(path, name))

    return check


def tagged(tag: str, variants: Mapping[str, Shape]) -> Shape:
    """An object whose field `tag` says which of the variants it is."""

    def check(value: Any, path: str) -> None:
        _is_object(value, path)
        if tag not in value:
            raise missing(_inside(path, tag))
        one_of(*variants)(value[tag], _inside(path, tag))
        variants[value[tag]](value, path)

    return check


def missing(path: str) -> Problem:
    return Problem(f"Missing required parameter: '{path}'.", "missing_required_parameter", path)


def wrong_type(path: str, expected: str, value: Any) -> Problem:
    return Problem(
        f"Invalid type for '{path}': expected {expected}, but got {_named(value)} instead.",
        "invalid_type",
        path,
    )


def unsupported(path: str, value: Any, allowed: tuple[Any, ...]) -> Problem:
    shown = str(value)[:100]
    return Problem(
        f"Invalid value: '{shown}'. Supported values are: {_listed(allowed)}.", "invalid_value", path
    )


def _within(value: float, path: str, low: float, high: float | None, kind: str) -> None:
    if value < low:
        limit, word, code = f">= {low}", "below minimum", f"{kind}_below_min_value"
    elif high is not None and value > high:
        limit, word, code = f"<= {high}", "above maximum", f"{kind}_above_max_value"
    else:
        return
    raise Problem(
        f"Invalid '{path}': {kind} {word} value. Expected a value {limit}, but got {value:.20} instead."
        if isinstance(value, float)
        else f"Invalid '{path}': {kind} {word} value. Expected a value {limit}, but got {value} instead.",
        code,
        path,
    )


def _is_object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)


def _inside(path: str, name: str) -> str:
    name = name[:100]
    return f"{path}.{name}" if path else name


def _named(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", int: "an integer", float: "a decimal number"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")


def _listed(values: tuple[Any, ...]) -> str:
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return ", ".join(quoted[:-1]) + f", and {quoted[-1]}"
