"""How one setting is read and described: a value that `Settings` hangs on its fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variable:
    """How one setting is read, and what `.env.example` says of it."""

    group: str
    comment: str
    parse: Callable[[str], Any]
    where: str = ""  # where a person finds the value, for the fix
