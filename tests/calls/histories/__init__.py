"""Synthetic journals of whole calls, as data, and ways to bend them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Records = list[dict[str, Any]]


def good() -> Records:
    """A healthy call of the built-in scenario, 12.3 s long."""
    lines = (Path(__file__).parent / "good.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def without(*events: str) -> Records:
    """The healthy call with some events never written."""
    return [record for record in good() if record["event"] not in events]


def changed(event: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Records:
    """The healthy call with every record of one event changed."""
    return [change(record) if record["event"] == event else record for record in good()]
