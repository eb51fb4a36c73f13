"""What keeps strangers out, each thing with the forgery that it alone stops and what takes it away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.apps.inside import Inside
from tests.apps.test_bridge import Model


@dataclass(frozen=True)
class Control:
    """A control: `forgery` tells whether it came in; `removed` and `hurry` are names of the program and what
    stands there instead: without the control, and with limits so short that no test waits for them."""

    forgery: Callable[[Inside], Awaitable[bool]]
    removed: Mapping[str, Any]
    hurry: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    model: Callable[[], Model] = Model


def yes(*_: Any, **__: Any) -> bool:
    """A check that lets everything pass."""
    return True


def no(*_: Any, **__: Any) -> bool:
    """A check that finds nothing wrong."""
    return False


def nothing(*_: Any, **__: Any) -> None:
    """One that has nothing to object to."""


async def unknown(*_: Any, **__: Any) -> None:
    """A book without pages."""


class Anything(str):
    """A text that every other is equal to."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False
